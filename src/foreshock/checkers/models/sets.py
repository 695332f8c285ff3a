"""A set of values: add, remove, ask for one, read all."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

from foreshock.checkers.entries import UNNOTICED, Entry, freeze, thaw
from foreshock.checkers.models.base import bad_value, unknown_operation
from foreshock.checkers.models.horizons import last_returns
from foreshock.checkers.models.register import word
from foreshock.harness.model import ILLEGAL, UNKNOWN, Illegal

ADD: Final = "add"
REMOVE: Final = "remove"
CONTAINS: Final = "contains"
READ: Final = "read"
_OPERATIONS: Final = (ADD, REMOVE, CONTAINS, READ)
_SHOWN_MAX: Final = 8


class SetModel:
    """A set, empty at first. ``add`` and ``remove`` are always legal, whatever they result in.

    ``contains`` (value: an element) results in whether it is there, ``read`` in the list of all elements in any
    order; a list that names one twice is never legal. The state is a frozenset.
    """

    name = "set"

    def initial(self) -> Hashable:
        """The empty set."""
        return frozenset()

    def is_read(self, f: str) -> bool:
        """Whether ``f`` is ``contains`` or ``read``."""
        return f in (CONTAINS, READ)

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """The elements after the operation."""
        elements: frozenset[Any] = state
        if f == ADD:
            return elements | {freeze(value)}
        if f == REMOVE:
            return elements - {freeze(value)}
        if f == CONTAINS:
            return elements if self._answer(result) is (freeze(value) in elements) else ILLEGAL
        if f == READ:
            seen = self._listed(result)
            return elements if elements == set(seen) and len(seen) == len(elements) else ILLEGAL
        raise unknown_operation(self.name, f, _OPERATIONS)

    def describe(self, f: str, value: Any, result: Any) -> str:
        """Such as ``add 3``, ``contains 3 -> yes`` or ``read {1, 3}``."""
        if f == READ:
            return f if result is UNKNOWN else f"{f} {_words(self._listed(result))}"
        if f == CONTAINS and result is not UNKNOWN:
            return f"{f} {word(value)} -> {'yes' if self._answer(result) else 'no'}"
        return f"{f} {word(value)}"

    def describe_state(self, state: Any) -> str:
        """The elements, at most the first eight of them."""
        return _words(tuple(state))

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What would have to be so for the operation to be legal."""
        if f == CONTAINS:
            return f"{word(value)} to be {'in' if self._answer(result) else 'absent from'} the set"
        return f"the set to be {_words(self._listed(result))}" if f == READ else "nothing"

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """An add: the last return of an operation that saw the element there; a remove: of one that saw it missing.

        All who look at the element later see it missing (there), and without the operation it is all the more so.
        To find the last read that lacks an element costs as many steps as there are reads with it: all in all
        no more than all reads have elements.
        """
        there = last_returns(entries, self._seen_there)
        missing = last_returns(entries, self._seen_missing)
        reads = sorted(
            ((e.ret, frozenset(self._listed(e.result))) for e in entries if e.f == READ and not e.crashed),
            key=lambda read: -read[0],
        )
        for element in {freeze(e.value) for e in entries if e.f == REMOVE and e.crashed}:
            lacking = next((ret for ret, elements in reads if element not in elements), UNNOTICED)
            missing[element] = max(missing.get(element, UNNOTICED), lacking)
        return [
            there.get(freeze(e.value), UNNOTICED)
            if e.f == ADD
            else missing.get(freeze(e.value), UNNOTICED)
            if e.f == REMOVE
            else UNNOTICED
            for e in entries
        ]

    def _seen_there(self, entry: Entry) -> Sequence[Any]:
        if entry.f == READ:
            return self._listed(entry.result)
        return (freeze(entry.value),) if entry.f == CONTAINS and self._answer(entry.result) else ()

    def _seen_missing(self, entry: Entry) -> Sequence[Any]:
        return (freeze(entry.value),) if entry.f == CONTAINS and not self._answer(entry.result) else ()

    def _answer(self, result: Any) -> bool:
        if not isinstance(result, bool):
            raise bad_value(self.name, CONTAINS, result, "true or false, whether it was there", "result")
        return result

    def _listed(self, result: Any) -> tuple[Any, ...]:
        if not isinstance(result, list | tuple):
            raise bad_value(self.name, READ, result, "the list of all elements", "result")
        return tuple(freeze(element) for element in result)


def _words(elements: Sequence[Any]) -> str:
    """Elements as labels show them: in order where they have one, not too many."""
    words = [word(thaw(element)) for element in elements]
    words.sort(key=lambda text: (len(text), text))
    more = f", and {len(words) - _SHOWN_MAX} more" if len(words) > _SHOWN_MAX else ""
    return f"{{{', '.join(words[:_SHOWN_MAX])}{more}}}"
