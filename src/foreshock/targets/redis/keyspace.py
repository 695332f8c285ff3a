"""The keys of the simulated Redis: strings with a time to live by the server's wall clock, and a limit on memory.

Redis keeps the moment at which a key expires as absolute wall time (``expires`` in its keyspace), so a clock that is
set forward expires keys early and one that is set back keeps them longer. A key is removed when it is looked up too
late, and by a sweep a few times a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

EMPTY_SERVER_BYTES: Final = 1 << 20
"""About what a server without keys uses, which counts against its limit too."""
KEY_OVERHEAD_BYTES: Final = 72
"""About what Redis 7 needs for a short string beside its key and its value: two objects and a table's entry."""


class Entry(NamedTuple):
    """One key's value; ``expires_ms`` is wall time, ``None`` where it never does."""

    value: str
    expires_ms: int | None = None


class Keyspace:
    """The keys, least recently used first. Every method that looks at keys is told the wall time.

    What changes on the keyspace's own account (a key expired, or was evicted) is handed to ``removed``, for the log.
    """

    def __init__(self, *, maxmemory_bytes: int = 0) -> None:
        self.maxmemory_bytes = maxmemory_bytes
        self.used_bytes = EMPTY_SERVER_BYTES
        self.expired = 0
        """How many keys were removed because their time had come."""
        self.evicted = 0
        """How many keys were removed to make room."""
        self.removed: list[str] = []
        """The keys that expired or were evicted since somebody last emptied this list."""
        self._entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        """How many keys there are, those included whose time has come and that nobody has looked at since."""
        return len(self._entries)

    def get(self, key: str, now_ms: int, *, touch: bool = True) -> Entry | None:
        """The key's entry, which with ``touch`` becomes the most recently used; removes it if its time has come."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_ms is not None and now_ms > entry.expires_ms:
            self._remove(key)
            self.expired += 1
            self.removed.append(key)
            return None
        if touch:
            del self._entries[key]
            self._entries[key] = entry
        return entry

    def holds(self, key: str) -> bool:
        """Whether the key is there, be its time come or not."""
        return key in self._entries

    def put(self, key: str, entry: Entry) -> None:
        """Set the key, which becomes the most recently used."""
        if key in self._entries:
            self._remove(key)
        self._entries[key] = entry
        self.used_bytes += _size(key, entry)

    def delete(self, key: str) -> None:
        """Remove a key that is there."""
        self._remove(key)

    def clear(self) -> None:
        """Remove every key."""
        self._entries.clear()
        self.used_bytes = EMPTY_SERVER_BYTES

    def sweep(self, now_ms: int) -> None:
        """Remove every key whose time has come."""
        late = [
            key for key, entry in self.items() if entry.expires_ms is not None and now_ms > entry.expires_ms
        ]
        for key in late:
            self._remove(key)
        self.expired += len(late)
        self.removed += late

    def make_room(self) -> bool:
        """Evict the least recently used keys until memory is below its limit; false when nothing is left to evict.

        Redis samples a few keys and evicts the oldest of these (``allkeys-lru``); here it is always the oldest.
        """
        while self.maxmemory_bytes and self.used_bytes > self.maxmemory_bytes:
            oldest = next(iter(self._entries), None)
            if oldest is None:
                return False
            self._remove(oldest)
            self.evicted += 1
            self.removed.append(oldest)
        return True

    def items(self) -> Iterator[tuple[str, Entry]]:
        """Every key with its entry, least recently used first."""
        return iter(self._entries.items())

    def _remove(self, key: str) -> None:
        self.used_bytes -= _size(key, self._entries.pop(key))


def _size(key: str, entry: Entry) -> int:
    return KEY_OVERHEAD_BYTES + len(key) + len(entry.value)
