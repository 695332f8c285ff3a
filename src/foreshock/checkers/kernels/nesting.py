"""Whether stays can be nested, compiled: the method of ``fast_paths/stacks.py`` with trees, in O(n log n).

A tree of ``size`` leaves (a power of two) is an array of twice as many: the children of ``node`` are ``2 * node`` and
``2 * node + 1``, leaf ``i`` is ``size + i``, and an inner node holds the greatest of its leaves.
"""

from __future__ import annotations

import numpy as np

from foreshock.checkers.columns import Ints
from foreshock.checkers.kernels.compiling import kernel

_GONE = -(1 << 62)


@kernel
def put(tree: Ints, leaf: int, value: int) -> None:
    """Give a leaf (as a node) another value."""
    tree[leaf] = value
    node = leaf >> 1
    while node:
        tree[node] = max(tree[2 * node], tree[2 * node + 1])
        node >>= 1


@kernel
def greatest(tree: Ints, start: int, stop: int) -> int:
    """The leaf (as a node) with the greatest value in a stretch of leaves that is not empty."""
    size = len(tree) >> 1
    low, high = size + start, size + stop
    best = low
    while low < high:
        if low & 1:
            if tree[low] > tree[best]:
                best = low
            low += 1
        if high & 1:
            high -= 1
            if tree[high] > tree[best]:
                best = high
        low >>= 1
        high >>= 1
    while best < size:
        best = 2 * best if tree[2 * best] == tree[best] else 2 * best + 1
    return best


@kernel
def cover(least: Ints, added: Ints, start: int, stop: int, by: int) -> None:
    """Add to the counts of a stretch; ``least`` of a node is the least count below it, but for what its parents add."""
    size = len(least) >> 1
    low, high = size + start, size + stop
    first, last = low, high - 1
    if low >= high:
        return
    while low < high:
        if low & 1:
            least[low] += by
            added[low] += by
            low += 1
        if high & 1:
            high -= 1
            least[high] += by
            added[high] += by
        low >>= 1
        high >>= 1
    for leaf in (first, last):
        node = leaf >> 1
        while node:
            least[node] = min(least[2 * node], least[2 * node + 1]) + added[node]
            node >>= 1


@kernel
def first_free(least: Ints, added: Ints, start: int) -> int:
    """The first place from ``start`` on whose count is 0, or the number of leaves; no count is negative."""
    size = len(least) >> 1
    node = size + start
    # What all nodes above add, and then what is to the right of the path, from the bottom to the top.
    while True:
        above = 0
        parent = node >> 1
        while parent:
            above += added[parent]
            parent >>= 1
        if least[node] + above == 0:
            break
        while node & 1:
            node >>= 1
        if node == 0:
            return size
        node += 1
    above = 0
    parent = node >> 1
    while parent:
        above += added[parent]
        parent >>= 1
    while node < size:
        above += added[node]
        node = 2 * node if least[2 * node] + above == 0 else 2 * node + 1
    return node - size


@kernel
def first_left(following: Ints, place: int) -> int:
    """The first element from a place on that has not been taken away."""
    found = place
    while following[found] != found:
        found = following[found]
    while following[place] != found:
        after = following[place]
        following[place] = found
        place = after
    return found


@kernel
def not_nested(put_call: Ints, put_ret: Ints, take_call: Ints, take_ret: Ints) -> tuple[int, int]:
    """A stretch of elements (ascending by ``put_ret``) whose stays cannot be nested; an empty one if all can.

    ``ends`` holds when elements that are left are called to be taken, ``waiting`` (negated) when those were called that
    were not called early enough yet to be a bottom, ``eligible`` when the others' taking returned.
    """
    count = len(put_ret)
    size = 1
    while size < count + 1:
        size *= 2
    ends = np.full(2 * size, _GONE)
    waiting = np.full(2 * size, _GONE)
    eligible = np.full(2 * size, _GONE)
    least = np.zeros(2 * size, dtype=np.int64)
    added = np.zeros(2 * size, dtype=np.int64)
    following = np.arange(count + 1)
    core_from = np.searchsorted(put_ret, put_ret, side="right")
    core_to = np.searchsorted(put_ret, take_call, side="left")
    for place in range(count):
        put(ends, size + place, take_call[place])
        put(waiting, size + place, -put_call[place])
        cover(least, added, core_from[place], core_to[place], 1)
    cover(least, added, count, size, count + 1)
    starts, stops = [0], [count]
    while len(starts):
        start, stop = first_left(following, starts.pop()), stops.pop()
        while start < stop:
            late = greatest(waiting, start, stop)
            while waiting[late] >= -put_ret[start]:
                put(waiting, late, _GONE)
                put(eligible, late, take_ret[late - size])
                late = greatest(waiting, start, stop)
            bottom = greatest(eligible, start, stop)
            if eligible[bottom] >= ends[greatest(ends, start, stop)]:
                place = bottom - size
                put(eligible, bottom, _GONE)
                put(ends, bottom, _GONE)
                cover(least, added, core_from[place], core_to[place], -1)
                cover(least, added, place, place + 1, count + 1)
                following[place] = place + 1
                start = first_left(following, start)
                continue
            cut = first_free(least, added, core_from[start])
            if cut >= stop:
                return start, stop
            starts.append(cut)
            stops.append(stop)
            stop = cut
    return 0, 0
