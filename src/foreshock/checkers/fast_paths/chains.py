"""Chains of compare-and-sets: each value is written by one update, which may name the value that it must find.

So the order from a blind write through its chain of compare-and-sets, with the reads of each value in between, is
forced: that is a *cluster*. Nothing else can take effect inside it, so clusters are laid out as the zones of
``zones.py`` are: f is the least return and s the greatest call among the cluster's operations, and two clusters
conflict exactly when each has f strictly before the other's s (as an overlap of forward zones, or as a backward zone
inside a forward one). Inside a cluster, nothing may return strictly before something that must precede it is called.

A crashed update counts only if it must have happened: its value was read, or a compare-and-set that must have
happened found it.

Everything is done for all keys at once, in O(n log n): places in chains are found by pointer doubling (Wyllie 1979),
the order inside clusters is checked by running maxima over all chains laid end to end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from foreshock.checkers.columns import Bools, Ints, OperationColumns
from foreshock.checkers.entries import NEVER
from foreshock.checkers.fast_paths.zones import conflicting_zones

_BEFORE_ALL: Final = -1
NOBODY: Final = -1
"""No row, or no value."""


@dataclass(frozen=True)
class Values:
    """The values of some keys and what was done to them. All refer to values by their places in ``key``.

    ``initial`` marks values that were there from the start, ``update`` is the row of the operation that wrote a value
    (or ``NOBODY``), ``before`` the value that this operation had to find (``NOBODY`` for a blind write). Each
    ``read_row`` returned the value ``read_value``.
    """

    key: Ints
    initial: Bools
    update: Ints
    before: Ints
    read_row: Ints
    read_value: Ints


@dataclass(frozen=True)
class _Measured:
    """When the update of each value, and the reads of it, returned first and were called last."""

    call: Ints
    ret: Ints
    read_ret: Ints
    read_call: Ints
    by_itself: Bools
    """Values that were there for certain, whatever is known of others."""


@dataclass(frozen=True)
class _Clusters:
    """The certain values in the order of their chains, laid end to end: cluster c begins at ``starts[c]``."""

    values: Ints
    starts: Ints

    def of(self, cluster: int) -> Ints:
        """The values of one cluster."""
        stop = self.starts[cluster + 1] if cluster + 1 < len(self.starts) else len(self.values)
        return self.values[self.starts[cluster] : stop]


@dataclass
class _Verdicts:
    """The rows that show for each illegal key that it is, by the first conflict that was told of it."""

    found: dict[int, list[int]] = field(default_factory=dict)

    def first_of(self, keys: Ints, moments: Ints) -> list[int]:
        """The places of the conflicts to tell: of each key that has none yet the one of the earliest moment."""
        order = np.lexsort((moments, keys))
        first = np.unique(keys[order], return_index=True)[1]
        return [place for place in order[first].tolist() if int(keys[place]) not in self.found]


def conflicts_of(columns: OperationColumns, values: Values) -> dict[int, list[int]]:
    """For each illegal key the rows, in ascending order, that are illegal by themselves."""
    measured = _measure(columns, values)
    certain, because = _certain(values, measured)
    telling = _Telling(columns, values, measured, because)
    verdicts = _Verdicts()
    _find_values_from_nowhere(values, certain, verdicts, telling)
    _find_forks(values, certain, verdicts, telling)
    clusters = _clusters(values, certain, verdicts, telling)
    _find_disorder(values, measured, clusters, verdicts, telling)
    _find_overlaps(values, measured, clusters, verdicts, telling)
    return verdicts.found


def _measure(columns: OperationColumns, values: Values) -> _Measured:
    count = len(values.key)
    written = values.update != NOBODY
    rows = values.update[written]
    call = np.full(count, _BEFORE_ALL, dtype=np.int64)
    ret = np.full(count, NEVER, dtype=np.int64)
    call[written], ret[written] = columns.call[rows], columns.ret[rows]
    ret[values.initial] = _BEFORE_ALL
    read_ret = np.full(count, NEVER, dtype=np.int64)
    read_call = np.full(count, _BEFORE_ALL, dtype=np.int64)
    np.minimum.at(read_ret, values.read_value, columns.ret[values.read_row])
    np.maximum.at(read_call, values.read_value, columns.call[values.read_row])
    by_itself = values.initial | (read_ret != NEVER)
    by_itself[written] |= ~columns.crashed[rows]
    return _Measured(call, ret, read_ret, read_call, by_itself)


def _certain(values: Values, measured: _Measured) -> tuple[Bools, Ints]:
    """The values that must have been there: by themselves, or because something certain found them (and what)."""
    certain = measured.by_itself.copy()
    because = np.full(len(certain), NOBODY, dtype=np.int64)
    new = np.flatnonzero(certain)
    while len(new):
        finders = new[values.before[new] != NOBODY]
        finders = finders[~certain[values.before[finders]]]
        because[values.before[finders]] = finders
        new = np.unique(values.before[finders])
        certain[new] = True
    return certain, because


def _find_values_from_nowhere(values: Values, certain: Bools, verdicts: _Verdicts, telling: _Telling) -> None:
    nowhere = np.flatnonzero(certain & ~values.initial & (values.update == NOBODY))
    if not len(nowhere):
        return
    finders = np.flatnonzero(certain & np.isin(values.before, nowhere))
    read = nowhere[telling.measured.read_ret[nowhere] != NEVER]
    for place in verdicts.first_of(values.key[read], telling.measured.read_ret[read]):
        verdicts.found[int(values.key[read[place]])] = telling.reads(int(read[place]))[:1]
    for place in verdicts.first_of(values.key[finders], telling.measured.call[finders]):
        finder = int(finders[place])
        verdicts.found[int(values.key[finder])] = telling.rows([*telling.reason(finder)])


def _find_forks(values: Values, certain: Bools, verdicts: _Verdicts, telling: _Telling) -> None:
    """Two compare-and-sets that found the same value: that was there once only."""
    swaps = np.flatnonzero(certain & (values.before != NOBODY))
    swaps = swaps[np.lexsort((telling.measured.call[swaps], values.before[swaps]))]
    twice = np.flatnonzero(values.before[swaps[1:]] == values.before[swaps[:-1]])
    for place in verdicts.first_of(values.key[swaps[twice]], telling.measured.call[swaps[twice + 1]]):
        pair = swaps[twice[place] : twice[place] + 2].tolist()
        told = [value for swap in pair for value in telling.reason(swap)]
        verdicts.found[int(values.key[pair[0]])] = telling.rows(told)


def _clusters(values: Values, certain: Bools, verdicts: _Verdicts, telling: _Telling) -> _Clusters:
    """Follow each chain from its blind write on; a ring of compare-and-sets, which has none, is a conflict."""
    is_first = ~certain | (values.before == NOBODY)
    up = np.where(is_first, np.arange(len(certain)), values.before)
    distance = (~is_first).astype(np.int64)
    # In each round every pointer skips twice as far, so after so many rounds they have reached the end.
    open_values = np.flatnonzero(~is_first[up])
    for _ in range(len(certain).bit_length()):
        if not len(open_values):
            break
        over = up[open_values]
        distance[open_values] += distance[over]
        up[open_values] = up[over]
        open_values = open_values[~is_first[up[open_values]]]
    for place in verdicts.first_of(values.key[open_values], telling.measured.call[open_values]):
        value = int(open_values[place])
        seen: dict[int, None] = {}
        while value not in seen:
            seen[value] = None
            value = int(values.before[value])
        ring = [*seen][[*seen].index(value) :]
        verdicts.found[int(values.key[value])] = telling.rows(
            [part for member in ring for part in telling.reason(member)]
        )
    chained = np.flatnonzero(certain & is_first[up])
    chained = chained[np.lexsort((distance[chained], up[chained]))]
    return _Clusters(chained, np.flatnonzero(is_first[chained]))


def _find_disorder(
    values: Values, measured: _Measured, clusters: _Clusters, verdicts: _Verdicts, telling: _Telling
) -> None:
    """Something in a cluster that returned before something that must precede it was called."""
    chained = clusters.values
    called = np.maximum(measured.call[chained], measured.read_call[chained])
    # One running maximum for all clusters: each is a stretch of its own on the number line.
    number = np.zeros(len(chained), dtype=np.int64)
    number[clusters.starts[1:]] = 1
    base = np.cumsum(number) * (int(called.max(initial=0)) + 2) + 1
    before = np.full(len(chained), _BEFORE_ALL, dtype=np.int64)
    before[1:] = np.maximum.accumulate(base + called)[:-1] - base[1:]
    before[clusters.starts] = _BEFORE_ALL
    late_update = measured.ret[chained] < before
    late_read = measured.read_ret[chained] < np.maximum(before, measured.call[chained])
    late = np.flatnonzero(late_update | late_read)
    for place in verdicts.first_of(values.key[chained[late]], late):
        upto = int(late[place])
        cluster = int(np.searchsorted(clusters.starts, upto, side="right")) - 1
        chain = clusters.of(cluster)[: upto + 1 - clusters.starts[cluster]]
        latest = int(np.argmax(np.append(called[clusters.starts[cluster] : upto], _BEFORE_ALL)))
        if (
            measured.call[chain[-1]] > before[upto]
            and measured.read_ret[chain[-1]] < measured.call[chain[-1]]
        ):
            latest = len(chain) - 1
        verdicts.found[int(values.key[chain[-1]])] = telling.part(
            clusters.of(cluster), latest, len(chain) - 1
        )


def _find_overlaps(
    values: Values, measured: _Measured, clusters: _Clusters, verdicts: _Verdicts, telling: _Telling
) -> None:
    """Two clusters each of which must be over before the other one ends."""
    if not len(clusters.starts):
        return
    chained = clusters.values
    returned = np.minimum(measured.ret[chained], measured.read_ret[chained])
    called = np.maximum(measured.call[chained], measured.read_call[chained])
    ret_min = np.minimum.reduceat(returned, clusters.starts)
    call_max = np.maximum.reduceat(called, clusters.starts)
    keys = values.key[chained[clusters.starts]]
    one, other = conflicting_zones(keys, ret_min, call_max)
    for place in verdicts.first_of(keys[one], np.maximum(call_max[one], call_max[other])):
        told: set[int] = set()
        for cluster in (int(one[place]), int(other[place])):
            chain = clusters.of(cluster)
            start = clusters.starts[cluster]
            first = int(np.argmin(returned[start : start + len(chain)]))
            last = int(np.argmax(called[start : start + len(chain)]))
            told |= set(telling.part(chain, first, last))
        verdicts.found[int(keys[one[place]])] = sorted(told)


class _Telling:
    """The few rows that show a conflict."""

    def __init__(self, columns: OperationColumns, values: Values, measured: _Measured, because: Ints) -> None:
        self.measured = measured
        self._because = because
        self._columns = columns
        self._values = values
        self._order: Ints | None = None

    def reads(self, value: int) -> list[int]:
        """The read of a value that returned first, and the one that was called last."""
        if self._order is None:
            self._order = np.argsort(self._values.read_value, kind="stable")
            self._sorted = self._values.read_value[self._order]
        start, stop = np.searchsorted(self._sorted, (value, value + 1))
        rows = self._values.read_row[self._order[start:stop]]
        if not len(rows):
            return []
        return [int(rows[np.argmin(self._columns.ret[rows])]), int(rows[np.argmax(self._columns.call[rows])])]

    def rows(self, told: list[int]) -> list[int]:
        """The update of each of these values, and a read of it."""
        rows = {int(self._values.update[value]) for value in told} - {NOBODY}
        return sorted(rows | {row for value in told for row in self.reads(value)[:1]})

    def reason(self, value: int) -> list[int]:
        """A value and, where it is certain only because of later ones, those up to the one that makes it so."""
        told = [value]
        while not self.measured.by_itself[told[-1]]:
            told.append(int(self._because[told[-1]]))
        return told

    def part(self, chain: Ints, one: int, other: int) -> list[int]:
        """The updates of a chain from one place to another, and the reads at the two."""
        low, high = min(one, other), max(one, other)
        stop = high
        while not self.measured.by_itself[chain[stop]]:
            stop += 1
        rows = {int(row) for row in self._values.update[chain[low : stop + 1]]} - {NOBODY}
        for place in {low, high, stop}:
            rows.update(self.reads(int(chain[place])))
        return sorted(rows)
