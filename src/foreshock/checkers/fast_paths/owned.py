"""Locks that only their holder can release, decided for all keys at once in O(n log n): owned, re-entrant, read-write.

For a process p, let F(p, t) be the number of its ok acquires that returned before t, less the number of its
releases, of any outcome, that were called before t. At t, all these acquires have taken effect, and no other
release: so p holds the lock at least F(p, t) times. Hence, whatever crashed:

* illegal, if F is positive for two processes at once; and for locks that are not re-entrant, if it exceeds 1;
* legal, if that is never so and no F is ever negative: let every acquire take effect at its return and every
  release at its call, and crashed acquires never.

Where F(p, t) is negative otherwise, p released what it did not hold. If none of its operations crashed or overlap,
no order mends that (nobody else can acquire for p), and the history is illegal. Else the key is left to the search.

Readers and a writer conflict as two writers do, but it must be certain in which mode a process holds the lock. It
is if the operations of each process follow one another, of which only the last may have crashed: then it holds the
lock by its latest acquire. A read-write lock whose processes do not do so is left to the search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from foreshock.checkers.columns import ABSENT, Bools, Ints, OperationColumns
from foreshock.checkers.decision import Decision
from foreshock.checkers.fast_paths.base import Finding, at_once
from foreshock.checkers.fast_paths.holds import METHOD, suspects_before
from foreshock.checkers.fast_paths.lines import SUSPECTS_MAX, line_of, wanted_rows
from foreshock.checkers.kernels.layout import Int32s
from foreshock.checkers.lock_columns import repeated
from foreshock.checkers.models.lock import ACQUIRE, RELEASE
from foreshock.checkers.models.shared_locks import READ, WRITE

_READ, _WRITE, _UNKNOWN = 0, 1, 2


@dataclass(frozen=True)
class _Holders:
    """The operations of each process on each lock, one after another, without crashed acquires.

    ``holder`` counts the pairs of lock and process, ``depth`` is F after the operation.
    """

    rows: Ints
    rises: Bools
    moment: Ints
    holder: Int32s
    depth: Int32s


def decide_owned(
    columns: OperationColumns, keys: Sequence[int], *, reentrant: bool = False, modes: bool = False
) -> dict[int, Finding]:
    """Decide the keys on which there is nothing but acquire and release, as far as the rules above go."""
    asked, rows = wanted_rows(columns, keys)
    is_acquire = columns.f_in((ACQUIRE,))
    asked[columns.key[rows[(~is_acquire & ~columns.f_in((RELEASE,)) | columns.failed)[rows]]]] = False
    writes = np.ones(len(columns), dtype=np.int8)
    tidy, crashing = _processes(columns, rows)
    if modes:
        acquires = rows[is_acquire[rows]]
        writes[acquires] = _modes(columns, acquires)
        asked[columns.key[acquires[writes[acquires] == _UNKNOWN]]] = False
        asked &= tidy
    rows = rows[asked[columns.key[rows]]]
    undecided = [key for key in keys if asked[key]]
    if not len(rows):
        return {key: Finding(Decision.VALID) for key in undecided}
    holders = _holders(columns, rows, is_acquire)
    conflicts = _conflicts(columns, holders, writes, reentrant=reentrant)
    strays = {}
    for place in np.flatnonzero(holders.depth < 0)[::-1].tolist():
        row = int(holders.rows[place])
        strays[int(columns.key[row])] = row
    findings = {}
    for key in undecided:
        if key in conflicts:
            findings[key] = Finding(Decision.INVALID, _suspects(columns, key, conflicts[key], is_acquire))
        elif key not in strays:
            findings[key] = Finding(Decision.VALID)
        elif tidy[key] and not crashing[key]:
            findings[key] = Finding(Decision.INVALID, suspects_before(columns, key, strays[key]))
    return findings


def _processes(columns: OperationColumns, rows: Ints) -> tuple[Bools, Bools]:
    """By key: whether the operations of each process follow one another; whether any crashed."""
    tidy = np.ones(len(columns.keys), dtype=np.bool_)
    crashing = np.zeros(len(columns.keys), dtype=np.bool_)
    crashing[columns.key[rows[columns.crashed[rows]]]] = True
    ordered = rows[np.lexsort((columns.call[rows], columns.process[rows], columns.key[rows]))]
    one, other = ordered[:-1], ordered[1:]
    same = (columns.key[one] == columns.key[other]) & (columns.process[one] == columns.process[other])
    tidy[columns.key[one[same & (columns.ret[one] >= columns.call[other])]]] = False
    return tidy, crashing


def _holders(columns: OperationColumns, rows: Ints, is_acquire: Bools) -> _Holders:
    rows = rows[~(is_acquire[rows] & columns.crashed[rows])]
    line = line_of(columns)
    rises = is_acquire[rows]
    # Releases come first where positions are shared, for they are concurrent then.
    moment = 2 * line.on(columns.key[rows], np.where(rises, line.ret[rows], line.call[rows])) + rises
    order = np.lexsort((moment, columns.process[rows], columns.key[rows]))
    del line
    rows, rises, moment = rows[order], rises[order], moment[order]
    del order
    first = ~(repeated(columns.key[rows]) & repeated(columns.process[rows]))
    holder = np.cumsum(first, dtype=np.int32) - 1
    steps = np.where(rises, np.int8(1), np.int8(-1))
    depth = np.cumsum(steps, dtype=np.int32)
    starts = np.flatnonzero(first)
    depth -= (depth[starts] - steps[starts])[holder]
    return _Holders(rows, rises, moment, holder, depth)


def _conflicts(
    columns: OperationColumns, holders: _Holders, writes: npt.NDArray[np.int8], *, reentrant: bool
) -> dict[int, int]:
    """For the keys that certainly had one holder too many, the acquire at whose return it had."""
    depth = np.maximum(holders.depth, 0)
    # A writer weighs more than all readers together.
    weight = np.where(holders.rises, writes[holders.rows], 0) * np.int64(len(columns)) + holders.rises
    if reentrant:
        depth = np.minimum(depth, 1)
    change = depth.copy()
    change[1:][repeated(holders.holder)[1:]] -= depth[:-1][repeated(holders.holder)[1:]]
    held_by = np.maximum.accumulate(np.where(holders.rises, np.arange(len(depth)), 0))
    steps = change * weight[held_by]
    del change, weight, held_by
    order = np.argsort(holders.moment, kind="stable")
    steps = steps[order]
    total = np.cumsum(steps)
    starts = np.flatnonzero(np.diff(columns.key[holders.rows[order]], prepend=-1))
    before = total[starts] - steps[starts]
    del steps
    total -= np.repeat(before, np.diff(starts, append=len(order)))
    wrong = total > len(columns) + 1
    if not reentrant:
        wrong |= depth[order] > 1
    conflicts = {}
    for place in np.flatnonzero(wrong)[::-1].tolist():
        row = int(holders.rows[order[place]])
        conflicts[int(columns.key[row])] = row
    return conflicts


def _modes(columns: OperationColumns, acquires: Ints) -> Ints:
    """By acquire whether it writes, ``_UNKNOWN`` where its value does not say."""
    known: dict[int, int] = {}
    payloads = columns.value[acquires]
    different, places = np.unique(payloads, return_inverse=True)
    _, first = np.unique(payloads, return_index=True)
    for payload, place in zip(different.tolist(), first.tolist(), strict=True):
        (value,) = columns.values_of("value", acquires[place : place + 1]) if payload < ABSENT else (None,)
        mode = value.get("mode") if isinstance(value, Mapping) else value
        known[payload] = (
            {READ: _READ, WRITE: _WRITE}.get(mode, _UNKNOWN) if isinstance(mode, str) else _UNKNOWN
        )
    table = np.array([known[payload] for payload in different.tolist()], dtype=np.int64)
    modes: Ints = table[places.reshape(-1)] if len(table) else payloads
    return modes


def _suspects(columns: OperationColumns, key: int, last: int, is_acquire: Bools) -> tuple[int, ...]:
    """The acquire that was one too many, the latest of other processes, and how their holds may have ended."""
    rows = columns.rows_by_key[key]
    known = rows[(columns.call[rows] < columns.ret[last]) & ~columns.crashed[rows]]
    moment = np.where(is_acquire[known], columns.ret[known], columns.call[known])
    latest: dict[int, int] = {}
    for row in known[np.argsort(moment, kind="stable")].tolist():
        process = int(columns.process[row])
        if is_acquire[row]:
            if columns.ret[row] <= columns.ret[last]:
                latest[process] = row
        else:
            latest.pop(process, None)
    holding = set(list(latest.values())[-SUSPECTS_MAX:])
    processes = [int(columns.process[row]) for row in holding | {last}]
    releases = rows[~is_acquire[rows] & np.isin(columns.process[rows], processes)]
    releases = releases[columns.call[releases] < columns.ret[last]]
    return tuple(sorted({last, *holding, *releases[-SUSPECTS_MAX:].tolist()}))


OWNED: Final = at_once(METHOD, decide_owned)
REENTRANT: Final = at_once(METHOD, partial(decide_owned, reentrant=True))
READ_WRITE: Final = at_once(METHOD, partial(decide_owned, modes=True))
