"""The ``memory-cache`` target: copies in the memory of the nodes."""

from __future__ import annotations

from typing import ClassVar

from foreshock.targets.caches.target import NodeCacheTarget


class MemoryCache(NodeCacheTarget):
    """Copies in memory, bounded, the least recently used going first; a node that starts anew has none."""

    store: ClassVar[str] = "memory"
