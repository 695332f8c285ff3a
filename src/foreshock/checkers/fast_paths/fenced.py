"""Locks with fencing tokens, decided key by key in O(n log n).

Tokens grow from grant to grant, so the order of all grants is known, and a release that names its token is known to
follow that grant and to come before the next one. So the whole order is forced, and it remains to ask whether it
agrees with the order of events: no operation may return before one is called that must come earlier. The details:

* two ok grants, or two ok releases, of one token are illegal, and so is a token below 0;
* an ok release whose token nobody was seen to get takes an acquire that crashed, for that must have got it. Those
  differ only by when they were called, so the first of them goes to the first such token;
* a grant that is not the last must be released. If no ok release names its token, the first called of the crashed
  ones that do must have happened. All other crashed operations may be left out: leaving out both, or an unreleased
  grant at the end, changes nothing for the others.

Where no release names a token, grants are in the order of their tokens, and any release can follow any of them.
Each grant gets the window in which that order lets it be: from the latest call of those up to it to the earliest
return of those from it on. Both ends grow with the tokens, so any schedule within these windows can be sorted into
that order, and the schedule of ``balance.py`` decides with one permit. An acquire that crashed leaves no token
behind there. A key where some releases name a token and some do not is left to the search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from foreshock.checkers.columns import ABSENT, Ints, OperationColumns
from foreshock.checkers.decision import Decision
from foreshock.checkers.entries import NEVER
from foreshock.checkers.fast_paths.balance import events_of, first_out_of_bounds
from foreshock.checkers.fast_paths.base import FastPath, Finding
from foreshock.checkers.fast_paths.lines import SUSPECTS_MAX, wanted_rows
from foreshock.checkers.models.lock import ACQUIRE, RELEASE

METHOD: Final = "token order"
_NO_TOKEN: Final = ABSENT
_STRANGE: Final = ABSENT - 1


class Operation(NamedTuple):
    """An acquire or a release of a lock with fencing tokens; ``token`` is ``None`` where none is known."""

    row: int
    call: int
    ret: int
    is_acquire: bool
    crashed: bool
    token: int | None


class _Conflict(Exception):
    """The history is illegal; carries the operations that show it."""

    def __init__(self, *operations: Operation) -> None:
        self.rows = tuple(sorted({operation.row for operation in operations}))


def decide_fenced(operations: Sequence[Operation]) -> Finding:
    """Decide one lock, from its operations in the order of their calls."""
    if not operations:
        return Finding(Decision.VALID)
    releases = [operation for operation in operations if not operation.is_acquire]
    named = [operation for operation in releases if operation.token is not None]
    try:
        if not named:
            return _decide_unnamed(operations)
        if len(named) < len(releases):
            return Finding(Decision.NOT_APPLICABLE)
        _check_order(_forced_order(operations))
    except _Conflict as conflict:
        return Finding(Decision.INVALID, conflict.rows)
    return Finding(Decision.VALID)


def _grants(operations: Sequence[Operation]) -> dict[int, Operation]:
    """The ok acquires by token; raises when a token is impossible."""
    grants: dict[int, Operation] = {}
    for operation in operations:
        if operation.is_acquire and not operation.crashed and operation.token is not None:
            other = grants.setdefault(operation.token, operation)
            if other is not operation or operation.token < 0:
                raise _Conflict(other, operation)
    return grants


def _ends(operations: Sequence[Operation]) -> dict[int, Operation]:
    """By token the release that counts: the ok one, or the first called of those that crashed."""
    ends: dict[int, Operation] = {}
    for release in operations:
        if release.is_acquire or release.token is None:
            continue
        other = ends.setdefault(release.token, release)
        if other is not release and not release.crashed:
            if not other.crashed:
                raise _Conflict(other, release)
            ends[release.token] = release
    return ends


def _forced_order(operations: Sequence[Operation]) -> list[Operation]:
    """Every operation that must have happened, in the one order that there can be."""
    grants, ends = _grants(operations), _ends(operations)
    crashed = [operation for operation in operations if operation.is_acquire and operation.crashed]
    unseen = sorted(token for token, end in ends.items() if token not in grants and not end.crashed)
    if len(unseen) > len(crashed) or (unseen and unseen[0] < 0):
        raise _Conflict(*crashed, *(ends[token] for token in unseen))
    grants.update(zip(unseen, crashed, strict=False))
    tokens = sorted(grants)
    order: list[Operation] = []
    for token, after in zip(tokens, [*tokens[1:], None], strict=False):
        order.append(grants[token])
        end = ends.get(token)
        if end is None and after is not None:
            raise _Conflict(grants[token], grants[after], *([ends[after]] if after in ends else []))
        if end is not None and (after is not None or not end.crashed):
            order.append(end)
    return order


def _check_order(order: Sequence[Operation]) -> None:
    latest: Operation | None = None
    for operation in order:
        if latest is not None and operation.ret < latest.call:
            raise _Conflict(latest, operation)
        if latest is None or operation.call > latest.call:
            latest = operation


def _decide_unnamed(operations: Sequence[Operation]) -> Finding:
    grants = sorted(_grants(operations).items())
    ordered = [operation for _, operation in grants]
    _check_order(ordered)
    others = [operation for operation in operations if not operation.is_acquire or operation.crashed]
    everything = ordered + others
    call = np.array([operation.call for operation in everything], dtype=np.int64)
    ret = np.array([operation.ret for operation in everything], dtype=np.int64)
    count = len(ordered)
    call[:count] = np.maximum.accumulate(call[:count])
    ret[:count] = np.minimum.accumulate(ret[:count][::-1])[::-1]
    owners, is_return, deadline = events_of(call, ret, ret == NEVER)
    rises = [operation.is_acquire for operation in everything]
    found = first_out_of_bounds(owners.tolist(), is_return.tolist(), rises, deadline.tolist(), 1)
    if found < 0:
        return Finding(Decision.VALID)
    last = everything[found]
    known = [operation.row for operation in operations if operation.call <= last.ret]
    return Finding(Decision.INVALID, tuple(sorted({last.row, *known[-SUSPECTS_MAX:]})))


def _tokens(columns: OperationColumns, rows: Ints) -> Ints:
    """By row the token of an ok acquire or a release, ``_NO_TOKEN`` or, if it is no number, ``_STRANGE``."""
    is_acquire = columns.f_in((ACQUIRE,))[rows]
    tokens = np.where(is_acquire, columns.result[rows], columns.value[rows])
    tokens[is_acquire & columns.crashed[rows]] = _NO_TOKEN
    objects = np.flatnonzero(tokens < ABSENT)
    granted = objects[is_acquire[objects]]
    results = dict(zip(granted.tolist(), columns.values_of("result", rows[granted]), strict=True))
    for place in objects.tolist():
        token = _STRANGE
        if is_acquire[place]:
            result: Any = results[place]
            found = result.get("token") if isinstance(result, Mapping) else None
            if isinstance(found, int) and not isinstance(found, bool) and abs(found) < -ABSENT:
                token = found
        tokens[place] = token
    tokens[is_acquire & ~columns.crashed[rows] & (tokens == _NO_TOKEN)] = _STRANGE
    return tokens


def _decide(columns: OperationColumns, keys: Sequence[int]) -> dict[int, Finding]:
    asked, rows = wanted_rows(columns, keys)
    is_acquire = columns.f_in((ACQUIRE,))
    asked[columns.key[rows[(~is_acquire & ~columns.f_in((RELEASE,)) | columns.failed)[rows]]]] = False
    rows = rows[asked[columns.key[rows]]]
    token = np.full(len(columns), _NO_TOKEN, dtype=np.int64)
    token[rows] = _tokens(columns, rows)
    asked[columns.key[rows[token[rows] == _STRANGE]]] = False
    findings = {}
    for key in [key for key in keys if asked[key]]:
        mine = columns.rows_by_key[key]
        lists = [mine, columns.call[mine], columns.ret[mine], is_acquire[mine], columns.crashed[mine]]
        tokens = [None if t == _NO_TOKEN else t for t in token[mine].tolist()]
        finding = decide_fenced(list(map(Operation, *(column.tolist() for column in lists), tokens)))
        if finding.decision is not Decision.NOT_APPLICABLE:
            findings[key] = finding
    return findings


FENCED: Final = FastPath(METHOD, _decide)
