"""The scripts of the Redis cache mean the same to a real server as to the simulated one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.backends.sim import SimBackend
from foreshock.harness.cluster import ClusterSpecification, Endpoint
from foreshock.harness.randomness import RandomStream
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.targets.caches.redis_cache import RedisCache, RedisCacheOptions
from foreshock.targets.caches.redis_scripts import FILL_IN, LOOK_UP
from foreshock.targets.redis.connection import RedisConnection

STEPS = 500
TOKENS = ("p1/1", "p1/2", "p2/1")
LONG_MS = 100_000
KEYS = ["copy/k", "filling/k", "ticket/k"]


async def transcript(redis: RedisConnection, seed: int) -> list[tuple[str, Any]]:
    rng, told = RandomStream(seed, "scripts"), []
    await redis.execute("FLUSHALL")
    for _ in range(STEPS):
        token, version = rng.choice(TOKENS), rng.between(0, 12)
        step = rng.choice(("look up", "look up", "fill", "fill", "drop", "drop the filling", "ticket"))
        answer: Any = None
        if step == "look up":
            answer = await redis.run_script(LOOK_UP, KEYS, [token, LONG_MS, LONG_MS])
        elif step == "fill":
            term_ms = rng.choice((0, 2 * LONG_MS, 2 * LONG_MS, 4 * LONG_MS))
            patience_ms = rng.choice((LONG_MS, 3 * LONG_MS))  # the longer one makes the ticket look old
            copy = f"{version} {version} null"
            answer = await redis.run_script(FILL_IN, KEYS, [token, term_ms, patience_ms, version, copy])
        elif step == "drop":
            answer = await redis.execute("DEL", *KEYS[: rng.between(1, 3)])
        elif step == "drop the filling":
            answer = await redis.execute("DEL", KEYS[1])
        else:
            answer = await redis.execute("SET", KEYS[2], token, "PX", LONG_MS)
        told.append((step, answer))
        told.append(("state", await redis.execute("MGET", *KEYS)))
        left_ms = await redis.execute("PTTL", KEYS[0])
        told.append(("left", left_ms if left_ms < 0 else (left_ms + LONG_MS // 10) // (LONG_MS // 2)))
    await redis.close()
    return told


@pytest.mark.parametrize("seed", range(3))
def test_the_cache_scripts_do_the_same_on_both(
    real_server: Endpoint, real_runtime: AsyncioRuntime, seed: int
) -> None:
    target = RedisCache(RedisCacheOptions(), seed=seed)
    runtime = SimRuntime(seed)
    specification = ClusterSpecification("run", target, ("n1", "n2"), Path("unused"), seed)
    cluster = SimBackend().cluster(specification, runtime)

    async def simulated() -> Any:
        await cluster.deploy()
        return await transcript(RedisConnection(runtime, cluster.nodes[1].endpoint, 5_000), seed)

    of_simulated = runtime.run(simulated())
    assert of_simulated == real_runtime.run(
        transcript(RedisConnection(real_runtime, real_server, 5_000), seed)
    )
    assert {answer[0] for step, answer in of_simulated if step == "look up"} == {0, 1, 2}
    assert {answer for step, answer in of_simulated if step == "fill"} == {0, 1}
