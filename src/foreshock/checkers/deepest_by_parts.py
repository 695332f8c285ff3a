"""Where every order of an illegal history ends, for models that specialize themselves to the history.

Such a model may call an operation illegal for what comes later, so where its search ends is too early. But every part
of a legal history up to some event is legal itself; so the first return that no linearization survives is found by
asking about parts. Of the part before that return all orders are then walked through, by the model as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, Final

from foreshock.checkers.entries import NEVER, Entry, crash
from foreshock.checkers.models.base import Specializes
from foreshock.checkers.search import Deepest, Limits, Search, SearchResult
from foreshock.harness.model import ILLEGAL, Illegal, Model
from foreshock.harness.verdict import Verdict

_EXACT_CONFIGURATIONS_MAX: Final = 20_000
_IMPOSSIBLE: Final = "(impossible)"
"""The name of an operation that is legal in no state."""

Decide = Callable[[Sequence[Entry], Model], SearchResult | None]
"""Searches entries; ``None`` when that takes too long."""


class _WithImpossible:
    """A model that has an operation which is legal in no state, and does not specialize itself."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.name = model.name

    def __getattr__(self, name: str) -> Any:
        if name == "specialized":
            raise AttributeError(name)
        found = getattr(self._model, name)
        if name == "canonical":
            return lambda f, *rest: f if f == _IMPOSSIBLE else found(f, *rest)
        return found

    def initial(self) -> Hashable:
        """The model's own."""
        return self._model.initial()

    def is_read(self, f: str) -> bool:
        """The impossible operation changes nothing."""
        return f == _IMPOSSIBLE or self._model.is_read(f)

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """The model's own, but for the impossible operation."""
        return ILLEGAL if f == _IMPOSSIBLE else self._model.step(state, f, value, result)

    def describe(self, f: str, value: Any, result: Any) -> str:
        """The model's own, but for the impossible operation."""
        return f if f == _IMPOSSIBLE else self._model.describe(f, value, result)

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """Everything may matter for ever: what the impossible operation would have noticed is not known any more."""
        return [NEVER] * len(entries)


def deepest_by_parts(
    entries: Sequence[Entry], model: Model, limits: Limits, decide: Decide
) -> Deepest | None:
    """Where every order ends, with states of the model itself (none where there are too many orders to tell them).

    ``None`` where the history is not illegal, or the limits do not allow to find out.
    """
    order = sorted(
        (o for o, e in enumerate(entries) if not e.crashed), key=lambda o: (entries[o].ret, entries[o].call)
    )
    whole = decide(entries, model)
    if whole is None or whole.verdict is not Verdict.INVALID:
        return None
    low, high, step = whole.passed, len(order) - 1, 1
    while low < high:
        middle = min(low + step - 1, (low + high) // 2)
        result = decide(_until(entries, order, middle)[1], model)
        if result is None or result.verdict is Verdict.UNKNOWN:
            return None
        if result.verdict is Verdict.INVALID:
            high = middle
        else:
            low, step = middle + 1, 2 * step
    return _before(entries, order, low, model, limits)


def _until(entries: Sequence[Entry], order: Sequence[int], level: int) -> tuple[list[int], list[Entry]]:
    """The history as it was known at its ``level``-th return, with offsets: what had not returned may never happen."""
    returned = set(order[: level + 1])
    position = entries[order[level]].ret
    offsets = [o for o, entry in enumerate(entries) if entry.call <= position]
    return offsets, [entries[o] if o in returned else crash(entries[o]) for o in offsets]


def _before(
    entries: Sequence[Entry], order: Sequence[int], level: int, model: Model, limits: Limits
) -> Deepest | None:
    impossible = order[level]
    offsets, part = _until(entries, order, level)
    place = offsets.index(impossible)
    part[place] = part[place]._replace(f=_IMPOSSIBLE, value=None, result=None)
    result = Search(part, _WithImpossible(model)).run(limits, _EXACT_CONFIGURATIONS_MAX)
    if result is None or result.deepest is None:
        small = part[:place] + part[place + 1 :]
        assert isinstance(model, Specializes)
        result = Search(part, _WithImpossible(model.specialized(small))).run(limits)
        if result is None or result.deepest is None:
            return None
        result = replace(result, deepest=replace(result.deepest, states=()))
    found = result.deepest
    assert found is not None
    return Deepest(
        impossible=impossible,
        states=found.states,
        pending=tuple(offsets[o] for o in found.pending),
        linearized=frozenset(offsets[o] for o in found.linearized),
        prefix=tuple(offsets[o] for o in found.prefix),
    )
