"""Where a node keeps its copies: the port, and the store in memory."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any, Final, NamedTuple, Protocol

from foreshock.targets.reference.node.cache.messages import Key

_OVERHEAD_BYTES: Final = 100
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

SUSPECT: Final = 0
"""The end of a copy that must not be used before the origin has confirmed it."""


class Copy(NamedTuple):
    """A copy of what a key held after ``as_of`` of the origin's changes; ``value`` is ``None`` when that was nothing.

    It may be used until ``until_ns`` of the node's monotonic clock.
    """

    version: int
    as_of: int
    value: Any
    until_ns: int


class CopyStore(Protocol):
    """A bounded store of copies: it may forget any of them at any time. Raises ``OSError`` when its disk refuses."""

    def get(self, key: Key) -> Copy | None:
        """The copy, which may have run out."""

    def put(self, key: Key, copy: Copy) -> None:
        """Keep a copy in place of the one before."""

    def remove(self, key: Key) -> None:
        """Forget the copy; none is no error."""

    def wants_sync(self) -> bool:
        """Whether something waits to be made durable, at leisure: nothing depends on it."""

    def synced(self) -> None:
        """What was there when the sync was asked for is durable."""

    def __len__(self) -> int:
        """How many copies there are."""


class MemoryStore:
    """Copies in memory; the least recently used goes first."""

    def __init__(self, *, entries_max: int, bytes_max: int) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._copies: OrderedDict[Key, tuple[Copy, int]] = OrderedDict()
        self.bytes = 0
        """How much the copies take, about."""

    def get(self, key: Key) -> Copy | None:
        """The copy, which is now the most recently used."""
        found = self._copies.get(key)
        if found is None:
            return None
        self._copies.move_to_end(key)
        return found[0]

    def put(self, key: Key, copy: Copy) -> None:
        """Keep a copy; one that is larger than the whole store is not kept."""
        self.remove(key)
        size = size_of(key, copy)
        if size > self._bytes_max:
            return
        self._copies[key] = (copy, size)
        self.bytes += size
        while len(self._copies) > self._entries_max or self.bytes > self._bytes_max:
            _, (_, freed) = self._copies.popitem(last=False)
            self.bytes -= freed

    def remove(self, key: Key) -> None:
        """Forget the copy."""
        found = self._copies.pop(key, None)
        if found is not None:
            self.bytes -= found[1]

    def wants_sync(self) -> bool:
        """Never: memory is not durable."""
        return False

    def synced(self) -> None:
        """Nothing to do."""

    def __len__(self) -> int:
        return len(self._copies)


def size_of(key: Key, copy: Copy) -> int:
    """About how many bytes a copy takes: its JSON, and what goes with it."""
    return len(_encode([key, copy.value])) + _OVERHEAD_BYTES
