"""Who believes to hold which lock, compiled: the rules of ``checkers/mutex.py``, operation by operation.

Operations come as a table of integers, a row a fact and a column an operation (in the order of their calls), beliefs
as a table with a column for the operation that began each of them. ``NOTHING`` stands for what there is not.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from foreshock.checkers.columns import Bools, Ints
from foreshock.checkers.entries import NEVER
from foreshock.checkers.kernels.compiling import kernel

NOTHING: Final = -(1 << 62)

PLACE, PROCESS, F, TYPE, CALL, RET, RET_NS, EXPIRES_NS, TOKEN, DEPTH, MODE, PERMITS = range(12)
"""Facts of an operation. ``PLACE`` counts the pairs of process and lock (``NOTHING`` for operations on no lock),
``PROCESS`` the processes; ``DEPTH`` is the one that the result tells."""
FACTS: Final = 12
ACQUIRE, RENEW, RELEASE, OTHER = 0, 1, 2, 3
"""The names of operations in ``F``."""
OK, FAIL, INFO = 0, 1, 2
"""How they ended, in ``TYPE``."""
END_INDEX, END_NS, RENEWED, RELEASED, HELD, IN_MODE, OF_PERMITS = range(7)
"""Facts of a belief: how it ends, what prolonged and what ended it, and how often the lock is held."""
BELIEF_FACTS: Final = 7
EXCLUSIVE, READ, PERMIT, REENTRANT = 0, 1, 2, 3
"""Modes; from 4 on, any others."""


@kernel
def depth_after(facts: Ints, beliefs: Ints, row: int, belief: int) -> int:
    """How often the process holds the lock after an ok operation that is no release."""
    if facts[F, row] != ACQUIRE:
        return 1 if belief < 0 else int(beliefs[HELD, belief])
    if facts[DEPTH, row] != NOTHING:
        return int(facts[DEPTH, row])
    if belief < 0 or facts[MODE, row] != REENTRANT or facts[TOKEN, belief] != facts[TOKEN, row]:
        return 1
    return int(beliefs[HELD, belief]) + 1


@kernel
def ends_at(facts: Ints, row: int, granted: bool) -> int:
    """Where an operation ends the belief that its process had; ``NEVER`` where it does not."""
    if facts[F, row] == RELEASE or (facts[F, row] == ACQUIRE and granted):
        return int(facts[CALL, row])
    if facts[F, row] == RENEW and (granted or facts[TYPE, row] == FAIL):
        return int(facts[RET, row])
    return NEVER


@kernel
def begin(facts: Ints, beliefs: Ints, row: int, belief: int, depth: int) -> None:
    """Begin a belief with a grant; a renewal goes on in the mode of the belief before it."""
    beliefs[END_INDEX, row] = NEVER
    beliefs[END_NS, row] = facts[EXPIRES_NS, row]
    beliefs[RENEWED, row] = NOTHING
    beliefs[RELEASED, row] = NOTHING
    beliefs[HELD, row] = depth
    anew = facts[F, row] == ACQUIRE or belief < 0
    beliefs[IN_MODE, row] = facts[MODE, row] if anew else beliefs[IN_MODE, belief]
    beliefs[OF_PERMITS, row] = facts[PERMITS, row] if anew else beliefs[OF_PERMITS, belief]


@kernel
def step(facts: Ints, beliefs: Ints, row: int, belief: int) -> int:
    """One operation on a lock; answers the belief of its process after it, -1 for none."""
    granted = facts[TYPE, row] == OK and facts[F, row] != RELEASE
    depth = depth_after(facts, beliefs, row, belief)
    if belief >= 0:
        deeper = facts[F, row] == RENEW or depth > 1
        if granted and deeper and facts[RET_NS, row] < beliefs[END_NS, belief]:
            beliefs[END_NS, belief] = facts[EXPIRES_NS, row]
            beliefs[HELD, belief] = depth
            beliefs[RENEWED, belief] = facts[CALL, row]
            return belief
        released = facts[F, row] == RELEASE
        if released and facts[TYPE, row] != FAIL and beliefs[HELD, belief] > 1:
            beliefs[HELD, belief] -= 1
            return belief
        end = ends_at(facts, row, granted)
        if end == NEVER:
            return belief
        beliefs[END_INDEX, belief] = min(beliefs[END_INDEX, belief], end)
        if released:
            beliefs[RELEASED, belief] = facts[CALL, row]
    if granted:
        begin(facts, beliefs, row, belief, depth)
        return row
    return -1


@kernel
def trace(facts: Ints, places: int, processes: int) -> tuple[Ints, Bools]:
    """All beliefs by the operation that began each, and which operations did so."""
    count = facts.shape[1]
    beliefs = np.empty((BELIEF_FACTS, count), dtype=np.int64)
    began = np.zeros(count, dtype=np.bool_)
    current = np.full(places, -1, dtype=np.int64)
    # For each process a list of the places at which it believed something since its list was last gone through.
    first = np.full(processes, -1, dtype=np.int64)
    following = np.full(places, -1, dtype=np.int64)
    listed = np.zeros(places, dtype=np.bool_)
    for row in range(count):
        place = facts[PLACE, row]
        process = facts[PROCESS, row]
        if place != NOTHING:
            belief = step(facts, beliefs, row, current[place])
            current[place] = belief
            if belief == row:
                began[row] = True
            if belief >= 0 and not listed[place]:
                listed[place] = True
                following[place] = first[process]
                first[process] = place
        if facts[TYPE, row] == INFO and facts[RET, row] >= 0:
            place = first[process]
            first[process] = -1
            while place >= 0:
                after = following[place]
                listed[place] = current[place] >= 0
                if listed[place]:
                    held = current[place]
                    beliefs[END_INDEX, held] = min(beliefs[END_INDEX, held], facts[RET, row])
                    following[place] = first[process]
                    first[process] = place
                place = after
    return beliefs, began


@kernel
def is_wrong(mode: Ints, permits: Ints, holders: Ints, count: int, other: int) -> bool:
    """Whether those who hold a lock make it wrong that one more does."""
    least = permits[other]
    for number in range(count):
        holder = holders[number]
        if mode[holder] != mode[other] or (mode[other] != READ and mode[other] != PERMIT):
            return True
        least = min(least, permits[holder])
    return count > 0 and mode[other] == PERMIT and count >= least


@kernel
def first_wrong(
    key: Ints, start: Ints, start_ns: Ints, end: Ints, end_ns: Ints, mode: Ints, permits: Ints
) -> Bools:
    """For each belief whether it is the first of its lock that must not be; sorted by lock and beginning."""
    wrong = np.zeros(len(key), dtype=np.bool_)
    holders = np.empty(len(key), dtype=np.int64)
    count = 0
    broken = False
    for other in range(len(key)):
        if other == 0 or key[other] != key[other - 1]:
            count = 0
            broken = False
        if broken:
            continue
        lasting = 0
        for number in range(count):
            holder = holders[number]
            if start[other] < end[holder] and start_ns[other] < end_ns[holder]:
                holders[lasting] = holder
                lasting += 1
        if is_wrong(mode, permits, holders, lasting, other):
            wrong[other] = True
            broken = True
        holders[lasting] = other
        count = lasting + 1
    return wrong
