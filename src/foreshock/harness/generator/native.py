"""What the built-in generators have in common, and how anything else becomes one of them.

Built-in generators only ever hold, return and become built-in generators, so they need not look at what they
hold. Whatever comes from outside passes :func:`lift` once; a stranger's :class:`Generator` is wrapped there in a
guard that names it when it gives something malformed.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from foreshock.harness.errors import PlugInError
from foreshock.harness.generator.base import PENDING, Context, Generator, Liftable, Pending
from foreshock.harness.operation import Operation, OperationType

EMPTY_ANSWERS_MAX: Final = 1_000
"""How often in a row a function may give generators that turn out to be empty."""


class Directive(Operation, frozen=True):
    """Something for the interpreter itself, which never gets into the history: ``sleep`` or ``log``.

    It occupies a thread like any operation. ``f`` says which, ``value`` is the duration in ns or the message.
    """


class Native(Generator):
    """Base of the built-in generators."""

    __slots__ = ()

    @abstractmethod
    def op(self, ctx: Context) -> tuple[Operation, Native] | Pending | None:
        """The next operation and the rest."""

    def update(self, ctx: Context, event: Operation) -> Native:  # noqa: ARG002
        """What the generator becomes after an event."""
        return self

    @property
    def deaf(self) -> bool:
        """Whether no event changes anything for now, so that nobody need tell it of any."""
        return True

    def __repr__(self) -> str:
        names = [name for kind in type(self).__mro__ for name in getattr(kind, "__slots__", ())]
        shown = ", ".join(repr(getattr(self, name)) for name in names if not name.startswith("_"))
        return f"{type(self).__name__}({shown})"


Answer = tuple[Operation, Native] | Pending | None


class Wrapper(Native):
    """Base of generators around one other, which hears of every event."""

    __slots__ = ("generator",)

    generator: Native

    @property
    def deaf(self) -> bool:
        """As deaf as the one inside."""
        return self.generator.deaf

    def update(self, ctx: Context, event: Operation) -> Native:
        """Tells the one inside."""
        generator = self.generator.update(ctx, event)
        return self if generator is self.generator else self._around(generator)

    @abstractmethod
    def _around(self, generator: Native) -> Native:
        """The same around what the one inside has become."""


class Several(Native):
    """Base of generators over several others, which all hear of every event."""

    __slots__ = ("generators",)

    generators: tuple[Native, ...]

    @property
    def deaf(self) -> bool:
        """Deaf when all of them are."""
        for generator in self.generators:  # noqa: SIM110 - asked for each event, and twice as fast as all()
            if not generator.deaf:
                return False
        return True

    def update(self, ctx: Context, event: Operation) -> Native:
        """Tells all of them."""
        before = self.generators
        after = tuple([generator.update(ctx, event) for generator in before])
        same = all(one is other for one, other in zip(before, after, strict=True))
        return self if same else self._over(after)

    @abstractmethod
    def _over(self, generators: tuple[Native, ...]) -> Native:
        """The same over what the others have become."""


class Exhausted(Native):
    """Gives nothing, ever."""

    __slots__ = ()

    def op(self, ctx: Context) -> None:  # noqa: ARG002
        """Nothing."""
        return


EXHAUSTED: Final = Exhausted()


class Single(Native):
    """One operation, once."""

    __slots__ = ("operation",)

    def __init__(self, operation: Operation) -> None:
        self.operation = operation

    def op(self, ctx: Context) -> Answer:
        """The operation, on a free thread, now or at its own time."""
        operation = fill_in(self.operation, ctx)
        return PENDING if operation is None else (operation, EXHAUSTED)


class Concatenation(Native):
    """One generator after another: ``head`` now, then the items from ``position`` on. Events go to the head."""

    __slots__ = ("head", "items", "position")

    def __init__(self, head: Native, items: Sequence[Any], position: int) -> None:
        self.head = head
        self.items = items
        self.position = position

    def op(self, ctx: Context) -> Answer:
        """The next operation of the first generator that is not exhausted."""
        head, items, position = self.head, self.items, self.position
        while True:
            answer = head.op(ctx)
            if isinstance(answer, Pending):
                return answer
            if answer is not None:
                operation, rest = answer
                if position == len(items):
                    return operation, rest
                return operation, Concatenation(rest, items, position)
            if position == len(items):
                return None
            head = lift(items[position])
            position += 1

    @property
    def deaf(self) -> bool:
        """As deaf as the head."""
        return self.head.deaf

    def update(self, ctx: Context, event: Operation) -> Native:
        """Tells the head."""
        head = self.head.update(ctx, event)
        return self if head is self.head else Concatenation(head, self.items, self.position)


class FunctionGenerator(Native):
    """Whatever a function of the context gives, again and again, until it gives ``None``."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[Context], Any]) -> None:
        self.function = function

    def op(self, ctx: Context) -> Answer:
        """The next operation of what the function gives; it is not asked while every thread is busy."""
        if not ctx.free:
            return PENDING
        for _ in range(EMPTY_ANSWERS_MAX):
            given = self.function(ctx)
            if type(given) is Operation:
                operation = fill_in(given, ctx)
                return PENDING if operation is None else (operation, self)
            if given is None or isinstance(given, Pending):
                return given
            try:
                native = lift(given)
            except PlugInError as error:
                raise PlugInError(f"{_named(self.function)}: {error}") from None
            answer = native.op(ctx)
            if isinstance(answer, Pending):
                return answer
            if answer is not None:
                first, rest = answer
                return first, self if rest is EXHAUSTED else Concatenation(rest, (self,), 0)
        raise PlugInError(f"the generator {self!r:.200} gave {EMPTY_ANSWERS_MAX} empty generators in a row")


