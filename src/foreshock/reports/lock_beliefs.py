"""Who held which lock when, as far as the clients knew: every hold of a run, the overlapping ones, and the waits.

A process holds from the return of an ok ``acquire`` until the earliest of: the call of its ``release``, or of an ok
``acquire`` of that lock again; the call of its last acknowledged ``acquire`` or ``renew`` plus ``ttl_ms``; the return
of a ``renew`` that failed; the return of an operation that came to nothing, for then nobody goes on under its name. An
ok ``renew`` of what had run out is a new hold. That is what the checker ``mutex`` judges; here it is drawn, for runs
without a verdict too. Times are those of the clients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np

from foreshock.reports.columns import FAIL, INFO, OK, Columns, Integers
from foreshock.reports.scales import NS_PER_MS

NEVER = (1 << 63) - 1
ACQUIRE, RENEW, RELEASE, USE = "acquire", "renew", "release", "use"
_OF_LOCKS = (ACQUIRE, RENEW, RELEASE)
READ, PERMIT, REENTRANT = "read", "permit", "reentrant"
TTL_MS_MAX = 10**12
"""Thirty years are as good as more, and can be counted on with."""
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
    position: int
    """Where its acquire is among the operations."""
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
    found = Beliefs(_holds(columns))
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
    # What a history holds is JSON, so an object is a dict: asked a million times, that is all that is quick.
    return value.get(name) if type(value) is dict else None


def _holds(columns: Columns) -> list[LockHold]:
    """The holds, each when it is over; a process does one thing after the other, so the order of calls is its own."""
    codes = [columns.f_names.index(name) for name in _OF_LOCKS if name in columns.f_names]
    matters = np.isin(columns.f, codes) | (columns.outcome == INFO)
    # An acquire that was refused changes nothing, and most of a crowded lock's are.
    matters &= ~((columns.f == columns.f_names.index(ACQUIRE)) & (columns.outcome == FAIL))
    wanted = np.flatnonzero(matters)
    tracker = _Tracker()
    rows = map(
        _Event,
        wanted.tolist(),
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
        tracker.take(event)
    return [*tracker.over, *tracker.held.values()]


class _Event(NamedTuple):
    """An operation that may begin or end a hold."""

    position: int
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
        self.over: list[LockHold] = []

    def take(self, event: _Event) -> None:
        """One more operation."""
        if event.f in _OF_LOCKS:
            self._step(event, (event.process, event.lock))
        if event.outcome == INFO and event.returned_ns >= 0:
            for mine in [place for place in self.held if place[0] == event.process]:
                self._end(mine, event.returned_ns)

    def _step(self, event: _Event, place: tuple[int, Any]) -> None:
        hold = self.held.get(place)
        granted = event.outcome == OK and event.f != RELEASE
        if hold is not None and granted and event.returned_ns < hold.expiry_ns:
            depth = _depth(event, hold)
            if event.f == RENEW or depth > 1:
                hold.depth, hold.expiry_ns = depth, _expiry_ns(event.called_ns, event.result)
                return
        if hold is not None and event.f == RELEASE and event.outcome != FAIL and hold.depth > 1:
            hold.depth -= 1
            return
        if hold is not None and (ended_ns := _end_ns(event, granted)) < NEVER:
            self._end(place, ended_ns)
        if granted:
            self.held[place] = _granted(event, hold)

    def _end(self, place: tuple[int, Any], at_ns: int) -> None:
        hold = self.held.pop(place)
        hold.given_up_ns = at_ns
        self.over.append(hold)


def _granted(event: _Event, before: LockHold | None) -> LockHold:
    asked = event.f == ACQUIRE or before is None
    mode, permits = field_of(event.value, "mode"), field_of(event.value, "permits")
    result = event.result
    return LockHold(
        event.lock,
        event.process,
        event.called_ns,
        event.returned_ns,
        _expiry_ns(event.called_ns, result),
        result if type(result) is int else field_of(result, "token"),
        (mode if type(mode) is str else "") if asked or before is None else before.mode,
        (permits if type(permits) is int else 1) if asked or before is None else before.permits,
        event.position,
        _depth(event, before),
    )


def _end_ns(event: _Event, granted: bool) -> int:
    """When an operation ends the hold that its process had; ``NEVER`` where it does not."""
    if event.f == RELEASE or (event.f == ACQUIRE and granted):
        return event.called_ns
    return event.returned_ns if event.f == RENEW and (granted or event.outcome == FAIL) else NEVER


def _depth(event: _Event, hold: LockHold | None) -> int:
    """How often the process holds the lock after a grant."""
    if event.f != ACQUIRE:
        return 1 if hold is None else hold.depth
    depth = field_of(event.result, "depth")
    if type(depth) is int:
        return depth
    if hold is None or field_of(event.value, "mode") != REENTRANT:
        return 1
    return hold.depth + 1 if hold.token == field_of(event.result, "token") else 1


def _expiry_ns(called_ns: int, result: Any) -> int:
    ttl_ms = field_of(result, "ttl_ms")
    if not isinstance(ttl_ms, int | float):
        return NEVER
    return called_ns + round(max(-TTL_MS_MAX, min(ttl_ms, TTL_MS_MAX)) * NS_PER_MS)


def _overlaps(holds: list[LockHold]) -> Iterator[HoldOverlap]:
    """For each hold that began while others lasted which it may not share with: that stretch."""
    lasting: list[tuple[int, int]] = []
    for number, hold in enumerate(holds):
        while lasting and lasting[0][0] <= hold.start_ns:
            heappop(lasting)
        others = [holds[place] for _, place in lasting if holds[place].process != hold.process]
        disturbed = [other for other in others if not _may_share(other, hold)]
        if hold.mode == PERMIT and len(others) < min(other.permits for other in (*others, hold)):
            disturbed = [other for other in disturbed if other.mode != PERMIT]
        if disturbed:
            end_ns = min(hold.end_ns, max(other.end_ns for other in disturbed))
            yield HoldOverlap(hold.lock, hold.start_ns, end_ns, (*disturbed, hold))
        heappush(lasting, (hold.end_ns, number))


def _may_share(one: LockHold, other: LockHold) -> bool:
    return one.mode == other.mode == READ
