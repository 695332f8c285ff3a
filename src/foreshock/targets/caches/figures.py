"""What the clients of one test saw of the cache: hits, misses, and what they asked of the origin themselves."""

from __future__ import annotations

from typing import Any


class CacheFigures:
    """Counts over all clients of a test; only operations that ended well count."""

    def __init__(self) -> None:
        self.hits = 0
        """Gets that were answered from a copy."""
        self.misses = 0
        """Gets that took the origin: asked by the node or, where the client looks aside, by the client."""
        self.bypasses = 0
        """Gets that went to the origin because no node of the cache answered."""
        self.writes = 0
        """Puts and deletes."""

    def as_dict(self) -> dict[str, Any]:
        """The counts, the share of gets that were hits, and how many requests an operation cost the origin."""
        gets = self.hits + self.misses + self.bypasses
        origin = self.misses + self.bypasses + self.writes
        operations = gets + self.writes
        return {
            "hits": self.hits,
            "misses": self.misses,
            "bypasses": self.bypasses,
            "writes": self.writes,
            "hit_rate": round(self.hits / gets, 4) if gets else None,
            "origin_requests": origin,
            "origin_requests_per_operation": round(origin / operations, 4) if operations else None,
        }
