"""What a model may offer beyond :class:`foreshock.harness.model.Model`; every part of it is optional."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any, Final, Protocol, runtime_checkable

from foreshock.checkers.entries import Entry
from foreshock.harness.blame import describe
from foreshock.harness.errors import ForeshockError, PlugInError, UsageError
from foreshock.harness.model import Model


@runtime_checkable
class KnowsWhatCrashesMatter(Protocol):
    """A model that can say for how long an operation that never returned can still be noticed."""

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """For each entry the last position at which applying it can matter, if it crashed.

        ``UNNOTICED`` when nothing can ever notice it. What the list holds for an operation that
        did return is not looked at. The answer must be sound: a legal order that applies the operation later
        than that must still be legal without it.
        """


@runtime_checkable
class ExplainsItself(Protocol):
    """A model that can say in words what a state is, and what state an operation would have needed."""

    def describe_state(self, state: Any) -> str:
        """Such as ``3``, ``absent`` or ``held by process 2``."""

    def needs(self, f: str, value: Any, result: Any) -> str:
        """Such as ``the value to be 3``; ``nothing`` for an operation that is always legal."""


@runtime_checkable
class WantsProcess(Protocol):
    """A model to which it matters who asked: its operations get ``(process, value)`` for a value."""

    by_process: bool


@runtime_checkable
class WantsTimes(Protocol):
    """A model to which it matters when: its operations get ``(process, call_ns, ret_ns, value)`` for a value.

    ``ret_ns`` is ``NEVER`` for an operation that crashed.
    """

    by_time: bool


@runtime_checkable
class ObservesFailures(Protocol):
    """A model to which the failure of some operations says something about the state, such as a failed try-acquire.

    Those come to ``step`` with the result :data:`FAILED`; the failures of all other operations are left out.
    """

    observed_failures: frozenset[str]


class Failed:
    """The result of an operation that failed and thereby told something."""

    def __repr__(self) -> str:
        return "FAILED"


FAILED: Final = Failed()


class Unobserved:
    """A value that nothing in the history observes: which one it is makes no difference."""

    def __repr__(self) -> str:
        return "a value that nothing here observes"


UNOBSERVED: Final = Unobserved()


@runtime_checkable
class Specializes(Protocol):
    """A model that gets smaller once it knows the history: states that nothing in it tells apart become one."""

    def specialized(self, entries: Sequence[Entry]) -> Model:
        """A model that finds a history of just these operations legal exactly when this one does.

        It must do so too when any of them is left out, or made optional and unbounded in time.
        """


def argument_of(model: Model, entry: Entry) -> Any:
    """What a model gets for the value of an operation."""
    # Asked for each operation, where isinstance() with a protocol would take far longer.
    if getattr(model, "by_time", False):
        return (entry.process, *entry.times, entry.value)
    if getattr(model, "by_process", False):
        return (entry.process, entry.value)
    return entry.value


def asked(model: Model, method: str, *arguments: Any) -> Any:
    """What a method of a model answers.

    Raises ``PlugInError`` for whatever goes wrong in it: the sentence names the model, the operation where it was asked
    about one, and the place in the model's code. What the model itself says of bad input comes through.
    """
    try:
        return getattr(model, method)(*arguments)
    except ForeshockError:
        raise
    except (Exception, SystemExit) as error:
        # step() is told the state first; describe() and needs() begin with the operation.
        operation = arguments[1:3] if method == "step" else arguments[:2] if len(arguments) > 1 else ()
        what = f"on {operation[0]} {reprlib.repr(operation[1])}" if operation else f"in {method}()"
        raise PlugInError(f"the model {model.name!r} failed {what}: {describe(error)}") from error


def unknown_operation(model: str, f: str, known: Sequence[str]) -> UsageError:
    """The error of a model that is asked about an operation it does not have."""
    return UsageError(f"the model {model!r} has no operation {f!r}; it knows {', '.join(sorted(known))}")


def bad_value(model: str, f: str, value: Any, wanted: str, what: str = "value") -> UsageError:
    """The error of a model whose operation carries a value (or a result, then ``what``) of the wrong shape."""
    return UsageError(f"the model {model!r} cannot take the {what} {value!r} of {f!r}: it must be {wanted}")


def unhashable_state(model: Model, state: Any) -> PlugInError:
    """The error of a model whose state cannot be hashed."""
    return PlugInError(
        f"the model {model.name!r} returned the state {reprlib.repr(state)}, which cannot be hashed: "
        "let step() return tuples and frozensets instead of lists, dicts and sets"
    )


def changed_by_read(model: Model, f: str, before: Any, after: Any) -> PlugInError:
    """The error of a model whose ``step`` gave another state after what it says only reads.

    Every search counts on it: a read that did not return is left out, and one that is possible is placed at once.
    """
    return PlugInError(
        f"the model {model.name!r} says that {f!r} only reads, but its step() changed the state "
        f"from {reprlib.repr(before)} to {reprlib.repr(after)}: let is_read({f!r}) be false"
    )