def _named(function: Callable[..., Any]) -> str:
    """A function with the place where its author finds it."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return f"the generator's function {function!r:.200}"
    return (
        f"the generator's function {code.co_name} ({Path(code.co_filename).name}, line {code.co_firstlineno})"
    )


class Guarded(Native):
    """A generator that is not built in. What it gives is checked, and errors name it."""

    __slots__ = ("generator",)

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    def op(self, ctx: Context) -> Answer:
        """The generator's next operation; raises :class:`PlugInError` when it is malformed."""
        answer: Any = self.generator.op(ctx)
        if answer is None or isinstance(answer, Pending):
            return answer
        if type(answer) is not tuple or len(answer) != 2:
            raise self._malformed(answer, "it must be (operation, generator), PENDING or None")
        operation, rest = answer
        problem = problem_with(operation, ctx)
        if problem:
            raise self._malformed(operation, problem)
        return operation, lift(rest)

    @property
    def deaf(self) -> bool:
        """Deaf when its class does not say what events do."""
        return type(self.generator).update is Generator.update

    def update(self, ctx: Context, event: Operation) -> Native:
        """What the generator becomes after an event."""
        after = self.generator.update(ctx, event)
        return self if after is self.generator else lift(after)

    def _malformed(self, given: object, problem: str) -> PlugInError:
        return PlugInError(f"the generator {self.generator!r:.200} gave {given!r:.200}: {problem}")


def lift(value: Liftable) -> Native:
    """Make a generator of a plain value: ``None``, an operation, a list or tuple, a function of the context.

    Raises :class:`PlugInError` for anything else.
    """
    if isinstance(value, Native):
        return value
    if value is None:
        return EXHAUSTED
    if isinstance(value, Operation):
        return Single(value)
    if isinstance(value, Generator):
        return Guarded(value)
    if isinstance(value, list | tuple):
        return Concatenation(EXHAUSTED, tuple(value), 0) if value else EXHAUSTED
    if callable(value) and not isinstance(value, type):
        return FunctionGenerator(value)
    raise PlugInError(
        f"{value!r:.200} is no generator: give an Operation, a Generator, a list of them, a function of the "
        "context, or None"
    )


def fill_in(operation: Operation, ctx: Context) -> Operation | None:
    """The operation with a free process and a time not in the past; ``None`` while its threads are busy."""
    process, time_ns = operation.process, operation.time_ns
    if process is None:
        thread = ctx.some_free()
        if thread is None:
            return None
        process = ctx.process(thread)
    elif ctx.thread(process) not in ctx.free:
        return None
    now = ctx.time_ns
    if time_ns is None or time_ns < now:
        time_ns = now
    if operation.__class__ is Operation:
        return Operation(operation.f, operation.key, operation.value, operation.type, process, time_ns)
    return replace(operation, process=process, time_ns=time_ns)


def problem_with(operation: object, ctx: Context) -> str | None:
    """What is wrong with an operation that a generator gives in a context, if anything."""
    if not isinstance(operation, Operation):
        return "it is no Operation"
    if operation.type is not OperationType.INVOKE:
        return f"its type is {operation.type!r}, but only invocations can be asked for"
    process = operation.process
    if process is None or operation.time_ns is None:
        return "it must name its process and the time at which it should start"
    thread = ctx.thread(process)
    if thread not in ctx.free:
        return f"its process {process} is not free here (free threads: {list(ctx.free)})"
    if ctx.process(thread) != process:
        return f"process {process} is not alive: thread {thread} carries process {ctx.process(thread)} now"
    return None


def op(generator: Liftable, ctx: Context) -> Answer:
    """Ask any generator, or value that lifts to one, for its next operation."""
    return lift(generator).op(ctx)


def update(generator: Liftable, ctx: Context, event: Operation) -> Native:
    """Tell any generator of an event; returns what it becomes."""
    return lift(generator).update(ctx, event)
