"""Rows of a history as counterexamples carry them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np

from foreshock.checkers.shortening import shortened, shortened_value
from foreshock.harness.history import History, Row
from foreshock.harness.operation import OperationType

EXCLUSIVE: Final = "exclusive"
"""The mode of a mutex; ``write`` and ``reentrant`` exclude everybody too."""
READ: Final = "read"
REENTRANT: Final = "reentrant"
PERMIT: Final = "permit"


def rows_of(
    history: History, numbers: Iterable[int], label: Callable[[Row], str]
) -> tuple[dict[str, Any], ...]:
    """The rows of operations, given by the indexes of their invocations, in that order, each with its label.

    Values that are too long to be shown are cut, with a mark of how long they were.
    """
    wanted = sorted(set(numbers))
    places = np.searchsorted(history.column("invoke_index"), wanted)
    rows = (history[place] for place in places.tolist())
    return tuple(
        {
            **row._asdict(),
            "key": shortened_value(row.key),
            "value": shortened_value(row.value),
            "result": shortened_value(row.result),
            "error": shortened_value(row.error),
            "type": str(row.type),
            "label": shortened(label(row)),
        }
        for row in rows
    )


def lock_label(row: Row) -> str:
    """An operation on a lock, or on what it guards, in a few words."""
    mode = "" if mode_of(row) == EXCLUSIVE else f" {mode_of(row)}"
    if row.type is OperationType.OK and row.f in ("acquire", "renew"):
        token = token_of(row.result)
        return f"{row.f}{mode}" if token is None else f"{row.f}{mode} -> token {token}"
    if row.f == "acquire":
        return f"acquire{mode}"
    if row.f == "use":
        token_text = "" if token_of(row.value) is None else f" with token {token_of(row.value)}"
        return f"use{_felt(row)}{token_text}"
    if row.f == "release" and isinstance(row.value, int):
        return f"release token {row.value}"
    return row.f


def _felt(row: Row) -> str:
    """What a use saw, in a word."""
    if row.type is not OperationType.OK or not isinstance(row.result, Mapping):
        return ""
    if (counts := counts_of(row.result)) is not None:
        return f" {counts[0]}->{counts[1]}"
    if (inside := row.result.get("inside")) is not None:
        return f" among {inside}"
    return f" saw {row.result.get('seen')}, then {row.result.get('again')}" if "again" in row.result else ""


def mode_of(row: Row) -> str:
    """In which mode an ``acquire`` or a ``use`` has the lock: ``exclusive`` where its value names none."""
    return mode_in(row.value)


def mode_in(value: Any) -> str:
    """The mode that the value of an ``acquire`` or a ``use`` names."""
    mode = value.get("mode") if isinstance(value, dict) else None
    return mode if isinstance(mode, str) else EXCLUSIVE


def permits_of(row: Row) -> int:
    """How many may hold the semaphore that an ``acquire`` or a ``use`` is about; 1 where its value does not say."""
    return permits_in(row.value)


def permits_in(value: Any) -> int:
    """The permits that the value of an ``acquire`` or a ``use`` names."""
    permits = value.get("permits") if isinstance(value, dict) else None
    return permits if isinstance(permits, int) and not isinstance(permits, bool) else 1


def token_of(value: Any) -> int | None:
    """The fencing token in the result of an acquire or in the value of a use; ``None`` where there is none."""
    token = value.get("token") if isinstance(value, dict) else None
    return token if isinstance(token, int) and not isinstance(token, bool) else None


def counts_of(result: Any) -> tuple[int, int] | None:
    """What a use of the guarded counter saw and what it wrote (``seen`` and ``wrote``, or ``before`` and ``after``)."""
    if not isinstance(result, dict):
        return None
    before = result.get("seen", result.get("before"))
    after = result.get("wrote", result.get("after"))
    return (before, after) if isinstance(before, int) and isinstance(after, int) else None
