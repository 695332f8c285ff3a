"""What is certain about the order of the updates of registers: for all keys at once, in columns.

An update takes effect at some moment between its call and its return. One that was read by somebody has taken effect
before that read returned, even if it never returned itself. So each update has a *span*, and an update whose span ends
before another's begins certainly comes before it. The initial absence of a key comes before all.

Which update a read saw is certain only where one update alone can have written what it returned: a ``delete`` writes
``None``, as others do, and which every key holds at first; and values may be written more than once. Then the read has
several *candidates*: all updates of that value that were called before it returned. A compare-and-set counts as an
update to its new value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from foreshock.checkers.columns import ABSENT, Bools, Ints, OperationColumns
from foreshock.checkers.entries import NEVER, freeze
from foreshock.checkers.models.register import CAS, DELETES, READS, WRITES
from foreshock.harness.errors import UsageError
from foreshock.harness.history_values import INTEGER_LIMIT

INITIAL: Final = -1
"""The row of the initial absence of a key."""
_UPDATES: Final = WRITES | DELETES | {CAS}


@dataclass(frozen=True)
class Versions:
    """The updates of registers with their spans, and for each read the updates that it may have seen.

    Updates are sorted by what they write (``group``: key and value) and then by when their spans begin; ``row`` counts
    into ``columns`` (``INITIAL`` for the initial absence, which every key has). ``reads`` are the rows of the reads
    that returned; the candidates of read ``i`` are the updates ``first[i]:stop[i]``, none for a value from nowhere.
    Spans are in positions; ``ends`` is ``end``, after every position, for an update that need never have happened.
    """

    columns: OperationColumns
    row: Ints
    key: Ints
    group: Ints
    begins: Ints
    ends: Ints
    ends_ns: Ints
    reads: Ints
    first: Ints
    stop: Ints
    end: int
    latest: Ints = field(init=False)
    """For each update the greatest end among it and those before it in its group."""

    def __post_init__(self) -> None:
        line = self.group * self.width + self.ends
        object.__setattr__(self, "latest", np.maximum.accumulate(line) - self.group * self.width)

    @property
    def width(self) -> int:
        """How much of one number line the positions of one group or key take up, from -1 to ``end``."""
        return self.end + 3

    @property
    def known(self) -> Bools:
        """Which reads returned what somebody may have written."""
        found: Bools = self.first < self.stop
        return found

    @property
    def seen_until(self) -> Ints:
        """For each read by when what it saw had certainly taken effect: the latest end of its candidates (or -1)."""
        return np.where(self.known, self.latest[self.stop - 1], -1)

    def seen_since(self, floors: Ints) -> Ints:
        """For each read the least begin of the candidates whose spans do not end before its floor.

        Where all of them do, or there are none, it is -1: nothing.
        """
        group = self.group[np.minimum(self.first, len(self.group) - 1)]
        line = self.group * self.width + self.latest
        place = np.maximum(np.searchsorted(line, group * self.width + floors), self.first)
        found = place < self.stop
        return np.where(found, self.begins[np.where(found, place, 0)], -1)

    def sole_candidates(self) -> Ints:
        """For each read the only update that it can have seen; -1 where there are several or none."""
        sole = self.stop - self.first == 1
        return np.where(sole, self.first, -1)


def versions_of(columns: OperationColumns, checker: str) -> Versions:
    """The versions of a history of registers. Raises :class:`UsageError` for an operation that no register has."""
    names = {columns.names[code] for code in np.unique(columns.f).tolist()}
    if foreign := sorted(names - READS - _UPDATES):
        known = ", ".join(sorted(READS | _UPDATES))
        raise UsageError(
            f"the checker {checker!r} judges registers, and {foreign[0]!r} is no operation of theirs: {known} are"
        )
    end = int(max(columns.call.max(initial=0), columns.ret[~columns.crashed].max(initial=0))) + 1
    tokens = _tokens(columns)
    is_read = columns.f_in(READS)
    updates = np.flatnonzero(~is_read & ~columns.failed)
    reads = np.flatnonzero(is_read & ~columns.failed & ~columns.crashed)
    keys = len(columns.keys)
    initial = np.full(keys, -1, dtype=np.int64)
    key = np.concatenate((np.arange(keys), columns.key[updates]))
    groups = _groups(
        np.concatenate((key, columns.key[reads])),
        np.concatenate((np.full(keys, ABSENT), tokens[updates], tokens[reads])),
    )
    group, read_group = groups[: len(key)], groups[len(key) :]
    begins = np.concatenate((initial, columns.call[updates]))
    order = np.lexsort((begins, group))
    row = np.concatenate((np.full(keys, INITIAL), updates))[order]
    group, begins = group[order], begins[order]
    ends = np.concatenate((initial, np.minimum(columns.ret[updates], end)))[order]
    ends_ns = np.concatenate((initial, columns.ret_ns[updates]))[order]
    first = np.searchsorted(group, read_group)
    ret = columns.ret[reads]
    stop = np.searchsorted(group * (end + 3) + begins, read_group * (end + 3) + ret, side="right")
    # A read proves that the only update which it can have seen had taken effect before it returned.
    proof = np.flatnonzero(stop - first == 1)
    np.minimum.at(ends, first[proof], ret[proof])
    np.minimum.at(ends_ns, first[proof], columns.ret_ns[reads[proof]])
    ends_ns[row == INITIAL] = -1
    ends[row == INITIAL] = -1
    return Versions(columns, row, key[order], group, begins, ends, ends_ns, reads, first, stop, end)


def has_times(columns: OperationColumns) -> bool:
    """Whether all events have times; those of logs that know only their order are less than 0."""
    return bool((columns.call_ns >= 0).all() and (columns.ret_ns >= 0).all())


class Order:
    """The updates of each key that certainly happened, by the begin of their spans: what overwrote what, and when."""

    def __init__(self, versions: Versions) -> None:
        certain = np.flatnonzero((versions.ends < versions.end) & (versions.row != INITIAL))
        certain = certain[np.lexsort((versions.begins[certain], versions.key[certain]))]
        keys, self._width = len(versions.columns.keys), versions.width
        key = versions.key[certain]
        self._stops = np.searchsorted(key, np.arange(keys), side="right")
        # The last element belongs to no key, so that there is always one to look at.
        self._line = np.append(key * self._width + versions.begins[certain], keys * self._width)
        self._ends = np.append(versions.ends[certain], versions.end)
        times, rank = np.unique(versions.ends_ns[certain], return_inverse=True)
        # From the last to the first, each key by itself: it is held below all later keys.
        offset = key * (len(times) + 1)
        least = np.minimum.accumulate((rank + offset)[::-1])[::-1] - offset
        self._least_ns = np.append(times[least], NEVER)

    def last_begin(self) -> Ints:
        """For each key when the last of its certain updates began; -1 where it has none."""
        keys = np.arange(len(self._stops))
        found = self._stops > np.append(0, self._stops[:-1])[: len(keys)]
        return np.where(found, self._line[self._stops - 1] - keys * self._width, -1)

    def next_begin(self, key: Ints, ends: Ints) -> Ints:
        """When the first update began that is certainly later than a span with that end; ``NEVER`` if none is."""
        place = self._later(key, ends)
        return np.where(place < self._stops[key], self._line[place] - key * self._width, NEVER)

    def overwritten_ns(self, key: Ints, ends: Ints) -> Ints:
        """By when (ns) a version whose span has that end was certainly overwritten; ``NEVER`` if it may never be."""
        place = self._later(key, ends)
        return np.where(place < self._stops[key], self._least_ns[place], NEVER)

    def overwritten_times(self, key: Ints, ends: Ints, before: Ints) -> Ints:
        """How many updates certainly came after a span with that end, and before those positions."""
        low = self._later(key, ends)
        return count_less(self._ends, low, np.maximum(self._stops[key], low), before)

    def _later(self, key: Ints, ends: Ints) -> Ints:
        place: Ints = np.searchsorted(self._line[:-1], key * self._width + ends, side="right")
        return place


def count_less(numbers: Ints, low: Ints, high: Ints, bound: Ints) -> Ints:
    """For each query how many of ``numbers[low:high]`` (none negative) are less than its bound.

    A wavelet matrix (Claude, Navarro & Ordonez, The wavelet matrix, Information Systems 47, 2015): one level a bit.
    """
    bits = max(int(numbers.max(initial=0)).bit_length(), 1)
    bound = np.clip(bound, 0, 1 << bits)
    count = np.where(bound >> bits == 1, high - low, 0)
    numbers, low, high = numbers.copy(), low.copy(), high.copy()
    open_ = bound >> bits == 0
    for bit in range(bits - 1, -1, -1):
        is_zero = (numbers >> bit & 1) == 0
        zeros = np.concatenate(([0], np.cumsum(is_zero)))
        low_zeros, high_zeros = zeros[low], zeros[high]
        goes_right = (bound >> bit & 1) == 1
        count += np.where(open_ & goes_right, high_zeros - low_zeros, 0)
        low = np.where(goes_right, zeros[-1] + low - low_zeros, low_zeros)
        high = np.where(goes_right, zeros[-1] + high - high_zeros, high_zeros)
        numbers = np.concatenate((numbers[is_zero], numbers[~is_zero]))
    return count


def _tokens(columns: OperationColumns) -> Ints:
    """For each row what it wrote, or what it read, as numbers that are equal exactly when the values are."""
    tokens = np.where(columns.f_in(READS), columns.result, columns.value)
    is_cas = columns.f_in({CAS})
    tokens[columns.f_in(DELETES)] = ABSENT
    others = np.flatnonzero(is_cas | (tokens < ABSENT))
    if not len(others):
        return tokens
    values, results = columns.values, columns.results
    reads, cas = columns.f_in(READS).tolist(), is_cas.tolist()
    numbers: dict[Any, int] = {}
    for row in others.tolist():
        value = _new_value(values[row]) if cas[row] else freeze(results[row] if reads[row] else values[row])
        if value is None:
            tokens[row] = ABSENT
        elif isinstance(value, int) and abs(value) < INTEGER_LIMIT:
            tokens[row] = value
        else:
            tokens[row] = numbers.setdefault(value, ABSENT - 1 - len(numbers))
    return tokens


def _new_value(value: Any) -> Any:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise UsageError(f"a register cannot take the value {value!r} of 'cas': it must be a pair [old, new]")
    return freeze(value[1])


def _groups(key: Ints, token: Ints) -> Ints:
    """Numbers for pairs of a key and a token, that grow with the key."""
    order = np.lexsort((token, key))
    changed = np.ones(len(order), dtype=np.int64)
    changed[1:] = (np.diff(key[order]) != 0) | (np.diff(token[order]) != 0)
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = np.cumsum(changed) - 1
    return numbers
