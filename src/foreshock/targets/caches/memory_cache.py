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

_NAME = "memory-cache"


class MemoryCache(NodeCacheTarget):
    """Copies in memory, bounded, the least recently used going first; a node that starts anew has none."""

    store: ClassVar[str] = "memory"
    promises: ClassVar[tuple[Promise, ...]] = (
        *promises_of(("aside", "leases", "write-through", "linearizable")),
        no_stale_sets("leases", ("kill",)),
    )
    exhibits: ClassVar[tuple[Exhibit, ...]] = (
        *weaknesses(_NAME),
        finding(
            f"{_NAME}/write-through-is-stale-in-a-partition",
            _NAME,
            mode="write-through",
            nemesis="partition",
            shows="the origin cannot take back a copy, and others read it after the put was done",
            **STRICTLY,
        ),
        finding(
            f"{_NAME}/aside-breaks-sessions",
            _NAME,
            mode="aside",
            nemesis="partition",
            shows="a process reads what is older than what it had read or written before",
            **{"workload.consistency": "session"},
        ),
        finding(
            "cache/stale-set-after-invalidation",
            _NAME,
            bug="cache/stale-set-after-invalidation",
            mode="leases",
            shows="a slow client fills an old value after the invalidation, and it stays",
            **LONG_LIVED,
        ),
        finding(
            "cache/invalidation-lost-in-partition",
            _NAME,
            bug="cache/invalidation-lost-in-partition",
            mode="linearizable",
            nemesis="partition",
            shows="a write does not wait for a node that is cut off, and the node's clients read its old copy",
        ),
        finding(
            "cache/lease-ignores-drift",
            _NAME,
            bug="cache/lease-ignores-drift",
            mode="linearizable",
            nemesis="partition,clock",
            shows="a write passes when the lease has run out by the origin's clock, but not yet by the holder's",
            lease_ms=3_000,
            **{"clock.kinds": "drift"},
        ),
        finding(
            "cache/write-behind-lost-on-crash",
            _NAME,
            bug="cache/write-behind-lost-on-crash",
            mode="write-through",
            nemesis="kill",
            shows="a put that was done is gone with the node that had not passed it on yet",
        ),
    )
