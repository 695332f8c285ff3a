"""The client of the cache service: a bounded cache of versioned values, validated at the origin on each get."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar, Final

from foreshock.harness.services import Key, Value
from foreshock.targets.reference.client import ReferenceClient

ENTRIES_MAX: Final = 1024
"""How many values a client keeps; the least recently used goes first."""


class ReferenceCacheClient(ReferenceClient):
    """A linearizable cache (see ``node/services/cache.py`` for why). ``hits`` and ``misses`` count its gets."""

    service: ClassVar[str] = "cache"
    hits: int = 0
    misses: int = 0

    async def open(self) -> None:
        """Begin with an empty cache."""
        self._entries: OrderedDict[Key, tuple[int, Value | None]] = OrderedDict()

    async def get(self, key: Key) -> Value | None:
        """The value of the key, ``None`` when it is absent: the cached one if its version is still the origin's."""
        version, cached = self._entries.get(key, (None, None))
        request = (
            {"type": "get", "key": key}
            if version is None
            else {"type": "get", "key": key, "version": version}
        )
        reply = await self.query(request)
        if reply.get("unchanged"):
            self.hits += 1
            self._entries.move_to_end(key)
            return cached
        self.misses += 1
        value = reply.get("value")
        self._remember(key, reply["version"], value)
        return value

    async def put(self, key: Key, value: Value) -> None:
        """Write through to the origin; the cache keeps the value under the version that it got there."""
        self._entries.pop(key, None)
        reply = await self.replicate({"type": "put", "key": key, "value": value})
        self._remember(key, reply["version"], value)

    async def delete(self, key: Key) -> None:
        """Remove the key from the origin and from the cache."""
        self._entries.pop(key, None)
        await self.replicate({"type": "delete", "key": key})

    def _remember(self, key: Key, version: int, value: Value | None) -> None:
        self._entries[key] = (version, value)
        self._entries.move_to_end(key)
        if len(self._entries) > ENTRIES_MAX:
            self._entries.popitem(last=False)
