"""A counter: add, increment, decrement, read."""

# Methods have the arguments that the protocol of models gives them, whether they look at all of them or not.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

from foreshock.checkers.entries import UNNOTICED, Entry
from foreshock.checkers.models.base import bad_value, unknown_operation
from foreshock.checkers.models.horizons import last_return
from foreshock.harness.errors import UsageError
from foreshock.harness.model import ILLEGAL, UNKNOWN, Illegal

ADD: Final = "add"
INCREMENT: Final = "increment"
DECREMENT: Final = "decrement"
READ: Final = "read"
_OPERATIONS: Final = (ADD, INCREMENT, DECREMENT, READ)


class Counter:
    """A whole number, ``initial`` at first: ``add`` adds its value, which may be negative.

    ``increment`` and ``decrement`` add or take away their value, 1 if they have none. ``read`` results in the number.
    What else an update results in is not looked at.
    """

    name = "counter"

    def __init__(self, initial: int = 0) -> None:
        if not _is_whole(initial):
            raise UsageError(f"a counter starts at a whole number, and not at {initial!r}")
        self._initial = int(initial)

    def initial(self) -> Hashable:
        """The number before any operation."""
        return self._initial

    def is_read(self, f: str) -> bool:
        """Whether ``f`` is ``read``."""
        return f == READ

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """The number after the operation."""
        number: int = state
        if f == READ:
            return number if _is_whole(result) and result == number else ILLEGAL
        return number + self.delta(f, value)

    def delta(self, f: str, value: Any) -> int:
        """What an update adds to the counter."""
        if f not in (ADD, INCREMENT, DECREMENT):
            raise unknown_operation(self.name, f, _OPERATIONS)
        if value is None and f != ADD:
            value = 1
        if not _is_whole(value):
            raise bad_value(self.name, f, value, "a whole number")
        return -int(value) if f == DECREMENT else int(value)

    def describe(self, f: str, value: Any, result: Any) -> str:
        """Such as ``add 3``, ``increment`` or ``read 7``."""
        shown = result if f == READ else value
        return f if shown is None or shown is UNKNOWN else f"{f} {shown}"

    def describe_state(self, state: Any) -> str:
        """The number."""
        return str(state)

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What the counter would have to be for the operation to be legal."""
        return f"the counter to be {result}" if f == READ else "nothing"

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """The last return of a read: nothing else looks at the number. To add nothing is never noticed."""
        read = last_return(entries, lambda e: e.f == READ)
        return [UNNOTICED if e.f == READ or not self.delta(e.f, e.value) else read for e in entries]


def _is_whole(value: Any) -> bool:
    return not isinstance(value, bool) and (
        isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    )
