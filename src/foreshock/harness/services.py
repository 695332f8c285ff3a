"""Services: the small typed client protocols that workloads talk to.

A target that offers ``RegisterClient`` gets every workload written for registers. The interpreter calls the
method that an operation names and turns its result or exception into a completion: return for ``ok``, raise
:class:`~foreshock.harness.errors.Definite` for ``fail``; anything else raised, or a timeout, is ``info``.

A method may be ``async`` (awaiting only the runtime, then it also runs in the simulator; or any library, then
it runs in the real world only) or a plain blocking function, which is run in a thread.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec

Key = int | str
Value = Any
"""Any JSON value. Written values are never ``None``: a read of ``None`` means that the key is absent."""


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """A lock that was granted.

    ``token`` is the fencing token, greater with every grant of the lock, or ``None`` where the lock service has
    none. ``ttl_ms`` is how long the grant lasts without renewal, or ``None`` when it lasts until release. ``depth`` is
    how often its owner holds a re-entrant lock now, 1 for a new grant; ``None`` for every other lock.
    """

    token: int | None = None
    ttl_ms: int | None = None
    depth: int | None = None


@runtime_checkable
class Client(Protocol):
    """What every client has; clients are made by ``Target.client`` and owned by one process at a time."""

    service: ClassVar[str]
    """The name of the service: ``register``, ``lock`` or ``cache``, or a plug-in's own.

    A client that sends a request again may have an attribute ``attempts: int``, which it counts up with every
    sending: it is set to 0 before each operation and recorded in the history after it.
    """

    async def open(self) -> None:
        """Connect. Raise on failure: the process waits a moment and tries again."""

    async def close(self) -> None:
        """Release everything; called once where ``open`` had returned, also after errors.

        An ``open`` that raises releases by itself what it took.
        """


@runtime_checkable
class RegisterClient(Client, Protocol):
    """One linearizable register a key."""

    async def read(self, key: Key) -> Value | None:
        """The value of the key, ``None`` when it is absent."""

    async def write(self, key: Key, value: Value) -> None:
        """Set the key to the value."""

    async def cas(self, key: Key, old: Value | None, new: Value) -> None:
        """Set the key to ``new`` if it is ``old``; raise ``Definite`` when it was not."""


@runtime_checkable
class LockClient(Client, Protocol):
    """Mutual exclusion by name, one owner a client."""

    async def acquire(self, key: Key, wait_ms: int) -> Grant:
        """Take the lock, waiting at most ``wait_ms`` (0: try only); ``Definite`` when it was not granted."""

    async def renew(self, key: Key, token: int | None) -> Grant:
        """Extend a grant that has a time to live; ``Definite`` when it is no longer held."""

    async def release(self, key: Key, token: int | None) -> None:
        """Give the lock back; ``Definite`` when this client did not hold it."""


@runtime_checkable
class ModalLockClient(LockClient, Protocol):
    """A lock client that has more than a mutex. Optional: without it a target gets the plain lock workload.

    ``kinds`` are those of :data:`LOCK_KINDS` that it has beside ``mutex``. All modes are renewed and released as a
    mutex is; a release of a re-entrant lock takes back one acquire.
    """

    kinds: ClassVar[frozenset[str]]

    async def acquire_mode(self, key: Key, wait_ms: int, mode: str, permits: int) -> Grant:
        """Take the lock in a mode: ``reentrant``, ``read`` or ``write``, or ``permit`` (one of ``permits``).

        Only an acquire of a re-entrant lock is granted to its holder again: by the same token, one level deeper.
        """


@runtime_checkable
class CacheClient(Client, Protocol):
    """A cache over an origin database."""

    async def get(self, key: Key) -> Value | None:
        """The value of the key as the cache sees it, ``None`` when it is absent."""

    async def put(self, key: Key, value: Value) -> None:
        """Write through to the origin."""

    async def delete(self, key: Key) -> None:
        """Remove the key from the origin (and from the cache)."""


LOCK_KINDS: dict[str, tuple[str, ...]] = {
    "mutex": (),
    "reentrant": ("reentrant",),
    "read-write": ("read", "write"),
    "semaphore": ("permit",),
}
"""The kinds of lock, and the modes in which each is acquired by ``acquire_mode`` (a mutex by plain ``acquire``)."""

SERVICES: dict[str, type[Any]] = {
    "register": RegisterClient,
    "lock": LockClient,
    "cache": CacheClient,
}
"""The services that the harness itself knows; a plug-in may name others."""
