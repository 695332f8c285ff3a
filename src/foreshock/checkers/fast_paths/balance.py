"""A count that goes up and down within bounds, decided by a lazy schedule in O(n log n) for one key.

Semaphores and ownerless locks: an acquire adds one, a release takes one away, and the count stays between 0 and the
number of permits. The schedule puts an operation off until it has to happen:

* at its return it must have taken effect. If the bounds allow it, it does so now, and nothing else does;
* if they do not (an acquire while all permits are taken, a release while none is), some operation of the other
  direction has to come first: of those that were called, the one with the earliest return.

Why that is exact. Take any legal schedule, and the word ``w`` of operations that it lets take effect between the
last forced moment and this one, where ``x`` is forced. All of ``w`` may as well happen now, for all of it was
called before and none of it has returned yet. Let ``x`` be an acquire and the bound allow it. If ``w`` begins with
releases, ``x`` can be moved in front of them: one more permit is taken in between, at most as many as after ``x``
now, which is within the bound. If it begins with another acquire, the two change places: the other one returns no
earlier. What remains of ``w`` can be put off, so the lazy schedule loses nothing. If the bound does not allow
``x``, then ``w`` begins with a release; exchange it for the one with the earliest return, and go on as before.
Releases likewise. Crashed operations never return, so they take effect only where they are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

import numpy as np

from foreshock.checkers.columns import Bools, Ints


def first_out_of_bounds(
    owners: Sequence[int],
    is_return: Sequence[bool],
    rises: Sequence[bool],
    deadline: Sequence[int],
    count_max: int,
) -> int:
    """The first operation whose return no schedule can meet; -1 where there is a schedule.

    ``owners`` and ``is_return`` say of each event, in their order, whose it is and of which kind; of events that share
    a position the calls come first. By operation: whether it ``rises``, and the rank of its return (``deadline``: the
    order in which the returns come, those that never do last). Compiled as it is for large keys, with arrays.
    """
    # Two heaps of ranks, of those that fall and of those that rise; a list needs an item to have a type.
    heaps = ([deadline[0]], [deadline[0]])
    heaps[0].pop()
    heaps[1].pop()
    by_deadline = [0] * len(deadline)
    for operation in range(len(deadline)):
        by_deadline[deadline[operation]] = operation
    done = [False] * len(deadline)
    count = 0
    for event in range(len(owners)):
        operation = owners[event]
        up = 1 if rises[operation] else 0
        if not is_return[event]:
            heappush(heaps[up], deadline[operation])
        elif not done[operation]:
            if count == (count_max if up else 0):
                if len(heaps[1 - up]) == 0:
                    return int(operation)
                done[by_deadline[heappop(heaps[1 - up])]] = True
                count += 1 - 2 * up
            # It is the one with the earliest return: all with an earlier one are done.
            heappop(heaps[up])
            done[operation] = True
            count += 2 * up - 1
    return -1


def events_of(call: Ints, ret: Ints, crashed: Bools) -> tuple[Ints, Bools, Ints]:
    """What the schedule wants to know of operations: ``owners``, ``is_return`` and ``deadline``."""
    count = len(call)
    returning = np.flatnonzero(~crashed)
    owner = np.concatenate((np.arange(count), returning))
    is_return = np.arange(len(owner)) >= count
    order = np.lexsort((is_return, np.concatenate((call, ret[returning]))))
    owners, kinds = owner[order], is_return[order]
    deadline = np.empty(count, dtype=np.int64)
    deadline[np.concatenate((owners[kinds], np.flatnonzero(crashed)))] = np.arange(count)
    return owners, kinds, deadline
