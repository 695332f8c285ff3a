"""Who believes to hold which lock, compiled: the rules of ``checkers/mutex.py``, operation by operation.

Operations come as two tables of integers, wide and narrow, a row a fact and a column an operation (in the order of
their calls). Grants are numbered, and have a table of what only they tell; so do the beliefs that they begin, each by
the number of its grant. ``NOTHING`` stands for what there is not.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from foreshock.checkers.columns import Bools, Ints
from foreshock.checkers.entries import NEVER
from foreshock.checkers.kernels.compiling import kernel
from foreshock.checkers.kernels.layout import Int32s

NOTHING: Final = -(1 << 62)

CALL, RET, RET_NS = range(3)
"""Wide facts of an operation."""
FACTS: Final = 3
PLACE, PROCESS, F, TYPE, GRANT = range(5)
"""Narrow ones. ``PLACE`` counts the pairs of process and lock (-1 for no lock), ``PROCESS`` the processes,
``GRANT`` the ok acquires and renews (-1 for all others)."""
NARROW_FACTS: Final = 5
EXPIRES_NS, TOKEN, DEPTH, MODE, PERMITS = range(5)
"""Facts of a grant; ``DEPTH`` is the one that its result tells."""
GRANT_FACTS: Final = 5
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
def depth_after(f: int, grants: Ints, beliefs: Ints, grant: int, belief: int) -> int:
    """How often the process holds the lock after a grant."""
    if f != ACQUIRE:
        return 1 if belief < 0 else int(beliefs[HELD, belief])
    if grants[DEPTH, grant] != NOTHING:
        return int(grants[DEPTH, grant])
    if belief < 0 or grants[MODE, grant] != REENTRANT or grants[TOKEN, belief] != grants[TOKEN, grant]:
        return 1
    return int(beliefs[HELD, belief]) + 1


@kernel
def ends_at(facts: Ints, narrow: Int32s, row: int) -> int:
    """Where an operation ends the belief that its process had; ``NEVER`` where it does not."""
    granted = narrow[GRANT, row] >= 0
    if narrow[F, row] == RELEASE or (narrow[F, row] == ACQUIRE and granted):
        return int(facts[CALL, row])
    if narrow[F, row] == RENEW and (granted or narrow[TYPE, row] == FAIL):
        return int(facts[RET, row])
    return NEVER


@kernel
def begin(f: int, grants: Ints, beliefs: Ints, grant: int, belief: int, depth: int) -> None:
    """Begin a belief with a grant; a renewal goes on in the mode of the belief before it."""
    beliefs[END_INDEX, grant] = NEVER
    beliefs[END_NS, grant] = grants[EXPIRES_NS, grant]
    beliefs[RENEWED, grant] = NOTHING
    beliefs[RELEASED, grant] = NOTHING
    beliefs[HELD, grant] = depth
    anew = f == ACQUIRE or belief < 0
    beliefs[IN_MODE, grant] = grants[MODE, grant] if anew else beliefs[IN_MODE, belief]
    beliefs[OF_PERMITS, grant] = grants[PERMITS, grant] if anew else beliefs[OF_PERMITS, belief]


@kernel
def step(facts: Ints, narrow: Int32s, grants: Ints, beliefs: Ints, row: int, belief: int) -> int:
    """One operation on a lock; answers the belief of its process after it, -1 for none."""
    f = narrow[F, row]
    grant = narrow[GRANT, row]
    depth = depth_after(f, grants, beliefs, grant, belief) if grant >= 0 else 0
    if belief >= 0:
        deeper = grant >= 0 and (f == RENEW or depth > 1)
        if deeper and facts[RET_NS, row] < beliefs[END_NS, belief]:
            beliefs[END_NS, belief] = grants[EXPIRES_NS, grant]
            beliefs[HELD, belief] = depth
            beliefs[RENEWED, belief] = facts[CALL, row]
            return belief
        released = f == RELEASE
        if released and narrow[TYPE, row] != FAIL and beliefs[HELD, belief] > 1:
            beliefs[HELD, belief] -= 1
            return belief
        end = ends_at(facts, narrow, row)
        if end == NEVER:
            return belief
        beliefs[END_INDEX, belief] = min(beliefs[END_INDEX, belief], end)
        if released:
            beliefs[RELEASED, belief] = facts[CALL, row]
    if grant >= 0:
        begin(f, grants, beliefs, grant, belief, depth)
        return int(grant)
    return -1


@kernel
def trace(facts: Ints, narrow: Int32s, grants: Ints, places: int, processes: int) -> tuple[Ints, Bools]:
    """All beliefs by the grant that began each, and which grants did so."""
    beliefs = np.empty((BELIEF_FACTS, grants.shape[1]), dtype=np.int64)
    began = np.zeros(grants.shape[1], dtype=np.bool_)
    current = np.full(places, -1, dtype=np.int64)
    # For each process a list of the places at which it believed something since its list was last gone through.
    first = np.full(processes, -1, dtype=np.int64)
    following = np.full(places, -1, dtype=np.int64)
    listed = np.zeros(places, dtype=np.bool_)
    for row in range(facts.shape[1]):
        place = int(narrow[PLACE, row])
        process = int(narrow[PROCESS, row])
        if place >= 0:
            belief = step(facts, narrow, grants, beliefs, row, current[place])
            current[place] = belief
            if belief >= 0 and belief == narrow[GRANT, row]:
                began[belief] = True
            if belief >= 0 and not listed[place]:
                listed[place] = True
                following[place] = first[process]
                first[process] = place
        if narrow[TYPE, row] == INFO and facts[RET, row] >= 0:
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
