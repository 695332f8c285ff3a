"""The ``disk-cache`` target: copies on the disks of the nodes."""

from __future__ import annotations

from typing import ClassVar

from foreshock.targets.caches.target import NodeCacheTarget


class DiskCache(NodeCacheTarget):
    """Copies on disk, bounded and checksummed; they survive a restart, and are confirmed by the origin before use."""

    store: ClassVar[str] = "disk"
