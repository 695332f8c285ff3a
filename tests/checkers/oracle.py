"""The oracle: legal or not by trying every order, with no idea in it that could be wrong in the same way as ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foreshock.checkers.entries import Entry
from foreshock.harness.model import ILLEGAL, UNKNOWN, Model


def is_linearizable(entries: Sequence[Entry], model: Model) -> bool:
    """Try all orders of all subsets of crashed operations that keep the order of events."""

    def extend(remaining: frozenset[int], state: Any) -> bool:
        if all(entries[i].crashed for i in remaining):
            return True
        for i in remaining:
            if any(not entries[j].crashed and entries[j].ret < entries[i].call for j in remaining if j != i):
                continue
            after = apply(model, state, entries[i])
            if after is not ILLEGAL and extend(remaining - {i}, after):
                return True
        return False

    return extend(frozenset(range(len(entries))), model.initial())


def is_legal_order(entries: Sequence[Entry], order: Sequence[int], model: Model) -> bool:
    """Replay an order: each operation legal, none before one that it must follow, all completed ones in it."""
    state = model.initial()
    for i in order:
        state = apply(model, state, entries[i])
        if state is ILLEGAL:
            return False
    placed = {operation: position for position, operation in enumerate(order)}
    if len(placed) != len(order) or any(not e.crashed and i not in placed for i, e in enumerate(entries)):
        return False
    return all(
        placed[i] < placed[j]
        for i in placed
        for j in placed
        if not entries[i].crashed and entries[i].ret < entries[j].call
    )


def apply(model: Model, state: Any, entry: Entry) -> Any:
    """One step of a model, with what it wants to know of the operation."""
    value = (entry.process, entry.value) if getattr(model, "by_process", False) else entry.value
    result = UNKNOWN if entry.crashed and entry.result is None else entry.result
    if entry.crashed and model.is_read(entry.f):
        return state
    return model.step(state, entry.f, value, result)
