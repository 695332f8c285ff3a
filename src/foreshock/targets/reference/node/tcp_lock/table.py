"""Who holds which lock of a server and who stands in line: connections, in the order of asking."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

Key = int | str
_NEVER_NS = 1 << 62


class Waiter(NamedTuple):
    """A client that stands in line: the message that it wants answered, and until when it waits."""

    message: Any
    until_ns: int


class HeldLock:
    """One lock that is held or waited for. ``owner`` is the connection that holds it by the grant ``token``."""

    __slots__ = ("line", "owner", "token")

    def __init__(self) -> None:
        self.owner: int | None = None
        self.token = 0
        self.line: OrderedDict[int, Waiter] = OrderedDict()


class LockTable:
    """All locks that anybody holds or waits for, and for each connection which these are."""

    def __init__(self) -> None:
        self._locks: dict[Key, HeldLock] = {}
        self._keys_of: dict[int, OrderedDict[Key, None]] = {}
        self.waiting = 0
        """How many stand in line, for all locks together."""
        self.deadline_ns = _NEVER_NS
        """Nobody's wait ends before."""

    def __len__(self) -> int:
        return len(self._locks)

    def find(self, key: Key) -> HeldLock | None:
        """The lock, if anybody holds it or waits for it."""
        return self._locks.get(key)

    def keys_of(self, connection: int) -> list[Key]:
        """What the connection holds or waits for."""
        return list(self._keys_of.get(connection, ()))

    def concerned(self) -> list[int]:
        """The connections that hold anything or wait for anything."""
        return list(self._keys_of)

    def waited_for(self) -> list[Key]:
        """The locks that somebody waits for and nobody of this table holds."""
        return [key for key, lock in self._locks.items() if lock.line and lock.owner is None]

    def grant(self, connection: int, key: Key, token: int) -> None:
        """The connection, which does not stand in line, holds the lock from now on."""
        lock = self._locks.setdefault(key, HeldLock())
        lock.owner, lock.token = connection, token
        self._keys_of.setdefault(connection, OrderedDict())[key] = None

    def queue(self, connection: int, key: Key, waiter: Waiter) -> None:
        """The connection stands in line, at the end."""
        self._locks.setdefault(key, HeldLock()).line[connection] = waiter
        self._keys_of.setdefault(connection, OrderedDict())[key] = None
        self.waiting += 1
        self.deadline_ns = min(self.deadline_ns, waiter.until_ns)

    def take_next(self, key: Key) -> tuple[int, Waiter] | None:
        """Take whoever is next in line out of it."""
        lock = self._locks.get(key)
        if lock is None or not lock.line:
            return None
        connection = next(iter(lock.line))
        return connection, self._unqueue(connection, key, lock)

    def overdue(self, now_ns: int) -> Iterator[tuple[int, Waiter, Key]]:
        """Take away and yield those whose wait is over."""
        if now_ns < self.deadline_ns:
            return
        late = [
            (connection, key, lock)
            for key, lock in self._locks.items()
            for connection, waiter in lock.line.items()
            if waiter.until_ns <= now_ns
        ]
        for connection, key, lock in late:
            yield connection, self._unqueue(connection, key, lock), key
        ends = (waiter.until_ns for lock in self._locks.values() for waiter in lock.line.values())
        self.deadline_ns = min(ends, default=_NEVER_NS)

    def drop(self, connection: int, key: Key) -> bool:
        """The connection neither holds the lock nor waits for it any more; says whether it held it."""
        lock = self._locks[key]
        held = lock.owner == connection
        if held:
            lock.owner = None
            self._forget(connection, key, lock)
        if connection in lock.line:
            self._unqueue(connection, key, lock)
        return held

    def _unqueue(self, connection: int, key: Key, lock: HeldLock) -> Waiter:
        waiter = lock.line.pop(connection)
        self.waiting -= 1
        self._forget(connection, key, lock)
        return waiter

    def _forget(self, connection: int, key: Key, lock: HeldLock) -> None:
        keys = self._keys_of[connection]
        keys.pop(key, None)
        if not keys:
            del self._keys_of[connection]
        if lock.owner is None and not lock.line:
            self._locks.pop(key, None)
