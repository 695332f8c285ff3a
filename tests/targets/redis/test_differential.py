"""Random commands on a real redis-server and on the simulated one: the same replies and the same errors."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.backends.sim import SimBackend
from foreshock.harness.cluster import ClusterSpecification, Endpoint
from foreshock.harness.randomness import RandomStream
from foreshock.harness.simulation.knobs import SimKnobs
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.targets.redis.connection import RedisConnection, RedisError
from foreshock.targets.redis.scripts import Script
from foreshock.targets.redis.server_target import RedisOptions, RedisTarget

COMMANDS = 1500
KEYS = ("a", "b", "c", "d e", "schlüssel")
VALUES = ("", "0", "7", "-3", "x", "y z", "007", "9223372036854775807", "übung")

SWAP = Script(
    lua="""
local old = redis.call('GET', KEYS[1])
if old == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  return 1
end
return {old, redis.call('EXISTS', KEYS[1]), false}
""",
    meaning=lambda call, keys, arguments: (
        1
        if call("GET", keys[0]) == arguments[0]
        and call("SET", keys[0], arguments[1], "PX", arguments[2]) == "OK"
        else [call("GET", keys[0]), call("EXISTS", keys[0]), None]
    ),
)


class Servers(RedisTarget[RedisOptions]):
    """Simulated servers that know the scripts of these tests."""

    scripts = (SWAP,)


def random_command(rng: RandomStream) -> list[Any]:
    key, value, number = rng.choice(KEYS), rng.choice(VALUES), str(rng.between(-2, 3))
    far = rng.choice(("100000", "200000", "0", "-1", "no", "9223372036854775807"))
    options = [
        word
        for chance, words in (
            (4, ["NX"]),
            (6, ["xx"]),
            (6, ["GET"]),
            (4, ["PX", far]),
            (8, ["ex", far]),
            (8, ["KEEPTTL"]),
        )
        if rng.chance(1, chance)
        for word in words
    ]
    return rng.choice(
        (
            ["SET", key, value, *options],
            ["SET", key, value],
            ["SET", key, value, "PX"],
            ["GET", key],
            ["GET"],
            ["DEL", key, rng.choice(KEYS)],
            ["UNLINK", key],
            ["GETDEL", key],
            ["EXISTS", key, key, rng.choice(KEYS)],
            ["INCR", key],
            ["INCRBY", key, rng.choice((number, "x", "9223372036854775807"))],
            ["EXPIRE", key, rng.choice((far, "100"))],
            ["PEXPIRE", key, rng.choice((far, "100000"))],
            ["PEXPIRE", key],
            ["PERSIST", key],
            ["TTL", key],
            ["MGET", key, rng.choice(KEYS)],
            ["DBSIZE"],
            ["PING", *([value] if rng.chance(1, 2) else [])],
            ["PING", "a", "b"],
            ["NOSUCHCOMMAND", key, value],
            [
                "EVAL",
                SWAP.lua,
                rng.choice(("1", "1", "1", "-1", "9", "x")),
                key,
                value,
                rng.choice(VALUES),
                far,
            ],
            ["EVALSHA", SWAP.digest, "1", key, value, rng.choice(VALUES), "100000"],
            ["EVALSHA", "0" * 40, "1", key],
            ["SCRIPT", "LOAD", SWAP.lua],
            ["FLUSHALL"] if rng.chance(1, 10) else ["PTTL", "nobody"],
        )
    )


async def transcript(connection: RedisConnection, seed: int) -> list[tuple[list[Any], Any]]:
    """What the server answers to the commands of a seed."""
    rng, told = RandomStream(seed, "commands"), []
    await connection.execute("FLUSHALL")
    await connection.execute("SCRIPT", "FLUSH")
    for _ in range(COMMANDS):
        command = random_command(rng)
        try:
            answer = await connection.execute(*command)
        except RedisError as refused:
            answer = refused
        told.append((command, outcome(answer)))
    await connection.close()
    return told


def outcome(answer: Any) -> Any:
    """What is compared: an error within a script is told in words of Redis's own, and so by its kind alone."""
    if isinstance(answer, RedisError):
        return ("error", answer.code, answer.text.partition(" script:")[0])
    return answer


def simulated(act: Any, options: RedisOptions = RedisOptions(), seed: int = 1) -> Any:  # noqa: B008
    """Run ``act(runtime, cluster)`` on one simulated server."""
    runtime = SimRuntime(seed, SimKnobs())
    target = Servers(options, seed=seed)
    cluster = SimBackend().cluster(
        ClusterSpecification("run", target, ("n1",), Path("unused"), seed), runtime
    )

    async def go() -> Any:
        await cluster.deploy()
        return await act(runtime, cluster)

    return runtime.run(go())


def real(runtime: AsyncioRuntime, act: Coroutine[Any, Any, Any]) -> Any:
    return runtime.run(act)


@pytest.mark.parametrize("seed", range(6))
def test_random_commands_get_the_same_answers(
    real_server: Endpoint, real_runtime: AsyncioRuntime, seed: int
) -> None:
    async def on_simulated(runtime: SimRuntime, cluster: Any) -> Any:
        return await transcript(RedisConnection(runtime, cluster.nodes[0].endpoint, 5_000), seed)

    connection = RedisConnection(real_runtime, real_server, 5_000)
    of_real = real(real_runtime, transcript(connection, seed))
    of_simulated = simulated(on_simulated)
    for (command, wanted), (_, got) in zip(of_real, of_simulated, strict=True):
        assert got == wanted, f"{command}: the real server answers {wanted!r}, the simulated one {got!r}"
