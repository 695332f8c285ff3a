"""Fencing tokens over time: those granted, those that the guarded resource accepted, and where they went back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from foreshock.reports.columns import OK, Columns, Integers
from foreshock.reports.lock_beliefs import ACQUIRE, PERMIT, READ, USE, Beliefs, field_of, lock_name, rows_of

_LIMIT = 1 << 62
_SHARED = (PERMIT, READ)


class Tokens(NamedTuple):
    """The tokens of one lock in the order of their operations' calls, granted or accepted.

    ``at_ns`` is when each was granted, or its use ended; ``newest`` is the greatest that had been granted (or accepted)
    before the operation was called, and ``went_back`` whether the token is not above it (of uses: is below it).
    """

    at_ns: Integers
    token: Integers
    position: Integers
    newest: Integers
    went_back: np.ndarray[Any, np.dtype[np.bool_]]


class Uses(NamedTuple):
    """The ok uses of the guarded resource: their positions, the locks they were made under, and their values."""

    position: Integers
    lock: list[Any]
    value: list[Any]


def uses_of(columns: Columns) -> Uses:
    """What the guarded resource accepted."""
    rows = rows_of(columns, USE)
    rows = rows[(columns.outcome[rows] == OK) & columns.completed[rows]]
    return Uses(rows, list(map(lock_name, columns.values("key", rows))), columns.values("value", rows))


def tokens_of(columns: Columns, beliefs: Beliefs, uses: Uses) -> dict[Any, tuple[Tokens, Tokens]]:
    """For each lock whose grants or uses bear tokens: those granted, and those accepted."""
    # Of several holders of a semaphore any may come first, and of readers; and to go deeper is the same grant. A hold
    # that began with the renewal of what had run out was granted once, before.
    acquires = set(rows_of(columns, ACQUIRE).tolist())
    holds = [hold for hold in beliefs.holds if hold.position in acquires]
    granted = _by_lock(
        (hold.position for hold in holds),
        (hold.lock for hold in holds),
        (None if hold.mode in _SHARED else hold.token for hold in holds),
    )
    used = _by_lock(
        uses.position.tolist(),
        uses.lock,
        (None if field_of(value, "mode") in _SHARED else field_of(value, "token") for value in uses.value),
    )
    nothing = _ordered(columns, [], [], strict=True)
    found = {}
    for lock in dict.fromkeys((*granted, *used)):
        found[lock] = (
            _ordered(columns, *granted[lock], strict=True) if lock in granted else nothing,
            _ordered(columns, *used[lock], strict=False) if lock in used else nothing,
        )
    return found


def _by_lock(
    positions: Iterable[int], locks: Iterable[Any], tokens: Iterable[Any]
) -> dict[Any, tuple[list[int], list[int]]]:
    """Positions and tokens by lock, of those that bear one."""
    borne: dict[Any, tuple[list[int], list[int]]] = {}
    for position, lock, token in zip(positions, locks, tokens, strict=True):
        if type(token) is int and -_LIMIT < token < _LIMIT:
            places = borne.get(lock)
            if places is None:
                places = borne[lock] = [], []
            places[0].append(position)
            places[1].append(token)
    return borne


def _ordered(columns: Columns, positions: list[int], tokens: list[int], *, strict: bool) -> Tokens:
    """One lock's tokens, each beside the greatest of those whose operations had returned before its own was called."""
    position, token = np.array(positions, dtype=np.int64), np.array(tokens, dtype=np.int64)
    returned = columns.complete_index[position]
    by_return = np.argsort(returned, kind="stable")
    greatest = np.concatenate(([-_LIMIT], np.maximum.accumulate(token[by_return]))).astype(np.int64)
    newest = greatest[np.searchsorted(returned[by_return], columns.invoke_index[position])]
    went_back = token <= newest if strict else token < newest
    return Tokens(columns.complete_ns[position], token, position, newest, went_back & (newest > -_LIMIT))
