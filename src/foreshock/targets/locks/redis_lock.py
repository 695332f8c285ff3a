"""The lock on one Redis server: ``SET key owner NX PX ttl``, released and renewed by scripts that compare the owner.

This is the single-instance lock of the Redis documentation ("Distributed Locks with Redis"). It is a lease: safe as
long as the server remembers, its wall clock does not run ahead, and nobody uses the lock after its time. What lies
outside of that is shown by the exhibits, and ``docs/findings.md`` tells of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.services import Client, Key
from foreshock.harness.target import ClientContext
from foreshock.targets.locks.redis_client import PollingLockClient, Won
from foreshock.targets.locks.redis_findings import REDIS_LOCK_EXHIBITS, REDIS_LOCK_PROMISES
from foreshock.targets.locks.redis_options import RedisLockOptionsBase
from foreshock.targets.locks.redis_scripts import ACQUIRE_WITH_TOKEN, LOCK_SCRIPTS, RELEASE, RENEW
from foreshock.targets.redis.connection import RedisConnection
from foreshock.targets.redis.scripts import Script
from foreshock.targets.redis.server_target import RedisTarget


class RedisLockOptions(RedisLockOptionsBase, frozen=True, kw_only=True):
    """Options of the lock on one server."""

    tokens: Annotated[
        bool,
        Meta(
            description="whether every grant carries a fencing token, counted on the server in the same step; it is as "
            "durable as the server's persistence"
        ),
    ] = False
    client_clock_skew_ms: Annotated[
        int,
        Meta(
            description="how far the wall clock of each client's machine is off, at most, either way (ms), drawn for "
            "each client; a correct client does not look at it",
            ge=0,
            le=3_600_000,
        ),
    ] = 0


class RedisLockClient(PollingLockClient):
    """Locks on the first server; the watchdog has a connection of its own."""

    def __init__(self, context: ClientContext, options: RedisLockOptions) -> None:
        super().__init__(context, options)
        self.lock_options = options
        endpoint = context.nodes[0].endpoint
        self.redis = RedisConnection(context.runtime, endpoint, context.timeout_ms)
        self.background = RedisConnection(context.runtime, endpoint, max(options.ttl_ms // 3, 1))

    async def open(self) -> None:
        """Nothing yet: the client connects with its first command."""

    async def try_once(self, key: Key, owner: str, timeout_ms: int) -> Won | None:
        """``SET NX PX``, within a script where a token is wanted, too."""
        options = self.lock_options
        token: int | None = None
        if options.tokens:
            keys = [lock_name(key), f"{lock_name(key)}:token"]
            token = await self.redis.run_script(
                ACQUIRE_WITH_TOKEN, keys, [owner, options.ttl_ms], timeout_ms=timeout_ms
            )
            won = token is not None
        else:
            words = ("SET", lock_name(key), owner, "NX", "PX", options.ttl_ms)
            won = await self.redis.execute(*words, timeout_ms=timeout_ms) is not None
        return Won(token, options.ttl_ms) if won else None

    async def renew_once(self, key: Key, owner: str, timeout_ms: int) -> int:
        """Set the time to live anew if the owner is still there."""
        ttl_ms = self.options.ttl_ms
        arguments: list[str | int | bytes] = [owner, ttl_ms]
        renewed = await self.redis.run_script(RENEW, [lock_name(key)], arguments, timeout_ms=timeout_ms)
        return ttl_ms if renewed else 0

    async def release_once(self, key: Key, owner: str, timeout_ms: int) -> bool:
        """Delete the key if the owner is still there."""
        return bool(await self.redis.run_script(RELEASE, [lock_name(key)], [owner], timeout_ms=timeout_ms))

    async def renew_in_background(self, key: Key, owner: str) -> bool:
        """As :meth:`renew_once`, beside the client's other commands."""
        return bool(await self.background.run_script(RENEW, [lock_name(key)], [owner, self.options.ttl_ms]))

    async def disconnect(self) -> None:
        """Drop both connections."""
        await self.redis.close()
        await self.background.close()


class RedisLock(RedisTarget[RedisLockOptions]):
    """One redis-server that holds the locks."""

    Options = RedisLockOptions
    services: ClassVar[Mapping[str, type[Any]]] = {"lock": RedisLockClient}
    scripts: ClassVar[tuple[Script, ...]] = LOCK_SCRIPTS
    promises: ClassVar[tuple[Promise, ...]] = REDIS_LOCK_PROMISES
    exhibits: ClassVar[tuple[Exhibit, ...]] = REDIS_LOCK_EXHIBITS

    @classmethod
    def takes_bug(cls, name: str, bug: type[Any]) -> bool:  # noqa: ARG003 - the class says it all
        """The bugs of ``bugs.py``, which are clients of this lock."""
        return issubclass(bug, RedisLockClient)

    def client(self, service: str, context: ClientContext) -> Client:
        """A client, with the planted bug if there is one."""
        cls = self.services[service] if self.bug is None else self.bug
        client: Client = cls(context, self.options)
        return client


def lock_name(key: Key) -> str:
    """The Redis key of a lock."""
    return f"lock:{key}"
