"""The ``memory-cache`` target: copies in the memory of the nodes."""

from __future__ import annotations

from typing import ClassVar

from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.targets.caches.findings import (
    LONG_LIVED,
    STRICTLY,
    finding,
    no_stale_sets,
    promises_of,
    weaknesses,
)
from foreshock.targets.caches.target import NodeCacheTarget
from foreshock.targets.faults import KILLS

_NAME = "memory-cache"


class MemoryCache(NodeCacheTarget):
    """Copies in memory, bounded, the least recently used going first; a node that starts anew has none."""

    store: ClassVar[str] = "memory"
    promises: ClassVar[tuple[Promise, ...]] = (
        *promises_of(("aside", "leases", "write-through", "linearizable")),
        no_stale_sets("leases", (*KILLS, "pause", "stall")),
    )
    exhibits: ClassVar[tuple[Exhibit, ...]] = (
        *weaknesses(_NAME),
        finding(
            f"{_NAME}/write-through-on-two-replicas-is-stale",
            _NAME,
            {"mode": "write-through", "replicas": 2, "active_keys": 1, **STRICTLY},
            rate=400.0,
            time_limit=10.0,
            shows="one copy has been taken back and the other has not: a reader goes back from new to old",
        ),
        finding(
            f"{_NAME}/aside-breaks-sessions",
            _NAME,
            {"mode": "aside", "workload.consistency": "session"},
            shows="a process reads what is older than what it had read or written before",
        ),
        finding(
            "cache/stale-set-after-invalidation",
            _NAME,
            {"mode": "leases", **LONG_LIVED},
            bug="cache/stale-set-after-invalidation",
            shows="a slow client fills an old value after the invalidation, and it stays",
        ),
        finding(
            "cache/invalidation-lost-in-partition",
            _NAME,
            {"mode": "linearizable"},
            nemesis="partition",
            bug="cache/invalidation-lost-in-partition",
            shows="a write does not wait for a node that is cut off, and the node's clients read its old copy",
        ),
        finding(
            "cache/lease-ignores-drift",
            _NAME,
            {
                "mode": "linearizable",
                "lease_ms": 3_000,
                "active_keys": 1,
                "deletes": 0,
                "clock.kinds": "drift",
                "clock.drift_percent_max": 8,
            },
            nemesis="partition,clock",
            bug="cache/lease-ignores-drift",
            interval=5.0,
            time_limit=30.0,
            shows="a write passes when the lease has run out by the origin's clock, but not yet by the holder's",
        ),
        finding(
            "cache/write-behind-lost-on-crash",
            _NAME,
            {"mode": "write-through"},
            nemesis="kill",
            bug="cache/write-behind-lost-on-crash",
            shows="a put that was done is gone with the node that had not passed it on yet",
        ),
    )
