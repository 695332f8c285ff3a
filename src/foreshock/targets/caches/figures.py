"""What the clients of one test saw of the cache: hits, misses, and what they asked of the origin themselves."""

from __future__ import annotations

from typing import Any, Final, Literal

What = Literal["hits", "misses", "bypasses", "writes"]
_KINDS: Final[tuple[What, ...]] = ("hits", "misses", "bypasses", "writes")
_BUCKETS_MAX: Final = 240
"""When a test outlasts so many buckets, each becomes twice as long."""
_MS_NS: Final = 1_000_000


class CacheFigures:
    """Counts over all clients of a test, in all and over time; only operations that ended well count.

    ``hits`` are gets that were answered from a copy; ``misses`` took the origin, asked by the node or, where the client
    looks aside, by the client; ``bypasses`` went to the origin because no node of the cache answered; ``writes`` are
    puts and deletes.
    """

    def __init__(self) -> None:
        self._bucket_ms = 250
        self._counts: dict[What, list[int]] = {kind: [] for kind in _KINDS}

    def note(self, what: What, at_ns: int) -> None:
        """Count one, at a time since the start of the test."""
        place = at_ns // (self._bucket_ms * _MS_NS)
        while place >= _BUCKETS_MAX:
            self._widen()
            place = at_ns // (self._bucket_ms * _MS_NS)
        counts = self._counts[what]
        counts.extend([0] * (place + 1 - len(counts)))
        counts[place] += 1

    def _widen(self) -> None:
        self._bucket_ms *= 2
        for kind, counts in self._counts.items():
            self._counts[kind] = [sum(counts[place : place + 2]) for place in range(0, len(counts), 2)]

    def as_dict(self) -> dict[str, Any]:
        """The counts, the share of gets that were hits, and how many requests an operation cost the origin.

        ``over_time`` has the same counts in buckets of ``bucket_ms`` from the start of the test.
        """
        hits, misses, bypasses, writes = (sum(self._counts[kind]) for kind in _KINDS)
        gets = hits + misses + bypasses
        origin = misses + bypasses + writes
        operations = gets + writes
        size = max(map(len, self._counts.values()))
        series = {kind: counts + [0] * (size - len(counts)) for kind, counts in self._counts.items()}
        return {
            "hits": hits,
            "misses": misses,
            "bypasses": bypasses,
            "writes": writes,
            "hit_rate": round(hits / gets, 4) if gets else None,
            "origin_requests": origin,
            "origin_requests_per_operation": round(origin / operations, 4) if operations else None,
            "over_time": {"bucket_ms": self._bucket_ms, **series},
        }
