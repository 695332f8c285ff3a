"""The scripts of the Redis locks mean the same to a real server as to the simulated one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.backends.sim import SimBackend
from foreshock.harness.cluster import ClusterSpecification, Endpoint
from foreshock.harness.randomness import RandomStream
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.targets.locks.bugs import REPLACE, ExpiryOnClientClock
from foreshock.targets.locks.redis_lock import RedisLock, RedisLockOptions
from foreshock.targets.locks.redis_scripts import ACQUIRE_WITH_TOKEN, RELEASE, RENEW
from foreshock.targets.redis.connection import RedisConnection

STEPS = 400
OWNERS = ("p1/1", "p1/2", "p2/1")
LONG_MS = 100_000


async def transcript(redis: RedisConnection, seed: int) -> list[tuple[str, Any]]:
    rng, told = RandomStream(seed, "scripts"), []
    await redis.execute("FLUSHALL")
    for _ in range(STEPS):
        lock, owner, other = f"lock:{rng.below(2)}", rng.choice(OWNERS), rng.choice(OWNERS)
        what, step = rng.choice(
            (
                ("acquire", (ACQUIRE_WITH_TOKEN, [lock, f"{lock}:token"], [owner, LONG_MS])),
                ("renew", (RENEW, [lock], [owner, LONG_MS])),
                ("release", (RELEASE, [lock], [owner])),
                ("replace", (REPLACE, [lock], [owner, other])),
            )
        )
        told.append((what, await redis.run_script(*step)))
        told.append(("holder", await redis.execute("MGET", lock, f"{lock}:token")))
        told.append(("expires", await redis.execute("PTTL", lock) > LONG_MS // 2))
    await redis.close()
    return told


@pytest.mark.parametrize("seed", range(3))
def test_the_lock_scripts_do_the_same_on_both(
    real_server: Endpoint, real_runtime: AsyncioRuntime, seed: int
) -> None:
    target = RedisLock(RedisLockOptions(), seed=seed)
    target.bug = ExpiryOnClientClock  # whose script is known, too
    runtime = SimRuntime(seed)
    cluster = SimBackend().cluster(
        ClusterSpecification("run", target, ("n1",), Path("unused"), seed), runtime
    )

    async def simulated() -> Any:
        await cluster.deploy()
        return await transcript(RedisConnection(runtime, cluster.nodes[0].endpoint, 5_000), seed)

    of_simulated = runtime.run(simulated())
    assert of_simulated == real_runtime.run(
        transcript(RedisConnection(real_runtime, real_server, 5_000), seed)
    )
    assert {what for what, reply in of_simulated if reply} >= {"acquire", "renew", "release", "replace"}
