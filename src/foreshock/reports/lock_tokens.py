"""Fencing tokens over time: those granted, those that the guarded resource accepted, and where they went back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from foreshock.reports.columns import OK, Columns, Integers
from foreshock.reports.lock_beliefs import ACQUIRE, PERMIT, USE, field_of, lock_name, rows_of

_LIMIT = 1 << 62


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


def tokens_of(columns: Columns) -> dict[Any, tuple[Tokens, Tokens]]:
    """For each lock whose grants or uses bear tokens: those granted, and those accepted."""
    granted = _borne(columns, ACQUIRE)
    used = _borne(columns, USE)
    nothing = _ordered(columns, [], [], strict=True)
    found = {}
    for lock in dict.fromkeys((*granted, *used)):
        grants = _ordered(columns, *granted[lock], strict=True) if lock in granted else nothing
        uses = _ordered(columns, *used[lock], strict=False) if lock in used else nothing
        found[lock] = grants, uses
    return found


def _borne(columns: Columns, f: str) -> dict[Any, tuple[list[int], list[int]]]:
    """The positions and tokens of the ok operations that bear one, by lock."""
    rows = rows_of(columns, f)
    rows = rows[(columns.outcome[rows] == OK) & columns.completed[rows]]
    told = columns.values("result" if f == ACQUIRE else "value", rows)
    asked = columns.values("value", rows) if f == ACQUIRE else told
    locks = map(lock_name, columns.values("key", rows))
    borne: dict[Any, tuple[list[int], list[int]]] = {}
    for position, lock, bearer, value in zip(rows.tolist(), locks, told, asked, strict=True):
        token = bearer if type(bearer) is int and f == ACQUIRE else field_of(bearer, "token")
        # Of several holders of a semaphore any may come first; and to go deeper is the same grant.
        shared = isinstance(value, dict) and value.get("mode") in (PERMIT, "read")
        deeper = isinstance(bearer, dict) and (bearer.get("depth") or 1) != 1
        if type(token) is int and abs(token) < _LIMIT and not shared and not deeper:
            places, tokens = borne.setdefault(lock, ([], []))
            places.append(position)
            tokens.append(token)
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
