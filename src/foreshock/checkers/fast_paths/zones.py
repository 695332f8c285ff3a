"""Registers whose written values are distinct, decided for all keys at once in O(n log n).

After Gibbons & Korach (Testing Shared Memories, SIAM J. Comput. 26, 1997), in the words of Golab, Li & Shah
(Analyzing Consistency Properties for Fun and Profit, PODC 2011). A value's *zone* spans its write and its reads: with
f the least return and s the greatest call among them, it is forward ([f, s]: the register certainly held the value
all through it) if f < s and backward ([s, f]: some moment of it is enough) otherwise. A history is linearizable
exactly when every value read was written, no read returns before its write is called, no two forward zones
overlap, and no backward zone lies inside a forward one. Zones conflict only by strict inequality: those that merely
touch can be laid side by side.

The initial value counts as written before everything. A crashed write returns never, so that it conflicts with
nothing if it was not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from foreshock.checkers.columns import ABSENT, Bools, Ints, OperationColumns
from foreshock.checkers.decision import Decision
from foreshock.checkers.entries import NEVER
from foreshock.checkers.fast_paths.base import Finding, at_once
from foreshock.checkers.models.register import READS, WRITES

METHOD: Final = "zones"
_BEFORE_ALL: Final = -1


@dataclass(frozen=True)
class ZoneDecisions:
    """For each key its decision, and for the invalid ones the few rows that suffice to show it."""

    decisions: list[Decision]
    suspects: dict[int, list[int]]


@dataclass(frozen=True)
class _Groups:
    """The operations on each value of each key: ``rows[starts[g] : starts[g + 1]]`` is group ``g``."""

    rows: Ints
    starts: Ints
    key: Ints
    initial: Bools
    writes: Ints
    write_call: Ints
    read_ret_min: Ints
    ret_min: Ints
    call_max: Ints


def decide_by_zones(columns: OperationColumns) -> ZoneDecisions:
    """Decide every key that is only read and written, with distinct values that are never the initial one.

    The initial value is ``None`` (absent); other keys come back as not applicable.
    """
    is_read, is_write = columns.f_in(READS), columns.f_in(WRITES)
    applicable = np.ones(len(columns.keys), dtype=np.bool_)
    applicable[columns.key[~(is_read | is_write)]] = False
    used = np.flatnonzero((is_write | (is_read & ~columns.crashed)) & applicable[columns.key])
    groups = _group(columns, used, is_write)
    many = groups.writes > np.where(groups.initial, 0, 1)
    applicable[groups.key[many]] = False
    decisions = [Decision.VALID if known else Decision.NOT_APPLICABLE for known in applicable.tolist()]
    suspects: dict[int, list[int]] = {}
    for one, other in _conflicts(groups, applicable[groups.key]):
        key = int(groups.key[one])
        decisions[key] = Decision.INVALID
        rows = {row for g in {one, other} for row in _telling_rows(columns, groups, g, is_write)}
        suspects[key] = sorted(rows)
    return ZoneDecisions(decisions, suspects)


def _group(columns: OperationColumns, used: Ints, is_write: Bools) -> _Groups:
    """Sort the operations by key and value, and reduce each group to what its zone needs."""
    writes = is_write[used]
    token = np.empty(len(used), dtype=np.int64)
    token[writes] = columns.tokens("value", used[writes])
    token[~writes] = columns.tokens("result", used[~writes])
    order = np.lexsort((token, columns.key[used]))
    rows, token, writes = used[order], token[order], writes[order]
    key, call, ret = columns.key[rows], columns.call[rows], columns.ret[rows]
    if not len(rows):
        none = np.zeros(0, dtype=np.int64)
        return _Groups(none, none, none, none.astype(np.bool_), none, none, none, none, none)
    first = np.concatenate(([True], (key[1:] != key[:-1]) | (token[1:] != token[:-1])))
    starts = np.flatnonzero(first)
    initial = token[starts] == ABSENT
    ret_min = np.minimum.reduceat(ret, starts)
    return _Groups(
        rows=rows,
        starts=starts,
        key=key[starts],
        initial=initial,
        writes=np.add.reduceat(writes.astype(np.int64), starts),
        write_call=np.maximum.reduceat(np.where(writes, call, _BEFORE_ALL), starts),
        read_ret_min=np.minimum.reduceat(np.where(writes, NEVER, ret), starts),
        ret_min=np.where(initial, _BEFORE_ALL, ret_min),
        call_max=np.maximum.reduceat(call, starts),
    )


def _conflicts(groups: _Groups, applicable: Bools) -> list[tuple[int, int]]:
    """Pairs of groups that cannot both be (a group with itself when it is wrong alone), one for each illegal key."""
    from_nowhere = applicable & ~groups.initial & (groups.writes == 0)
    too_early = applicable & (groups.read_ret_min < groups.write_call)
    alone = np.flatnonzero(from_nowhere | too_early)
    known = np.flatnonzero(applicable)
    pair = conflicting_zones(groups.key[known], groups.ret_min[known], groups.call_max[known])
    one, other = (np.concatenate((alone, known[places])) for places in pair)
    first = np.unique(groups.key[one], return_index=True)[1]
    return list(zip(one[first].tolist(), other[first].tolist(), strict=True))


def conflicting_zones(key: Ints, ret_min: Ints, call_max: Ints) -> tuple[Ints, Ints]:
    """Pairs of zones of one key that cannot both be, as two arrays of places; some for each illegal key.

    A zone is given by the least return and the greatest call of its operations.
    """
    end = int(call_max.max(initial=0)) + 2
    # One number line for all keys: each key has its own stretch, so no zone reaches into another key's.
    base = key * (end + 2) + 1
    low = base + np.minimum(np.minimum(ret_min, call_max), end)
    high = base + np.minimum(np.maximum(ret_min, call_max), end)
    is_forward = ret_min < call_max
    forward = np.flatnonzero(is_forward)
    forward = forward[np.argsort(low[forward], kind="stable")]
    # Sorted by their lower ends, some two overlap only if two neighbours do.
    overlapping = np.flatnonzero(low[forward[1:]] < high[forward[:-1]])
    backward = np.flatnonzero(~is_forward)
    around = np.searchsorted(low[forward], low[backward], side="left") - 1
    possible = np.flatnonzero(around >= 0)
    backward, around = backward[possible], forward[around[possible]]
    inside = high[backward] < high[around]
    return (
        np.concatenate((forward[overlapping], around[inside])),
        np.concatenate((forward[overlapping + 1], backward[inside])),
    )


def _telling_rows(columns: OperationColumns, groups: _Groups, group: int, is_write: Bools) -> list[int]:
    """The write of a group's value, the first of its operations to return and the last to be called."""
    stop = groups.starts[group + 1] if group + 1 < len(groups.starts) else len(groups.rows)
    rows = groups.rows[groups.starts[group] : stop]
    telling: list[int] = rows[is_write[rows]].tolist()
    telling.append(int(rows[np.argmin(columns.ret[rows])]))
    telling.append(int(rows[np.argmax(columns.call[rows])]))
    reads = rows[~is_write[rows]]
    if len(reads):
        telling.append(int(reads[np.argmin(columns.ret[reads])]))
    return telling


def _decide(columns: OperationColumns, keys: Sequence[int]) -> dict[int, Finding]:
    found = decide_by_zones(columns)
    return {
        key: Finding(found.decisions[key], tuple(found.suspects.get(key, ())))
        for key in keys
        if found.decisions[key] is not Decision.NOT_APPLICABLE
    }


ZONES: Final = at_once(METHOD, _decide)
