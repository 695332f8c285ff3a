"""The positions of all keys on one line, so that one sort and one sweep decide every key at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from foreshock.checkers.columns import Bools, Ints, OperationColumns
from foreshock.checkers.entries import NEVER
from foreshock.checkers.kernels.layout import Int32s

COMPILED_FROM: Final = 20_000
"""A key with more operations than this is worth the import of the compiler."""
SUSPECTS_MAX: Final = 32
_LIMIT: Final = 1 << 61


@dataclass(frozen=True)
class Line:
    """Calls and returns of all rows as small numbers in the same order.

    ``call`` and ``ret`` are equal exactly where the columns' are; ``end`` is greater than any position, and the place
    of what never returned.
    """

    call: Ints
    ret: Ints
    end: int

    def on(self, key: Ints, position: Ints) -> Ints:
        """Positions of keys on the one line: each key has a stretch of its own."""
        places: Ints = key * (self.end + 1) + position
        return places


def line_of(columns: OperationColumns) -> Line:
    """The line of all rows; positions that are too large for it are replaced by their ranks."""
    call = columns.call
    ret = columns.ret
    low = int(call.min(initial=0))
    end = max(int(call.max(initial=0)), int(ret.max(initial=0, where=ret != NEVER))) - low + 1
    if (end + 1) * (len(columns.keys) + 1) * 4 >= _LIMIT:
        places, ranks = np.unique(np.concatenate((call, ret)), return_inverse=True)
        ranks = ranks.reshape(-1).astype(np.int64)
        return Line(ranks[: len(call)], np.where(ret == NEVER, len(places), ranks[len(call) :]), len(places))
    return Line(call - low, np.where(ret == NEVER, end, ret - low), end)


def wanted_rows(columns: OperationColumns, keys: Sequence[int]) -> tuple[Bools, Ints]:
    """Which keys are asked for, and the rows of these, in the order of their calls."""
    asked = np.zeros(len(columns.keys), dtype=np.bool_)
    asked[np.asarray(keys, dtype=np.int64)] = True
    rows = np.flatnonzero(asked[columns.key])
    return asked, rows


def depths_of(key: Ints, moment: Ints, rises: Bools) -> tuple[Ints, Int32s]:
    """The operations in the order of their moments (on the one line), and for each key the count after each of them.

    What falls comes first where both share a moment.
    """
    order = np.argsort(2 * moment + rises, kind="stable")
    steps = np.where(rises[order], np.int8(1), np.int8(-1))
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    depth = np.cumsum(steps, dtype=np.int32)
    depth -= np.repeat(depth[starts] - steps[starts], np.diff(starts, append=len(key)))
    return order, depth
