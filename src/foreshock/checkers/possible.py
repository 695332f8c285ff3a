"""States that were possible at a moment, those too that a search need not look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from foreshock.checkers.argument import step
from foreshock.checkers.entries import Entry
from foreshock.checkers.search import Deepest
from foreshock.harness.model import ILLEGAL, Model

_VISITED_MAX: Final = 200


def possible_states(model: Model, entries: Sequence[Entry], deepest: Deepest) -> list[Any]:
    """The state where the longest legal order ends, and those that operations still open may make of it.

    Each is possible just before the impossible return: what is open may have happened by then. A search leaves out
    crashed operations that nobody notices. They are not all that are possible: other orders may lead to more.
    """
    until = entries[deepest.impossible].ret
    applied_before = set(deepest.prefix)
    still_open = [
        o
        for o, entry in enumerate(entries)
        if o != deepest.impossible
        and entry.call <= until
        and (entry.ret >= until or o not in applied_before)
        and not model.is_read(entry.f)
    ]
    if any(entries[o].ret < until for o in still_open):
        # The order does not go as far as the moment: nothing can be said of what came next.
        return []
    states: dict[Any, None] = {}
    waiting: list[tuple[Any, frozenset[int]]] = []
    # What is still open need not have happened where that order has it: it may come last instead.
    for left_out in (None, *(o for o in deepest.prefix if o in still_open)):
        order = [o for o in deepest.prefix if o != left_out]
        if (state := _after(model, entries, order)) is not ILLEGAL:
            states[state] = None
            waiting.append((state, frozenset(order)))
    visited = set(waiting)
    while waiting and len(visited) < _VISITED_MAX:
        state, applied = waiting.pop(0)
        for o in still_open:
            after = ILLEGAL if o in applied else step(model, state, entries[o])
            reached = (after, applied | {o})
            if after is not ILLEGAL and reached not in visited:
                visited.add(reached)
                waiting.append(reached)
                states[after] = None
    return list(states)


def _after(model: Model, entries: Sequence[Entry], order: Sequence[int]) -> Any:
    """The state after an order, or ``ILLEGAL`` where it is not legal."""
    state: Any = model.initial()
    for o in order:
        state = step(model, state, entries[o])
        if state is ILLEGAL:
            return ILLEGAL
    return state
