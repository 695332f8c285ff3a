"""What the clients of the Redis locks have in common: waiting by polling, who owns what, the watchdog.

When a grant ends. The time to live begins at the server when it runs the command, and so after the client sent it;
the client counts from the moment *before* it sent it. A process counts from the call of its acquire, which is earlier
still when the acquire had to wait: the time that it waited is added to the grant's ``ttl_ms``, rounded down.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final

import msgspec

from foreshock.harness.errors import Definite
from foreshock.harness.services import Grant, Key
from foreshock.harness.target import ClientContext
from foreshock.targets.locks.redis_options import RedisLockOptionsBase
from foreshock.targets.locks.watchdog import Watchdog

MS: Final = 1_000_000


class Won(msgspec.Struct, frozen=True):
    """A try that took the lock."""

    token: int | None
    valid_ms: int
    """How long the lock is ours, from just before the try."""


class PollingLockClient(ABC):
    """One process's client; a subclass says what one try, one renewal and one release are."""

    service: ClassVar[str] = "lock"

    def __init__(self, context: ClientContext, options: RedisLockOptionsBase) -> None:
        self.context = context
        self.options = options
        self.runtime = context.runtime
        self.rng = context.runtime.random(f"locks/{context.identity}")
        self.owners: dict[Key, str] = {}
        """The owner's name under which this client holds, or may hold, each lock."""
        self._acquisitions = 0
        self._watchdog: Watchdog | None = None
        if options.watchdog:
            self._watchdog = Watchdog(
                self.runtime, self.renew_in_background, ttl_ms=options.ttl_ms, name=context.identity
            )

    # --- what a subclass says -----------------------------------------------------------------------------------

    @abstractmethod
    async def try_once(self, key: Key, owner: str, timeout_ms: int) -> Won | None:
        """Ask for the lock once. ``None``, or ``Definite``: certainly not granted; ``Indefinite``: nobody knows."""

    @abstractmethod
    async def renew_once(self, key: Key, owner: str, timeout_ms: int) -> int:
        """Extend the lock; for how long it is ours from just before the call, in ms: 0 when it is not ours any more."""

    @abstractmethod
    async def release_once(self, key: Key, owner: str, timeout_ms: int) -> bool:
        """Give the lock back; whether it was ours. ``Definite``: it may still be ours, and was not given back."""

    @abstractmethod
    async def renew_in_background(self, key: Key, owner: str) -> bool:
        """What the watchdog does: renew on connections of its own; whether the lock is still ours."""

    @abstractmethod
    async def open(self) -> None:
        """Be ready to connect with the first command."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Drop every connection."""

    # --- the service --------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Stop renewing and hang up. What is still held runs out: to release it could free what is believed in."""
        if self._watchdog is not None:
            self._watchdog.stop()
        await self.disconnect()

    async def acquire(self, key: Key, wait_ms: int) -> Grant:
        """Take the lock, trying again and again for at most ``wait_ms`` (0: once)."""
        called_ns = self.runtime.now()
        deadline_ns = self._deadline_ns()
        until_ns = min(called_ns + wait_ms * MS, deadline_ns)
        owner = self._new_owner()
        problem = "it is held"
        while True:
            sent_ns = self.runtime.now()
            try:
                won = await self.try_once(key, owner, self._left_ms(deadline_ns))
            except Definite as refused:
                won, problem = None, str(refused)
            if won is not None:
                return await self._granted(key, owner, won, called_ns, sent_ns)
            pause_ns = self._pause_ns()
            if self.runtime.now() + pause_ns > until_ns:
                raise Definite(f"the lock {key!r} was not granted within {wait_ms} ms: {problem}")
            await self.runtime.sleep(pause_ns)

    async def renew(self, key: Key, token: int | None) -> Grant:
        """Let the lock last for another time to live; ``Definite`` when it is no longer this client's."""
        owner = self._owner(key)
        valid_ms = await self.renew_once(key, owner, self._left_ms(self._deadline_ns()))
        if not valid_ms:
            raise Definite(f"the lock {key!r} is no longer held by {owner}")
        return self._grant(token, valid_ms)

    async def release(self, key: Key, token: int | None) -> None:  # noqa: ARG002 - the owner's name says which grant
        """Give the lock back; ``Definite`` when it was not this client's, or no server could be asked."""
        owner = self._owner(key)
        if self._watchdog is not None:
            self._watchdog.forget(
                key
            )  # whatever becomes of the release: nobody believes in the lock any more
        was_ours = await self.release_once(key, owner, self._left_ms(self._deadline_ns()))
        self.owners.pop(key, None)
        if not was_ours:
            raise Definite(f"the lock {key!r} was no longer held by {owner}")

    # --- within -------------------------------------------------------------------------------------------------

    async def _granted(self, key: Key, owner: str, won: Won, called_ns: int, sent_ns: int) -> Grant:
        """The grant, unless it took so long to arrive that nothing of it is left: then the lock is given back."""
        if self.is_late(won, sent_ns):
            await self.release_once(key, owner, self._left_ms(self._deadline_ns()))
            raise Definite(f"the lock {key!r} was granted too late to be used, and was given back")
        self.owners[key] = owner
        if self._watchdog is not None:
            self._watchdog.watch(key, owner)
        return self._grant(won.token, won.valid_ms + self.counted_from_ms(called_ns, sent_ns))

    def is_late(self, won: Won, sent_ns: int) -> bool:
        """Whether the grant has run out before its arrival."""
        return self.runtime.now() - sent_ns >= won.valid_ms * MS

    def counted_from_ms(self, called_ns: int, sent_ns: int) -> int:
        """What is added to a validity that began when the try was sent, since a process counts from the call."""
        return (sent_ns - called_ns) // MS

    def _grant(self, token: int | None, valid_ms: int) -> Grant:
        return Grant(token=token, ttl_ms=None if self.options.watchdog else valid_ms)

    def _new_owner(self) -> str:
        """A name that no other acquisition has, of this client or of any other."""
        self._acquisitions += 1
        return f"{self.context.identity}/{self._acquisitions}"

    def _owner(self, key: Key) -> str:
        owner = self.owners.get(key)
        if owner is None:
            raise Definite(f"this client does not hold the lock {key!r}")
        return owner

    def _pause_ns(self) -> int:
        retry_ns = self.options.retry_ms * MS
        return self.rng.between(retry_ns // 2, retry_ns * 3 // 2)

    def _deadline_ns(self) -> int:
        """When an operation that starts now is to end: a little before the interpreter would end it."""
        timeout_ms = self.context.timeout_ms
        return self.runtime.now() + (timeout_ms - min(timeout_ms // 10, 200)) * MS

    def _left_ms(self, deadline_ns: int) -> int:
        return max((deadline_ns - self.runtime.now()) // MS, 1)
