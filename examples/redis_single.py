"""A target of one's own in one file: a single redis-server, in a container or as a process of this machine.

foreshock test --target examples/redis_single.py:Redis --workload register --nemesis kill --time-limit 20
"""

# ruff: noqa: D102 - what the methods do is said by foreshock.harness.services.RegisterClient
from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import redis.asyncio as redis  # pip install redis

from foreshock.harness.cluster import Node
from foreshock.harness.errors import Definite
from foreshock.harness.options import Options
from foreshock.harness.target import ClientContext, Target

CAS = """
if redis.call('GET', KEYS[1]) ~= (ARGV[1] ~= '' and ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


class RedisRegister:
    """A register a key: GET, SET, and a compare-and-set that Redis runs as one script."""

    service: ClassVar[str] = "register"

    def __init__(self, context: ClientContext) -> None:
        endpoint = context.nodes[0].endpoint  # one server, whichever node the process was given
        self.redis = redis.Redis(
            host=endpoint.host,
            port=endpoint.port,
            socket_timeout=context.timeout_ms / 1000,
            retry=None,  # a lost answer is `info`: the library must not send the command again
        )

    async def open(self) -> None:
        await self.redis.ping()

    async def close(self) -> None:
        await self.redis.aclose()

    async def read(self, key: int | str) -> Any:
        value = await self.redis.get(str(key))
        return None if value is None else json.loads(value)

    async def write(self, key: int | str, value: Any) -> None:
        await self.redis.set(str(key), json.dumps(value))

    async def cas(self, key: int | str, old: Any, new: Any) -> None:
        expected = "" if old is None else json.dumps(old)
        if not await self.redis.eval(CAS, 1, str(key), expected, json.dumps(new)):
            raise Definite(f"the value of {key} was not {old}")


class Redis(Target[Options]):
    """One redis-server that writes every command to disk before it answers."""

    default_nodes = 1
    packages = ("redis-server",)  # for its container
    binaries = ("redis-server",)  # as a process of this machine
    port = 6379
    services: ClassVar[dict[str, type[Any]]] = {"register": RedisRegister}

    def command(self, node: Node) -> Sequence[str]:
        listen = ["--bind", node.listen.host, "--port", str(node.listen.port), "--protected-mode", "no"]
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        return ["redis-server", "--dir", node.data_directory, *listen, *durable]
