"""Locks and semaphores that do not ask who releases them, decided for all keys at once in O(n log n).

An acquire takes one of ``permits`` permits (a mutex has one), a release gives one back, whoever took it. Let F(t)
be the number of ok acquires that returned before t, less the number of releases, of any outcome, that were called
before t: the depth of the hold cores [return of an acquire, call of its release].

* At t, every acquire counted in F has taken effect, and no release that is not counted in it. So F(t) permits at
  least are taken: where F exceeds their number, the history is illegal, whatever crashed.
* If every acquire takes effect at its return and every release at its call, F(t) is the number of permits taken. So
  where F stays between 0 and the number of permits, that order is legal. Crashed acquires never happen in it.
  Releases come first where both share a position, since they are concurrent then.
* F is never negative where each process alternates between acquire and release. Elsewhere (a release by somebody
  else, or after an acquire that crashed), a key where F is negative goes to the schedule of ``balance.py``.

Positions are compared strictly: cores that merely touch can be laid side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from foreshock.checkers.columns import ABSENT, Ints, OperationColumns
from foreshock.checkers.decision import Decision
from foreshock.checkers.fast_paths.balance import events_of, first_out_of_bounds
from foreshock.checkers.fast_paths.base import UNLIMITED, FastPath, Finding, in_time
from foreshock.checkers.fast_paths.lines import (
    COMPILED_FROM,
    SUSPECTS_MAX,
    Line,
    depths_of,
    line_of,
    wanted_rows,
)
from foreshock.checkers.models.lock import ACQUIRE, RELEASE
from foreshock.checkers.models.shared_locks import Semaphore
from foreshock.checkers.search import Limits

METHOD: Final = "hold cores"


def decide_holds(
    columns: OperationColumns,
    keys: Sequence[int],
    permits_of: Callable[[OperationColumns, Ints], Ints],
    limits: Limits = UNLIMITED,
) -> dict[int, Finding]:
    """Decide the keys on which there is nothing but acquire and release.

    ``permits_of`` gives for some rows how many permits their operation goes by, and 0 where that cannot be told; the
    acquires of a key must agree on it, or the key is left out.
    """
    asked, rows = wanted_rows(columns, keys)
    is_acquire = columns.f_in((ACQUIRE,))
    strange = rows[(~is_acquire & ~columns.f_in((RELEASE,)) | columns.failed)[rows]]
    asked[columns.key[strange]] = False
    permits = _agreed_permits(columns, rows[is_acquire[rows]], permits_of)
    rows = rows[(asked & (permits > 0))[columns.key[rows]]]
    if not len(rows):
        return {key: Finding(Decision.VALID) for key in keys if asked[key] and permits[key] > 0}
    line = line_of(columns)
    certain = rows[~(is_acquire[rows] & columns.crashed[rows])]
    rises = is_acquire[certain]
    key = columns.key[certain]
    moment = line.on(key, np.where(rises, line.ret[certain], line.call[certain]))
    order, depth = depths_of(key, moment, rises)
    key = key[order]
    too_deep = np.flatnonzero(depth > permits[key])
    first = dict(zip(key[too_deep][::-1].tolist(), too_deep[::-1].tolist(), strict=True))
    negative = np.zeros(len(columns.keys), dtype=np.bool_)
    negative[key[depth < 0]] = True
    findings = {}
    for number in in_time(columns, [key for key in keys if asked[key] and permits[key] > 0], limits):
        if number in first:
            last = int(certain[order[first[number]]])
            findings[number] = Finding(Decision.INVALID, suspects_before(columns, number, last))
        elif negative[number]:
            findings[number] = _schedule(columns, line, number, int(permits[number]))
        else:
            findings[number] = Finding(Decision.VALID)
    return findings


def _agreed_permits(
    columns: OperationColumns, acquires: Ints, permits_of: Callable[[OperationColumns, Ints], Ints]
) -> Ints:
    """By key, how many permits all its acquires go by; 0 where they do not agree."""
    told = permits_of(columns, acquires)
    low = np.full(len(columns.keys), 1 << 60, dtype=np.int64)
    high = np.zeros(len(columns.keys), dtype=np.int64)
    np.minimum.at(low, columns.key[acquires], told)
    np.maximum.at(high, columns.key[acquires], told)
    # A key without acquires has none to disagree, and any number will do.
    agreed: Ints = np.where(high == 0, np.where(low == 1 << 60, 1, 0), np.where(low == high, high, 0))
    return agreed


def _schedule(columns: OperationColumns, line: Line, key: int, permits: int) -> Finding:
    rows = columns.rows_by_key[key]
    rises = columns.f_in((ACQUIRE,))[rows]
    owners, is_return, deadline = events_of(line.call[rows], line.ret[rows], columns.crashed[rows])
    if len(rows) > COMPILED_FROM:
        from foreshock.checkers.kernels import monitors

        found = int(monitors.first_out_of_bounds(owners, is_return, rises, deadline, permits))
    else:
        found = first_out_of_bounds(
            owners.tolist(), is_return.tolist(), rises.tolist(), deadline.tolist(), permits
        )
    if found < 0:
        return Finding(Decision.VALID)
    return Finding(Decision.INVALID, suspects_before(columns, key, int(rows[found])))


def suspects_before(columns: OperationColumns, key: int, last: int) -> tuple[int, ...]:
    """An operation that could not have returned, and what was known of its lock by then, the latest of it."""
    rows = columns.rows_by_key[key]
    known = rows[columns.call[rows] <= columns.ret[last]]
    return tuple(sorted({last, *known[-SUSPECTS_MAX:].tolist()}))


def _one(columns: OperationColumns, acquires: Ints) -> Ints:  # noqa: ARG001
    return np.ones(len(acquires), dtype=np.int64)


def _told(model: Semaphore, columns: OperationColumns, acquires: Ints) -> Ints:
    """What the values of some acquires say, and what the model says where they say nothing."""
    payloads = columns.value[acquires]
    told = np.full(len(acquires), model.permits, dtype=np.int64)
    objects = np.flatnonzero(payloads < ABSENT)
    known: dict[int, int] = {}
    for place in objects.tolist():
        payload = int(payloads[place])
        if payload not in known:
            value: Any = columns.values_of("value", acquires[place : place + 1])[0]
            known[payload] = model.permits_of(value)
        told[place] = known[payload]
    return told


def _decide_mutex(columns: OperationColumns, keys: Sequence[int], limits: Limits) -> Mapping[int, Finding]:
    return decide_holds(columns, keys, _one, limits)


def semaphore_path(model: Semaphore) -> FastPath:
    """The fast path of a semaphore, by its number of permits where acquires do not say otherwise."""
    told = partial(_told, model)
    return FastPath(METHOD, lambda columns, keys, limits: decide_holds(columns, keys, told, limits))


HOLDS: Final = FastPath(METHOD, _decide_mutex)
