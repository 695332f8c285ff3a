"""First-in first-out queues whose elements are distinct, decided key by key in O(n log n).

After the bad patterns of Bouajjani, Emmi, Enea & Hamza (On Reducing Linearizability to State Reachability, ICALP
2015), as a log-linear algorithm as Lee & Mathur (Efficient Decrease-and-Conquer Linearizability Monitoring, 2025)
and Abdulla et al. (Efficient Linearizability Monitoring, PLDI 2025) have one. With the stays of ``containers.py``,
a history is legal exactly when

* every element that was taken was put in, once, not after it was taken, and was taken once;
* no two elements a and b are in the wrong order: put(a) returned before put(b) was called, but take(b) returned
  before take(a) was called (or b was taken, and a was not);
* whoever found nothing did so at some moment without a core.

*Why two elements suffice.* A total order of the elements that extends both the order of putting and that of taking
gives a legal schedule: let each operation happen at the latest call of those up to it. There is such an order if
the two have no cycle in common. Both are interval orders: if a < b and c < d, then a < d or c < b. A cycle
alternates between the two (each is transitive), and if it is longer than two, then this shortens it.

*Takers that crashed* may have taken elements that are still there. That is needed for an element that nobody took
although one behind it was taken, and for no other (to take less is always legal). One that was called at c can do
so if no element behind returned from being taken before c; whoever was called first goes where that is earliest.
Where a taker that crashed meets others that found nothing, and the history is illegal without the former, it is
left to the search.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from foreshock.checkers.columns import Ints
from foreshock.checkers.decision import Decision
from foreshock.checkers.fast_paths.base import FastPath, Finding
from foreshock.checkers.fast_paths.containers import NOBODY, Stays, never_empty, path_of
from foreshock.checkers.models.queues import DEQUEUE, ENQUEUE

METHOD: Final = "order of elements"


def decide_queue(stays: Stays) -> Finding:
    """Decide one queue."""
    order = np.argsort(stays.put_ret, kind="stable")
    ret = stays.put_ret[order]
    taken = np.flatnonzero(stays.take_row != NOBODY)
    before = np.searchsorted(ret, stays.put_call[taken], side="left") - 1
    fair = _out_of_order(stays, order, taken, before)
    if fair is not None:
        return Finding(Decision.INVALID, fair)
    left = np.flatnonzero(stays.take_row == NOBODY)
    # For those that nobody took: when the first was taken of the elements that were certainly put in after it.
    by_call = taken[np.argsort(stays.put_call[taken], kind="stable")]
    behind = np.searchsorted(stays.put_call[by_call], stays.put_ret[left], side="right")
    firsts = np.append(np.minimum.accumulate(stays.take_ret[by_call][::-1])[::-1], stays.end)
    overtaken = left[behind < len(by_call)]
    deadline = np.sort(firsts[behind[behind < len(by_call)]])
    calls = np.sort(stays.line.call[stays.crashed])
    if not len(stays.nothing):
        if len(calls) >= len(deadline) and not (calls[: len(deadline)] > deadline).any():
            return Finding(Decision.VALID)
        return Finding(Decision.INVALID, _overtaken(stays, overtaken, by_call))
    covered = never_empty(stays)
    if not len(overtaken) and covered is None:
        return Finding(Decision.VALID)
    if len(stays.crashed):
        return Finding(Decision.NOT_APPLICABLE)
    return Finding(Decision.INVALID, covered or _overtaken(stays, overtaken, by_call))


def _out_of_order(stays: Stays, order: Ints, taken: Ints, before: Ints) -> tuple[int, ...] | None:
    """Two elements that were taken, in the wrong order."""
    called = np.where(stays.take_row == NOBODY, -1, stays.take_call)[order]
    latest = np.maximum.accumulate(called)
    possible = before >= 0
    wrong = np.flatnonzero(possible)[latest[before[possible]] > stays.take_ret[taken[possible]]]
    if not len(wrong):
        return None
    later = int(taken[wrong[0]])
    earlier = int(order[np.argmax(called[: before[wrong[0]] + 1])])
    return stays.rows(earlier, later)


def _overtaken(stays: Stays, overtaken: Ints, by_call: Ints) -> tuple[int, ...]:
    """As many elements as crashed takers cannot have taken, each with one behind that was taken."""
    chosen = []
    for place in overtaken[: len(stays.crashed) + 1].tolist():
        behind = by_call[stays.put_call[by_call] > stays.put_ret[place]]
        chosen += [place, int(behind[np.argmin(stays.take_ret[behind])])]
    return stays.rows(*chosen)


QUEUE: Final[FastPath] = path_of(METHOD, ENQUEUE, DEQUEUE, decide_queue)
