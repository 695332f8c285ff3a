"""Who believed to hold a lock from when to when, found among the operations of a drawn counterexample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from foreshock.reports.counterexample import Bar, Layout
from foreshock.reports.scales import NS_PER_MS

_ACQUIRES = ("acquire", "try_acquire", "timed_acquire", "lock", "try_lock")
_RENEWALS = ("renew", "extend")
_RELEASES = ("release", "unlock")


class Hold(NamedTuple):
    """A stretch in which one process believed that it held the lock; ``end_ns`` is ``None`` when it never ended."""

    lane: int
    left: float
    right: float
    start_ns: int
    end_ns: int | None
    token: str


class Overlap(NamedTuple):
    """Two processes that believed so at once; ``lasting_ns`` is ``None`` when neither belief ever ended."""

    top_lane: int
    bottom_lane: int
    left: float
    right: float
    lasting_ns: int | None


def holds_of(layout: Layout) -> list[Hold]:
    """A hold for each granted acquire: until the release is called, or until the last grant runs out."""
    if not layout.is_belief:
        return []
    return [_hold(layout, bar) for bar in layout.bars if _granted(bar, _ACQUIRES)]


def overlaps_of(holds: Sequence[Hold]) -> list[Overlap]:
    """Every two holds of different processes that overlap."""
    overlaps = []
    for one, other in combinations(holds, 2):
        left, right = max(one.left, other.left), min(one.right, other.right)
        if left >= right or one.lane == other.lane:
            continue
        ends = [hold.end_ns for hold in (one, other) if hold.end_ns is not None]
        lasting = min(ends) - max(one.start_ns, other.start_ns) if ends else None
        lanes = sorted((one.lane, other.lane))
        overlaps.append(Overlap(lanes[0], lanes[1], left, right, lasting))
    return overlaps


def _hold(layout: Layout, bar: Bar) -> Hold:
    later = [
        other
        for other in layout.bars
        if other.lane == bar.lane and other.operation.invoke_index > bar.operation.invoke_index
    ]
    release = next((other for other in later if other.operation.f in (*_RELEASES, *_ACQUIRES)), None)
    right = layout.width if release is None else release.left
    end_ns = None if release is None else release.operation.invoke_ns
    # Renewals count up to the release; the last one that was granted says when the belief runs out.
    grants = [bar, *(other for other in later if _granted(other, _RENEWALS) and other.left < right)]
    expiry_ns = _expiry_ns(grants[-1])
    if expiry_ns is not None and (end_ns is None or expiry_ns < end_ns):
        end_ns, right = expiry_ns, min(right, _place_of(layout, expiry_ns))
    token = _field(bar, "token")
    return Hold(
        lane=bar.lane,
        left=bar.right,
        right=right,
        start_ns=bar.operation.complete_ns,
        end_ns=end_ns,
        token="" if token is None else str(token),
    )


def _granted(bar: Bar, names: Sequence[str]) -> bool:
    operation = bar.operation
    return operation.f in names and operation.outcome == "ok" and not operation.open


def _field(bar: Bar, name: str) -> Any:
    result = bar.operation.result
    if isinstance(result, Mapping):
        return result.get(name)
    return result if name == "token" and isinstance(result, int) else None


def _expiry_ns(bar: Bar) -> int | None:
    ttl_ms = _field(bar, "ttl_ms")
    if not isinstance(ttl_ms, int | float):
        return None
    return bar.operation.invoke_ns + round(ttl_ms * NS_PER_MS)


def _place_of(layout: Layout, at_ns: int) -> float:
    """Where a time lies among the events: between its neighbours, or after the last."""
    before = [column for column in layout.columns if column[1] <= at_ns]
    after = [column for column in layout.columns if column[1] > at_ns]
    if not before or not after:
        return layout.width if before else layout.columns[0][0]
    (left, start), (right, end) = before[-1], after[0]
    return left + (right - left) * (at_ns - start) / (end - start)
