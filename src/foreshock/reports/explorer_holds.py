"""The holds of locks as the zoomable view is given them: who held which lock when, in lanes under the processes'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from foreshock.reports.explorer_packing import deflated, described, planes_of
from foreshock.reports.lock_beliefs import Beliefs, LockHold
from foreshock.reports.operation_text import clip, value_text
from foreshock.reports.scales import NS_PER_US

HOLDS_MAX = 50_000
LOCKS_MAX = 16
OVERLAPPING, RAN_OUT = 1, 2
"""The bits of a hold's flags."""
_US_MAX = (1 << 32) - 1


def holds_document(beliefs: Beliefs, end_ns: int) -> dict[str, Any] | None:
    """At most ``HOLDS_MAX`` holds of ``LOCKS_MAX`` locks, never without those that overlap; ``None`` without any."""
    if not beliefs.holds:
        return None
    broken = [overlap.lock for overlap in beliefs.overlaps]
    locks = list(dict.fromkeys((*broken, *(hold.lock for hold in beliefs.holds))))[:LOCKS_MAX]
    lanes = {lock: lane for lane, lock in enumerate(sorted(locks, key=str))}
    shown = [hold for hold in beliefs.holds if hold.lock in lanes]
    kept = _thinned(shown)
    start = np.array([hold.start_ns // NS_PER_US for hold in kept], dtype=np.int64)
    end = np.array([min(hold.end_ns, end_ns) // NS_PER_US for hold in kept], dtype=np.int64)
    flags = [OVERLAPPING * hold.overlapping + RAN_OUT * (hold.expiry_ns < hold.given_up_ns) for hold in kept]
    parts = [
        ("start", start.clip(0, _US_MAX).astype("<u4")),
        ("length", (end - start).clip(0, _US_MAX).astype("<u4")),
        ("lane", np.array([lanes[hold.lock] for hold in kept], dtype="<u1")),
        ("process", np.array([hold.process for hold in kept], dtype="<u4")),
        ("flags", np.array(flags, dtype="<u1")),
    ]
    return {
        "names": ["lock" if lock is None else clip(value_text(lock), 12) for lock in lanes],
        "arrays": described(parts),
        "data": deflated(planes_of(parts)),
        "tokens": deflated(msgspec.json.encode([_token(hold.token) for hold in kept], enc_hook=str)),
        "left_out": len(beliefs.holds) - len(kept),
    }


def _thinned(holds: Sequence[LockHold]) -> list[LockHold]:
    ordered = sorted(holds, key=lambda hold: hold.start_ns)
    if len(ordered) <= HOLDS_MAX:
        return ordered
    worst = [place for place, hold in enumerate(ordered) if hold.overlapping][: HOLDS_MAX // 2]
    others = np.linspace(0, len(ordered) - 1, HOLDS_MAX - len(worst)).astype(np.int64)
    return [ordered[place] for place in np.union1d(np.array(worst, dtype=np.int64), others).tolist()]


def _token(token: Any) -> str:
    return "" if token is None else value_text(token, 24)
