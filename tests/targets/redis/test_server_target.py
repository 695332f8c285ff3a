"""How a real redis-server is run."""

from __future__ import annotations

from typing import Any

import pytest

from foreshock.harness.cluster import Endpoint, Node
from foreshock.targets.redis.server_target import BoundedRedisOptions, RedisOptions, RedisTarget


class Server(RedisTarget[Any]):
    """Nothing but a server."""


def command(options: RedisOptions) -> str:
    here = Endpoint("127.0.0.1", 7001)
    return " ".join(Server(options, seed=1).command(Node("n1", 0, here, here, {}, "/data", "run")))


@pytest.mark.parametrize(
    ("persistence", "words"),
    [
        ("none", "--appendonly no"),
        ("aof-everysec", "--appendonly yes --appendfsync everysec"),
        ("aof-always", "--appendonly yes --appendfsync always"),
    ],
)
def test_persistence_is_an_append_only_file_or_nothing(persistence: Any, words: str) -> None:
    place = "redis-server --dir /data --bind 127.0.0.1 --port 7001 --protected-mode no"
    assert command(RedisOptions(persistence=persistence)) == f"{place} --save  {words}"


def test_a_limit_on_memory_evicts_the_least_recently_used() -> None:
    bounded = command(BoundedRedisOptions(maxmemory_bytes=2_000_000))
    assert bounded.endswith("--maxmemory 2000000 --maxmemory-policy allkeys-lru")
    assert "maxmemory" not in command(BoundedRedisOptions())
