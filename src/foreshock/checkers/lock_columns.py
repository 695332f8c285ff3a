"""What the checkers of locks share when they look at columns: values a part at a time, what came before, first ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, Literal

import numpy as np

from foreshock.checkers.columns import ABSENT, Bools, Ints
from foreshock.checkers.kernels.layout import Int32s
from foreshock.checkers.rows import EXCLUSIVE, PERMIT, READ, REENTRANT, mode_in, permits_in
from foreshock.harness.history import History
from foreshock.harness.history_values import INTEGER_LIMIT

COLUMNS_FROM: Final = 5_000
"""A history of more operations is looked at as columns; row by row, a smaller one is as quick."""
MODES: Final = (EXCLUSIVE, READ, PERMIT, REENTRANT)
NOTHING: Final = -INTEGER_LIMIT
"""Stands for a number that is not there."""
ODD: Final = NOTHING - 1
"""Stands for a number that columns cannot hold, or that is written as ``true`` or ``false``."""
_AT_ONCE: Final = 1 << 12
_LIMIT: Final = 1 << 62


def parts_of(rows: Ints) -> Iterator[Ints]:
    """Some rows at a time: all values at once would be larger than all columns."""
    return (rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE))


def number_of(value: Any) -> int:
    """A number as columns hold it: ``NOTHING`` where it is none, ``ODD`` where they cannot."""
    if type(value) is int and NOTHING < value < INTEGER_LIMIT:
        return value
    return ODD if isinstance(value, int) else NOTHING


def numbers_in(values: Sequence[Any], name: str) -> Ints | None:
    """What is called so in each of some objects, if it is a number that columns can hold or ``null`` in all of them.

    The quick way for what nearly all values look like; where it gives ``None`` they have to be looked at one by one.
    """
    try:
        numbers = list(map(itemgetter(name), values))
    except (KeyError, TypeError):
        return None
    kinds = set(map(type, numbers))
    if not kinds <= {int, type(None)}:
        return None
    if len(kinds) == 2 or None in numbers[:1]:
        numbers = [NOTHING if number is None else number for number in numbers]
    try:
        column = np.array(numbers, dtype=np.int64)
    except OverflowError:
        return None
    return column if ((column >= NOTHING) & (column < INTEGER_LIMIT)).all() else None


def asked_modes(history: History, rows: Ints, modes: list[str]) -> tuple[Ints, Ints]:
    """The modes of the values of some rows, counted into ``modes`` (which grows by others), and their permits."""
    mode, permits = np.zeros(len(rows), dtype=np.int64), np.ones(len(rows), dtype=np.int64)
    payloads = history.payloads("value")[rows]
    asking = np.flatnonzero(payloads < ABSENT)
    if not len(asking):
        return mode, permits
    # Few different values are written often, so each is looked at once.
    _, first, which = np.unique(payloads[asking], return_index=True, return_inverse=True)
    told_modes, told_permits = [], []
    for part in parts_of(rows[asking[first]]):
        for value in history.values("value", part):
            name = mode_in(value)
            if name not in modes:
                modes.append(name)
            told_modes.append(modes.index(name))
            told_permits.append(max(NOTHING, min(permits_in(value), INTEGER_LIMIT)))
    mode[asking] = np.array(told_modes)[which.reshape(-1)]
    permits[asking] = np.array(told_permits)[which.reshape(-1)]
    return mode, permits


def on_one_line(*columns: tuple[Ints, Ints]) -> list[Ints]:
    """Pairs of a key (counted from 0) and a number, as numbers that compare as the pairs do, in all columns alike."""
    filled = [column for column in columns if len(column[0])]
    if not filled:
        return [number for _, number in columns]
    keys = max(int(key.max()) for key, _ in filled) + 1
    low = min(int(number.min()) for _, number in filled)
    span = max(int(number.max()) for _, number in filled) - low + 1
    if span * keys < _LIMIT:
        return [key * span + (number - low) for key, number in columns]
    values, ranks = np.unique(np.concatenate([number for _, number in columns]), return_inverse=True)
    bounds = np.cumsum([len(number) for _, number in columns])[:-1]
    split = np.split(ranks.reshape(-1).astype(np.int64), bounds)
    return [key * len(values) + rank for (key, _), rank in zip(columns, split, strict=True)]


def places_in(sorted_values: Ints, values: Ints, side: Literal["left", "right"]) -> Ints:
    """As ``numpy.searchsorted``, but looked for in their order: much faster where many values come in none."""
    order = np.argsort(values, kind="stable")
    places = np.empty(len(values), dtype=np.int64)
    places[order] = np.searchsorted(sorted_values, values[order], side=side)
    return places


def greatest_before(calls: Ints, returns: Ints, values: Ints) -> Ints:
    """The greatest of the values that returned before each call, all of them on one line; -1 where there is none."""
    if not len(returns):
        return np.full(len(calls), -1, dtype=np.int64)
    order = np.argsort(returns, kind="stable")
    greatest = np.maximum.accumulate(values[order])
    before = places_in(returns[order], calls, "left") - 1
    found: Ints = np.where(before >= 0, greatest[before], -1)
    return found


def first_by_key(key: Ints, places: Ints) -> dict[int, int]:
    """For each key the first of some places."""
    found, first = np.unique(key[places], return_index=True)
    return dict(zip(found.tolist(), places[first].tolist(), strict=True))


def repeated(sorted_values: Ints | Int32s) -> Bools:
    """Which of sorted values are equal to the one before."""
    again: Bools = np.zeros(len(sorted_values), dtype=np.bool_)
    again[1:] = sorted_values[1:] == sorted_values[:-1]
    return again
