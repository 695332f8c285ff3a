"""Floors: the newest that somebody had certainly got to by a moment, for many processes and moments at once."""

from __future__ import annotations

import numpy as np

from foreshock.checkers.columns import Ints

_SHIFT = 1 << 32


class Floors:
    """For each code (a process on a key, say) the greatest value among its operations that returned before a moment.

    ``ret`` and ``value`` are positions, the latter at least -1. O(n log n) to make, O(log n) a question.
    """

    def __init__(self, code: Ints, ret: Ints, value: Ints) -> None:
        self._codes, place = np.unique(code, return_inverse=True)
        self._width = int(max(ret.max(initial=0), value.max(initial=0))) + 3
        order = np.lexsort((ret, place))
        place = place[order]
        self._starts = np.searchsorted(place, np.arange(len(self._codes)))
        self._line = place * self._width + ret[order]
        highest = np.maximum.accumulate(place * self._width + value[order] + 1)
        # The last element answers where nothing returned in time.
        self._highest = np.append(highest - place * self._width - 1, -1)

    def at(self, code: Ints, before: Ints) -> Ints:
        """For each question the greatest value of that code that returned before that position; -1 for none."""
        if not len(self._codes):
            return np.full(len(code), -1, dtype=np.int64)
        place = np.minimum(np.searchsorted(self._codes, code), len(self._codes) - 1)
        moment = np.clip(before, 0, self._width - 1)
        last = np.searchsorted(self._line, place * self._width + moment) - 1
        found = (self._codes[place] == code) & (last >= self._starts[place])
        return self._highest[np.where(found, last, -1)]


def pair_codes(one: Ints, other: Ints) -> Ints:
    """One number for two process numbers (which are less than 2**31)."""
    return one * _SHIFT + other
