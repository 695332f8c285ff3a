"""Mistakes planted in the lock on one Redis server: clients that differ from the right one in one decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from foreshock.harness.services import Key
from foreshock.harness.target import ClientContext
from foreshock.targets.locks.redis_client import MS, Won
from foreshock.targets.locks.redis_lock import RedisLockClient, RedisLockOptions, lock_name
from foreshock.targets.redis.connection import RedisConnection
from foreshock.targets.redis.scripts import Call, Script


class DeletesWithoutComparingToken(RedisLockClient):
    """A release deletes the key, whoever holds the lock by then.

    A client whose time to live ran out before it came to release deletes the lock of the next holder, and a third gets
    it beside the second. jedis-lock did so (its issue 2, "Don't del lockkey if it is expired"); the Redis documentation
    gives this very story as the reason for a random value and a script that compares it ("SET", Patterns).
    """

    async def release_once(self, key: Key, owner: str, timeout_ms: int) -> bool:  # noqa: ARG002 - that is the mistake
        """Delete the key."""
        return bool(await self.redis.execute("DEL", lock_name(key), timeout_ms=timeout_ms))


def _replace(call: Call, keys: Sequence[str], arguments: Sequence[str]) -> Any:
    return call("SET", keys[0], arguments[1]) if call("GET", keys[0]) == arguments[0] else None


REPLACE: Final = Script(
    lua="""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
return redis.call('SET', KEYS[1], ARGV[2])
""",
    meaning=_replace,
)
"""Key: the lock; arguments: the value that was seen and the one to put in its place. ``OK``, or nil."""


class ExpiryOnClientClock(RedisLockClient):
    """The lock's value says when it expires, by the wall clock of the client that took it; the others compare theirs.

    A client whose clock is ahead takes over a lock that its holder believes in. This is the pattern that the Redis
    documentation of SETNX gave ("Design pattern: Locking with SETNX": the current Unix time plus the lock time-out),
    and retools' ``Lock`` followed it (its issue 18: "Distributed lock will fail if clients aren't synchronized").
    Taking over is one atomic step here, so that the clocks alone are to blame.
    """

    extra_scripts: ClassVar[tuple[Script, ...]] = (REPLACE,)

    def __init__(self, context: ClientContext, options: RedisLockOptions) -> None:
        super().__init__(context, options)
        skew_ms = options.client_clock_skew_ms
        self._clock_ahead_ms = self.rng.between(-skew_ms, skew_ms)
        self._values: dict[str, str] = {}
        """The value that each owner's lock has now."""

    async def try_once(self, key: Key, owner: str, timeout_ms: int) -> Won | None:
        """Set the key if it is absent, or take it over when its time has come by our own clock."""
        value = self._value(owner)
        words = ("SET", lock_name(key), value, "NX")
        won = await self.redis.execute(*words, timeout_ms=timeout_ms) is not None
        if not won:
            seen = await self.redis.execute("GET", lock_name(key), timeout_ms=timeout_ms)
            if seen is not None and int(seen.partition(" ")[0]) <= self._wall_ms():
                won = await self._put_in_place(self.redis, key, seen, value, timeout_ms)
        if not won:
            return None
        self._values[owner] = value
        return Won(None, self.options.ttl_ms)

    async def renew_once(self, key: Key, owner: str, timeout_ms: int) -> int:
        """Write a later time."""
        return self.options.ttl_ms if await self._extend(self.redis, key, owner, timeout_ms) else 0

    async def renew_in_background(self, key: Key, owner: str) -> bool:
        """As :meth:`renew_once`, beside the client's other commands."""
        return await self._extend(self.background, key, owner, self.options.ttl_ms // 3)

    async def release_once(self, key: Key, owner: str, timeout_ms: int) -> bool:
        """Delete the key if it is as we left it."""
        return await super().release_once(key, self._values[owner], timeout_ms)

    async def _extend(self, redis: RedisConnection, key: Key, owner: str, timeout_ms: int) -> bool:
        value = self._value(owner)
        if not await self._put_in_place(redis, key, self._values[owner], value, timeout_ms):
            return False
        self._values[owner] = value
        return True

    async def _put_in_place(
        self, redis: RedisConnection, key: Key, seen: str, value: str, timeout_ms: int
    ) -> bool:
        replaced = await redis.run_script(REPLACE, [lock_name(key)], [seen, value], timeout_ms=timeout_ms)
        return replaced is not None

    def _value(self, owner: str) -> str:
        return f"{self._wall_ms() + self.options.ttl_ms} {owner}"

    def _wall_ms(self) -> int:
        """What the clock of this client's machine shows."""
        return self.runtime.now() // MS + self._clock_ahead_ms
