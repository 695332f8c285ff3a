"""Who held which lock when, as far as the clients knew: every hold of a run, the overlapping ones, and the waits.

A process holds from the return of an ok ``acquire`` until the earliest of: the call of its ``release`` or of its next
``acquire`` of that lock; the call of its last acknowledged ``acquire`` or ``renew`` plus ``ttl_ms``; the return of a
``renew`` that failed; the return of an operation that came to nothing, for then nobody goes on under its name. That is
what the checker ``mutex`` judges; here it is drawn, for runs without a verdict too. Times are those of the clients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np

from foreshock.reports.columns import FAIL, INFO, OK, Columns, Integers
from foreshock.reports.scales import NS_PER_MS

NEVER = (1 << 63) - 1
ACQUIRE, RENEW, RELEASE, USE = "acquire", "renew", "release", "use"
READ, PERMIT, REENTRANT = "read", "permit", "reentrant"
OVERLAPS_MAX = 1_000
"""So many overlaps are told one by one; all are counted."""


@dataclass(slots=True)
class LockHold:
    """One stretch in which a process believed that it held a lock.

    ``granted_ns`` is when its acquire was called, ``expiry_ns`` when its lease ran out (``NEVER``: it has none), and
    ``given_up_ns`` when it was called back, renounced or lost (``NEVER``: not in this run).
    """

    lock: Any
    process: int
    granted_ns: int
    start_ns: int
    expiry_ns: int
    token: Any
    mode: str
    permits: int
    depth: int = 1
    given_up_ns: int = NEVER
    overlapping: bool = False

    @property
    def end_ns(self) -> int:
        """When the belief ended; ``NEVER`` where it did not."""
        return min(self.expiry_ns, self.given_up_ns)

    @property
    def past_lease_ns(self) -> int:
        """How long after the lease had run out the process gave the lock back, if it did; else 0."""
        late = self.given_up_ns != NEVER and self.expiry_ns < self.given_up_ns
        return self.given_up_ns - self.expiry_ns if late else 0


class HoldOverlap(NamedTuple):
    """A stretch in which processes held a lock that they may not share; ``holders`` is who did, the latest last."""

    lock: Any
    start_ns: int
    end_ns: int
    holders: tuple[LockHold, ...]


@dataclass
class Beliefs:
    """All holds of a run in the order of their grants, and those that overlapped."""

    holds: list[LockHold] = field(default_factory=list)
    overlaps: list[HoldOverlap] = field(default_factory=list)
    overlaps_total: int = 0


def is_lock_history(columns: Columns) -> bool:
    """Whether locks are acquired and released in a history."""
    return ACQUIRE in columns.f_names and RELEASE in columns.f_names


def beliefs_of(columns: Columns) -> Beliefs:
    """Every hold and every overlap of a history of locks."""
    found = Beliefs(list(_holds(columns)))
    by_lock: dict[Any, list[LockHold]] = {}
    for hold in found.holds:
        if hold.end_ns > hold.start_ns:
            by_lock.setdefault(hold.lock, []).append(hold)
    for holds in by_lock.values():
        for overlap in _overlaps(sorted(holds, key=lambda hold: hold.start_ns)):
            overlap.holders[-1].overlapping = True
            found.overlaps_total += 1
            if len(found.overlaps) < OVERLAPS_MAX:
                found.overlaps.append(overlap)
    found.overlaps.sort(key=lambda overlap: overlap.start_ns)
    return found


def lock_name(lock: Any) -> Any:
    """A lock as a key of a table: what cannot be one is its text."""
    try:
        hash(lock)
    except TypeError:
        return str(lock)
    return lock


def rows_of(columns: Columns, *names: str) -> Integers:
    """The positions of the operations with these names."""
    codes = [columns.f_names.index(name) for name in names if name in columns.f_names]
    return np.flatnonzero(np.isin(columns.f, codes))


def field_of(value: Any, name: str) -> Any:
    """A field of a result or a value that is an object; ``None`` where it has none."""
    return value.get(name) if isinstance(value, Mapping) else None


def _holds(columns: Columns) -> Iterator[LockHold]:
    """The holds, each when it is over; a process does one thing after the other, so the order of calls is its own."""
    wanted = np.union1d(
        rows_of(columns, ACQUIRE, RENEW, RELEASE), np.flatnonzero(columns.outcome == INFO)
    ).astype(np.int64)
    tracker = _Tracker()
    rows = map(
        _Event,
        [columns.f_names[code] for code in columns.f[wanted].tolist()],
        columns.process[wanted].tolist(),
        map(lock_name, columns.values("key", wanted)),
        columns.outcome[wanted].tolist(),
        columns.invoke_ns[wanted].tolist(),
        columns.complete_ns[wanted].tolist(),
        columns.values("value", wanted),
        columns.values("result", wanted),
    )
    for event in rows:
        yield from tracker.take(event)
    yield from tracker.held.values()


class _Event(NamedTuple):
    """An operation that may begin or end a hold."""

    f: str
    process: int
    lock: Any
    outcome: int
    called_ns: int
    returned_ns: int
    value: Any
    result: Any


class _Tracker:
    """Who holds what while the operations of a run go by."""

    def __init__(self) -> None:
        self.held: dict[tuple[int, Any], LockHold] = {}

    def take(self, event: _Event) -> Iterator[LockHold]:
        """One more operation; gives the holds that it ends."""
        place = event.process, event.lock
        hold = self.held.get(place)
        if event.f == RENEW and hold is not None:
            if event.outcome == OK:
                hold.expiry_ns = _expiry_ns(event.called_ns, event.result)
            elif event.outcome == FAIL:
                yield self._end(place, event.returned_ns)
        elif event.f == RELEASE and hold is not None:
            hold.depth -= 1
            if hold.depth == 0 or event.outcome == FAIL:
                yield self._end(place, event.called_ns)
        elif event.f == ACQUIRE:
            yield from self._acquire(event, place, hold)
        if event.outcome == INFO:
            at_ns = event.returned_ns if event.returned_ns >= 0 else NEVER
            for mine in [place for place in self.held if place[0] == event.process]:
                yield self._end(mine, at_ns)

    def _acquire(self, event: _Event, place: tuple[int, Any], hold: LockHold | None) -> Iterator[LockHold]:
        granted = event.outcome == OK
        if hold is not None and hold.mode == REENTRANT and (not granted or _goes_deeper(hold, event.result)):
            if granted:
                hold.depth, hold.expiry_ns = hold.depth + 1, _expiry_ns(event.called_ns, event.result)
            return
        if hold is not None:
            yield self._end(place, event.called_ns)
        if granted:
            self.held[place] = _granted(event)

    def _end(self, place: tuple[int, Any], at_ns: int) -> LockHold:
        hold = self.held.pop(place)
        hold.given_up_ns = at_ns
        return hold


def _granted(event: _Event) -> LockHold:
    mode, permits = field_of(event.value, "mode"), field_of(event.value, "permits")
    result = event.result
    return LockHold(
        lock=event.lock,
        process=event.process,
        granted_ns=event.called_ns,
        start_ns=event.returned_ns,
        expiry_ns=_expiry_ns(event.called_ns, result),
        token=result if isinstance(result, int) else field_of(result, "token"),
        mode=mode if isinstance(mode, str) else "",
        permits=permits if isinstance(permits, int) else 1,
    )


def _goes_deeper(hold: LockHold, result: Any) -> bool:
    """Whether a holder acquired a re-entrant lock once more."""
    depth = field_of(result, "depth")
    if isinstance(depth, int):
        return depth > 1
    token = result if isinstance(result, int) else field_of(result, "token")
    return token is not None and bool(token == hold.token)


def _expiry_ns(called_ns: int, result: Any) -> int:
    ttl_ms = field_of(result, "ttl_ms")
    return called_ns + round(ttl_ms * NS_PER_MS) if isinstance(ttl_ms, int | float) else NEVER


def _overlaps(holds: list[LockHold]) -> Iterator[HoldOverlap]:
    """For each hold that began while others lasted which it may not share with: that stretch."""
    lasting: list[tuple[int, int]] = []
    for number, hold in enumerate(holds):
        while lasting and lasting[0][0] <= hold.start_ns:
            heappop(lasting)
        others = [holds[place] for _, place in lasting if holds[place].process != hold.process]
        disturbed = [other for other in others if not _may_share(other, hold)]
        if hold.mode == PERMIT and len(others) < hold.permits:
            disturbed = [other for other in disturbed if other.mode != PERMIT]
        if disturbed:
            end_ns = min(hold.end_ns, max(other.end_ns for other in disturbed))
            yield HoldOverlap(hold.lock, hold.start_ns, end_ns, (*disturbed, hold))
        heappush(lasting, (hold.end_ns, number))


def _may_share(one: LockHold, other: LockHold) -> bool:
    return one.mode == other.mode == READ
