"""What a model may offer beyond :class:`foreshock.harness.model.Model`; every part of it is optional."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from foreshock.checkers.entries import Entry
from foreshock.harness.errors import UsageError


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


def unknown_operation(model: str, f: str, known: Sequence[str]) -> UsageError:
    """The error of a model that is asked about an operation it does not have."""
    return UsageError(f"the model {model!r} has no operation {f!r}; it knows {', '.join(sorted(known))}")


def bad_value(model: str, f: str, value: Any, wanted: str) -> UsageError:
    """The error of a model whose operation carries a value of the wrong shape."""
    return UsageError(f"the model {model!r} cannot take the value {value!r} of {f!r}: it must be {wanted}")
