"""A proof by counting that a lock or a semaphore was given away too often: it needs no search.

A permit that is taken must have been free, at the start or after a release. So up to any event as many acquires may
have returned as there are permits and as releases have begun; and as many releases may have returned as acquires have
begun. Sufficient for illegality, not necessary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from foreshock.checkers.entries import NEVER, Entry
from foreshock.checkers.models.lock import ACQUIRE, RELEASE, Mutex
from foreshock.checkers.models.shared_locks import Semaphore
from foreshock.checkers.proofs import Proof
from foreshock.checkers.wording import Wording
from foreshock.harness.model import Model

COUNTING: Final = "counting"
_DRAWN_MAX: Final = 8


def proof_by_counting(model: Model, entries: Sequence[Entry], words: Wording) -> Proof | None:
    """The first return up to which too many acquires (or releases) had returned; ``None`` where there is none.

    The last of the operations of the proof is the one that returned then. They are all that had returned until then,
    of its kind; the releases need not be among them, since even all that had begun are too few. O(n log n).
    """
    permits = permits_of(model, entries)
    if permits is None:
        return None
    begun = {ACQUIRE: 0, RELEASE: 0}
    returned: dict[str, list[int]] = {ACQUIRE: [], RELEASE: []}
    # Of equal positions the calls come first: an operation that begins where another one ends is concurrent.
    events = [(entry.call, 0, o) for o, entry in enumerate(entries)]
    events += [(entry.ret, 1, o) for o, entry in enumerate(entries) if entry.ret != NEVER]
    for _, is_return, offset in sorted(events):
        f = entries[offset].f
        if not is_return:
            begun[f] += 1
            continue
        returned[f].append(offset)
        spare, other = (permits, RELEASE) if f == ACQUIRE else (0, ACQUIRE)
        if len(returned[f]) > begun[other] + spare:
            until = entries[offset].ret
            others = [o for o, e in enumerate(entries) if e.f == other and e.call <= until]
            return _told(model, entries, returned[f], others, permits, words)
    return None


def permits_of(model: Model, entries: Sequence[Entry]) -> int | None:
    """How many may hold the lock at once; ``None`` for other models, and where acquires do not agree on it."""
    if any(entry.f not in (ACQUIRE, RELEASE) for entry in entries):
        return None
    if type(model) is Mutex:
        return 1
    if type(model) is not Semaphore:
        return None
    told = {model.permits_of(entry.value) for entry in entries if entry.f == ACQUIRE}
    return told.pop() if len(told) == 1 else None


def _told(
    model: Model,
    entries: Sequence[Entry],
    returned: Sequence[int],
    others: Sequence[int],
    permits: int,
    words: Wording,
) -> Proof:
    last = returned[-1]
    when = words.returned(last).removeprefix(" at ") or f"the return of {words.full(last)}"
    more, fewer = _counted(len(returned), entries[last].f), _counted(len(others), _other(entries[last].f))
    had = f"Up to {when}, {more} returned, but only {fewer} that did not fail had begun."
    if entries[last].f == ACQUIRE:
        lock = (
            "The lock was free at the start" if permits == 1 else f"{permits} permits were free at the start"
        )
        most = permits + len(others)
        so = f"{lock}, so at most {permits} + {len(others)} = {most} acquires can have succeeded."
        headline = "the lock was held" if type(model) is Mutex else f"all {permits} permits were taken"
        if permits == 1 and type(model) is not Mutex:
            headline = "the only permit was taken"
    else:
        so = "Nothing was held at the start, and each release gives back what one acquire took."
        headline = "nothing was held that could be released"
    drawn = (*sorted(returned, key=lambda o: entries[o].ret)[-_DRAWN_MAX:], *list(others)[-_DRAWN_MAX:])
    sentences = [had, f"{so} This is a proof by counting: in which order they came does not matter."]
    if len(drawn) < len(returned) + len(others):
        sentences.append(f"Drawn are at most the last {_DRAWN_MAX} of each kind.")
    return Proof(COUNTING, tuple(sorted(returned)), tuple(sorted(drawn)), tuple(sentences), headline)


def _other(f: str) -> str:
    return RELEASE if f == ACQUIRE else ACQUIRE


def _counted(count: int, f: str) -> str:
    return f"{count} {f}{'s' * (count != 1)}"
