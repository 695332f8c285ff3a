"""A first-in first-out queue and a stack. ``None`` is no element: it says that there was none to take."""

# Methods have the arguments that the protocol of models gives them, whether they look at all of them or not.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

from foreshock.checkers.entries import UNNOTICED, Entry, freeze, thaw
from foreshock.checkers.models.base import bad_value, unknown_operation
from foreshock.checkers.models.horizons import last_return, last_returns
from foreshock.checkers.models.register import word
from foreshock.harness.model import ILLEGAL, UNKNOWN, Illegal

ENQUEUE: Final = "enqueue"
DEQUEUE: Final = "dequeue"
PUSH: Final = "push"
POP: Final = "pop"
_SHOWN_MAX: Final = 8


class _Line:
    """What queue and stack have in common: elements in a row, of which one end gives.

    The state is a tuple, with the next element to be taken at ``_next``.
    """

    name: str
    _put: str
    _take: str
    _next: int
    _where: str
    _what: str

    def initial(self) -> Hashable:
        """Nothing was put in yet."""
        return ()

    def is_read(self, f: str) -> bool:
        """No operation only reads: to take an element takes it away."""
        return False

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """The elements after the operation. One that crashed took what was next, or found nothing."""
        elements: tuple[Any, ...] = state
        if f == self._put:
            if value is None:
                raise bad_value(self.name, f, value, "anything but null, which says that there was nothing")
            return (*elements, freeze(value))
        if f == self._take:
            if not elements:
                return elements if result is None or result is UNKNOWN else ILLEGAL
            if result is not UNKNOWN and elements[self._next] != freeze(result):
                return ILLEGAL
            return elements[1:] if self._next == 0 else elements[:-1]
        raise unknown_operation(self.name, f, (self._put, self._take))

    def describe(self, f: str, value: Any, result: Any) -> str:
        """Such as ``enqueue 3``, ``dequeue -> 3`` or ``dequeue -> nothing``."""
        if f == self._put:
            return f"{f} {word(value)}"
        return f if result is UNKNOWN else f"{f} -> {'nothing' if result is None else word(result)}"

    def describe_state(self, state: Any) -> str:
        """The elements, the next to be taken first."""
        elements = [word(thaw(element)) for element in (state if self._next == 0 else reversed(state))]
        more = f" and {len(elements) - _SHOWN_MAX} more" if len(elements) > _SHOWN_MAX else ""
        return f"{', '.join(elements[:_SHOWN_MAX])}{more}" if elements else "empty"

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What would have to be so for the operation to be legal."""
        if f == self._put or result is UNKNOWN:
            return "nothing"
        return f"the {self._what} to be empty" if result is None else f"{word(result)} to be {self._where}"

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """What puts an element in: the last return of one that took such an element. What takes: of any that takes.

        An element put in later than that is taken by nobody, or by an operation that crashed. Without it and that
        operation all others stand in the same row as before. And where only crashed operations take any more,
        none of them needs to.
        """
        taken = last_returns(entries, lambda e: (freeze(e.result),) if e.f == self._take else ())
        last = last_return(entries, lambda e: e.f == self._take)
        return [taken.get(freeze(e.value), UNNOTICED) if e.f == self._put else last for e in entries]


class FifoQueue(_Line):
    """A first-in first-out queue: ``enqueue`` puts its value in, ``dequeue`` results in the oldest, ``None`` if empty.

    A dequeue that crashed may have taken the head. The state is the tuple of elements, the head first.
    """

    name = "fifo-queue"
    _put, _take, _next, _where, _what = ENQUEUE, DEQUEUE, 0, "at the head", "queue"


class Stack(_Line):
    """A stack: ``push`` puts its value on it, ``pop`` results in the newest, ``None`` if it was empty.

    A pop that crashed may have taken the top. The state is the tuple of elements, the top last.
    """

    name = "stack"
    _put, _take, _next, _where, _what = PUSH, POP, -1, "on the top", "stack"
