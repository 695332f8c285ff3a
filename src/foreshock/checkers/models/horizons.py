"""For how long a crashed operation can be noticed: what the models' ``useful_until`` have in common.

Each of them is right by the same argument. Take, of all legal orders of a history, one that applies the fewest
crashed operations. Were one of them applied later than the model's answer for it, then it (and some that only serve
it) could be left out, and the order would stay legal with fewer of them: a contradiction. So the search loses nothing
when it never applies a crashed operation after its horizon. Why it can be left out is said at each model. *Crashed*
there means everything that may never have happened, also an operation with a known result that the search for a
core has made optional.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from foreshock.checkers.entries import UNNOTICED, Entry


def last_return(entries: Iterable[Entry], notices: Callable[[Entry], bool]) -> int:
    """The last return of an operation that did return and satisfies ``notices``; ``UNNOTICED`` if there is none."""
    return max((e.ret for e in entries if not e.crashed and notices(e)), default=UNNOTICED)


def last_returns(
    entries: Iterable[Entry], noticed_by: Callable[[Entry], Iterable[Hashable]]
) -> dict[Any, int]:
    """For everything that ``noticed_by`` names, the last return of an operation that did return and names it."""
    last: dict[Any, int] = {}
    for entry in entries:
        if not entry.crashed:
            for thing in noticed_by(entry):
                last[thing] = max(last.get(thing, UNNOTICED), entry.ret)
    return last


def last_return_of_others(entries: Iterable[Entry]) -> Callable[[int], int]:
    """A function that answers, for a process, when the last completed operation of any other process returned."""
    by_process = last_returns(entries, lambda e: (e.process,))
    ranked = sorted(by_process, key=by_process.__getitem__, reverse=True)[:2]

    def others(process: int) -> int:
        return max((by_process[p] for p in ranked if p != process), default=UNNOTICED)

    return others
