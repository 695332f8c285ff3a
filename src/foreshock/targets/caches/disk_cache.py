"""The ``disk-cache`` target: copies on the disks of the nodes."""

from __future__ import annotations

from typing import ClassVar

from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.targets.caches.findings import finding, no_stale_sets, promises_of, weaknesses
from foreshock.targets.caches.target import NodeCacheTarget
from foreshock.targets.faults import KILLS

_NAME = "disk-cache"


class DiskCache(NodeCacheTarget):
    """Copies on disk, bounded and checksummed; they survive a restart, and are confirmed by the origin before use."""

    store: ClassVar[str] = "disk"
    promises: ClassVar[tuple[Promise, ...]] = (
        *promises_of(("aside", "leases", "write-through", "linearizable")),
        no_stale_sets("leases", (*KILLS, "pause", "stall")),
    )
    exhibits: ClassVar[tuple[Exhibit, ...]] = (
        *weaknesses(_NAME),
        finding(
            "cache/disk-entry-trusted-after-restart",
            _NAME,
            {"mode": "linearizable"},
            nemesis="kill",
            bug="cache/disk-entry-trusted-after-restart",
            shows="a node that was down serves the copies on its disk, and what was written meanwhile is not in them",
        ),
    )
