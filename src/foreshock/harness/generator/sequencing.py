"""One after another and again and again: ``concat``, ``phases``, ``then``, ``synchronize``, ``repeat``, ``cycle``."""

from __future__ import annotations

from typing import cast, overload

from foreshock.harness.errors import PlugInError
from foreshock.harness.generator.base import PENDING, Context, Liftable
from foreshock.harness.generator.native import EXHAUSTED, Answer, Native, Wrapper, lift
from foreshock.harness.operation import Operation


def concat(*generators: Liftable) -> Native:
    """One generator after another, without waiting for the operations of the one before to end."""
    return lift([generator for generator in generators if generator is not None])


class Synchronize(Wrapper):
    """Waits until all its threads are free, once, before it begins."""

    __slots__ = ()

    def __init__(self, generator: Native) -> None:
        self.generator = generator

    def op(self, ctx: Context) -> Answer:
        """Pending while a thread is busy; then the generator itself takes over."""
        return self.generator.op(ctx) if len(ctx.free) == len(ctx.threads) else PENDING

    def _around(self, generator: Native) -> Native:
        return Synchronize(generator)


def synchronize(generator: Liftable) -> Native:
    """Wait until all threads are free, then begin."""
    return Synchronize(lift(generator))


def phases(*generators: Liftable) -> Native:
    """One generator after another; each begins when every operation of the one before has ended."""
    return concat(*(synchronize(generator) for generator in generators if generator is not None))


def then(after: Liftable, before: Liftable) -> Native:
    """First ``before``, then, once every thread is free, ``after``: the later one comes first, as in Jepsen."""
    return concat(before, synchronize(after))


class Repeat(Wrapper):
    """The first operation of a generator, again and again; ``remaining`` is ``None`` for ever."""

    __slots__ = ("remaining",)

    def __init__(self, remaining: int | None, generator: Native) -> None:
        self.remaining = remaining
        self.generator = generator

    def op(self, ctx: Context) -> Answer:
        """The generator's operation; the generator itself stays as it is."""
        remaining = self.remaining
        if remaining == 0:
            return None
        answer = self.generator.op(ctx)
        if not isinstance(answer, tuple):
            return answer
        operation, _ = answer
        return operation, self if remaining is None else Repeat(remaining - 1, self.generator)

    def _around(self, generator: Native) -> Native:
        return Repeat(self.remaining, generator)


@overload
def repeat(count: int, generator: Liftable, /) -> Native: ...
@overload
def repeat(generator: Liftable, /) -> Native: ...
def repeat(*arguments: object) -> Native:
    """``repeat(generator)`` gives the generator's first operation for ever, ``repeat(3, generator)`` three times."""
    count, generator = _count_and_generator("repeat", arguments)
    return Repeat(count, lift(generator))


class Cycle(Native):
    """A generator that begins anew whenever it is exhausted; ``remaining`` is ``None`` for ever."""

    __slots__ = ("current", "original", "remaining")

    def __init__(self, remaining: int | None, original: Native, current: Native) -> None:
        self.remaining = remaining
        self.original = original
        self.current = current

    def op(self, ctx: Context) -> Answer:
        """The current round's next operation, or the next round's first. One that is empty ends."""
        answer = self.current.op(ctx)
        remaining = self.remaining
        if answer is None:
            remaining = None if remaining is None else remaining - 1
            answer = None if remaining == 0 else self.original.op(ctx)
        if not isinstance(answer, tuple):
            return answer
        operation, rest = answer
        return operation, Cycle(remaining, self.original, rest)

    @property
    def deaf(self) -> bool:
        """As deaf as the current round."""
        return self.current.deaf

    def update(self, ctx: Context, event: Operation) -> Native:
        """Tells the current round."""
        current = self.current.update(ctx, event)
        return self if current is self.current else Cycle(self.remaining, self.original, current)


@overload
def cycle(count: int, generator: Liftable, /) -> Native: ...
@overload
def cycle(generator: Liftable, /) -> Native: ...
def cycle(*arguments: object) -> Native:
    """``cycle(generator)`` begins anew when the generator is exhausted; ``cycle(3, generator)`` goes three rounds."""
    count, generator = _count_and_generator("cycle", arguments)
    lifted = lift(generator)
    return EXHAUSTED if count == 0 else Cycle(count, lifted, lifted)


class UntilOk(Native):
    """A generator until one of its operations is ok. ``active`` are the processes of those under way."""

    __slots__ = ("active", "generator")

    def __init__(self, generator: Native, active: frozenset[int]) -> None:
        self.generator = generator
        self.active = active

    def op(self, ctx: Context) -> Answer:
        """The generator's next operation."""
        answer = self.generator.op(ctx)
        if not isinstance(answer, tuple):
            return answer
        operation, rest = answer
        if operation.__class__ is not Operation or operation.process is None:
            return operation, UntilOk(rest, self.active)
        return operation, UntilOk(rest, self.active | {operation.process})

    @property
    def deaf(self) -> bool:
        """Never: it waits for its operations to end."""
        return False

    def update(self, ctx: Context, event: Operation) -> Native:
        """Ends when one of its own operations is ok; always tells the generator."""
        own = event.process in self.active and event.__class__ is Operation
        if own and event.type == "ok":
            return EXHAUSTED
        generator = self.generator.update(ctx, event)
        if own and event.type != "invoke":
            return UntilOk(generator, self.active - {event.process})
        return self if generator is self.generator else UntilOk(generator, self.active)


def until_ok(generator: Liftable) -> Native:
    """The generator's operations until one of them completes ``ok``."""
    return UntilOk(lift(generator), frozenset())


def _count_and_generator(name: str, arguments: tuple[object, ...]) -> tuple[int | None, Liftable]:
    if len(arguments) == 1:
        return None, cast("Liftable", arguments[0])
    if len(arguments) != 2 or type(arguments[0]) is not int or arguments[0] < 0:
        raise PlugInError(
            f"{name}() takes a count, if any, and then a generator; it was given {arguments!r:.200}"
        )
    return arguments[0], cast("Liftable", arguments[1])
