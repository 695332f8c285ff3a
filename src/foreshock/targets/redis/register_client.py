"""A register over any connection to Redis."""

from __future__ import annotations

import json
from typing import ClassVar, Final

from foreshock.harness.errors import Definite
from foreshock.harness.services import Key, Value
from foreshock.targets.redis.connection import RedisConnection

_CAS: Final = """
if redis.call('GET', KEYS[1]) ~= (ARGV[1] ~= '' and ARGV[1]) then return 0 end
return redis.call('SET', KEYS[1], ARGV[2])
"""


class RedisRegister:
    """A register a key: GET, SET, and a compare-and-set that Redis runs as one script; values are JSON."""

    service: ClassVar[str] = "register"

    def __init__(self, redis: RedisConnection) -> None:
        self.redis = redis

    async def open(self) -> None:
        """Nothing yet: the first command connects."""

    async def close(self) -> None:
        """Drop the connection."""
        await self.redis.close()

    async def read(self, key: Key) -> Value | None:
        """The value of the key, ``None`` when it is absent."""
        value = await self.redis.execute("GET", str(key))
        return None if value is None else json.loads(value)

    async def write(self, key: Key, value: Value) -> None:
        """Set the key to the value."""
        await self.redis.execute("SET", str(key), json.dumps(value))

    async def cas(self, key: Key, old: Value | None, new: Value) -> None:
        """Set the key to ``new`` if it is ``old``; raises ``Definite`` when it was not."""
        expected = "" if old is None else json.dumps(old)
        if not await self.redis.execute("EVAL", _CAS, 1, str(key), expected, json.dumps(new)):
            raise Definite(f"the value of {key} was not {old}")
