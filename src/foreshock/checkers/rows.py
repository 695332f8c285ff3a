"""Rows of a history as counterexamples carry them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from foreshock.harness.history import History, Row
from foreshock.harness.operation import OperationType


def rows_of(
    history: History, numbers: Iterable[int], label: Callable[[Row], str]
) -> tuple[dict[str, Any], ...]:
    """The rows of operations, given by the indexes of their invocations, in that order, each with its label."""
    wanted = sorted(set(numbers))
    places = np.searchsorted(history.column("invoke_index"), wanted)
    rows = (history[place] for place in places.tolist())
    return tuple({**row._asdict(), "type": str(row.type), "label": label(row)} for row in rows)


def lock_label(row: Row) -> str:
    """An operation on a lock, or on what it guards, in a few words."""
    if row.type is OperationType.OK and row.f in ("acquire", "renew"):
        return f"{row.f} -> token {token_of(row.result)}" if token_of(row.result) is not None else row.f
    if row.f == "use":
        token = "" if token_of(row.value) is None else f" with token {token_of(row.value)}"
        counts = counts_of(row.result) if row.type is OperationType.OK else None
        return f"use{token}" if counts is None else f"use {counts[0]}->{counts[1]}{token}"
    if row.f == "release" and isinstance(row.value, int):
        return f"release token {row.value}"
    return row.f


def token_of(value: Any) -> int | None:
    """The fencing token in the result of an acquire or in the value of a use; ``None`` where there is none."""
    token = value.get("token") if isinstance(value, Mapping) else None
    return token if isinstance(token, int) and not isinstance(token, bool) else None


def counts_of(result: Any) -> tuple[int, int] | None:
    """What a use of the guarded counter saw and what it wrote (``seen`` and ``wrote``, or ``before`` and ``after``)."""
    if not isinstance(result, Mapping):
        return None
    before = result.get("seen", result.get("before"))
    after = result.get("wrote", result.get("after"))
    return (before, after) if isinstance(before, int) and isinstance(after, int) else None
