"""The simulated Redis on its own: time, disks, memory, and what it does with nonsense."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.backends.sim import SimBackend, SimCluster
from foreshock.harness.cluster import ClusterSpecification
from foreshock.harness.errors import DeployError, Indefinite
from foreshock.harness.runtime import ConnectionClosed
from foreshock.harness.simulation.knobs import SimKnobs
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.targets.redis.commands import Commands
from foreshock.targets.redis.connection import RedisConnection, RedisError
from foreshock.targets.redis.keyspace import EMPTY_SERVER_BYTES, Keyspace
from foreshock.targets.redis.scripts import Script
from foreshock.targets.redis.server_target import BoundedRedisOptions, RedisOptions, RedisTarget
from foreshock.targets.redis.simulated_server import AOF, WAITING_MAX, ServerSettings

MS = 1_000_000
SLOW_DISK = SimKnobs(sync_min_ns=20 * MS, sync_mean_ns=0, crash_keeps_percent=0)
HALF = Script(
    lua="redis.call('SET', KEYS[1], 'half') return redis.call('INCR', KEYS[1])",
    meaning=lambda call, keys, _: [call("SET", keys[0], "half"), call("INCR", keys[0])][1],
)


class Server(RedisTarget[Any]):
    scripts = (HALF,)


class World:
    """One simulated server, and a connection to it."""

    def __init__(
        self, options: RedisOptions, knobs: SimKnobs = SLOW_DISK, target: type[Server] = Server
    ) -> None:
        self.runtime = SimRuntime(1, knobs)
        specification = ClusterSpecification("run", target(options, seed=1), ("n1",), Path("unused"), 1)
        self.cluster: SimCluster = SimBackend().cluster(specification, self.runtime)
        self.redis = self.connection()

    def connection(self, timeout_ms: int = 5_000) -> RedisConnection:
        return RedisConnection(self.runtime, self.cluster.nodes[0].endpoint, timeout_ms)

    @property
    def machine(self) -> Any:
        return self.cluster.world.machine("n1")

    def run(self, act: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        async def go() -> Any:
            await self.cluster.deploy()
            return await act()

        return self.runtime.run(go())

    async def cut_power(self) -> None:
        """What was not synced is gone."""
        self.machine.cut_power()
        await self.start()

    async def start(self) -> None:
        await self.cluster.start(frozenset({"n1"}))
        await self.runtime.sleep(10 * MS)

    async def kill(self) -> None:
        await self.cluster.kill(frozenset({"n1"}))


@pytest.mark.parametrize(
    ("persistence", "after_kill", "after_power_cut"),
    [("none", None, None), ("aof-everysec", "1", None), ("aof-always", "1", "1")],
)
def test_what_survives_is_what_the_persistence_says(
    persistence: Any, after_kill: str | None, after_power_cut: str | None
) -> None:
    for harm, wanted in (("kill", after_kill), ("power", after_power_cut)):
        world = World(RedisOptions(persistence=persistence))

        async def act(world: World = world, harm: str = harm) -> Any:
            await world.redis.execute("SET", "a", 1)
            if harm == "kill":
                await world.kill()
                await world.start()
            else:
                await world.cut_power()
            return await world.redis.execute("GET", "a")

        assert world.run(act) == wanted, harm


def test_everysec_loses_no_more_than_the_last_seconds() -> None:
    world = World(RedisOptions(persistence="aof-everysec"))

    async def act() -> None:
        await world.redis.execute("SET", "old", 1)
        await world.runtime.sleep(1_100 * MS)
        await world.redis.execute("SET", "new", 1)
        await world.cut_power()
        assert await world.redis.execute("MGET", "old", "new") == ["1", None]

    world.run(act)


def test_always_answers_after_the_sync_and_runs_nothing_meanwhile() -> None:
    world = World(RedisOptions(persistence="aof-always"))

    async def act() -> None:
        started_ns = world.runtime.now()
        setting = world.runtime.spawn(world.redis.execute("SET", "a", 1), name="set")
        await world.runtime.sleep(5 * MS)
        assert await world.connection().execute("GET", "a") == "1"  # it had to wait for the sync
        assert await setting.wait() == "OK"
        assert world.runtime.now() - started_ns >= 20 * MS
        # A power cut before the sync has ended: nobody was told of the change, and it is gone.
        doubtful = world.runtime.spawn(expect_no_answer(world.redis), name="doubtful")
        await world.runtime.sleep(5 * MS)
        await world.cut_power()
        await doubtful.wait()
        assert await world.redis.execute("GET", "a") == "1"

    world.run(act)


async def expect_no_answer(redis: RedisConnection) -> None:
    with pytest.raises(Indefinite, match="broke"):
        await redis.execute("SET", "a", 2)


def test_more_commands_than_may_wait_for_a_sync_are_hung_up_on() -> None:
    world = World(RedisOptions(persistence="aof-always"))

    async def act() -> None:
        connection = await world.runtime.connect(world.cluster.nodes[0].endpoint)
        for _ in range(WAITING_MAX + 10):
            await connection.send({"command": ["INCR", "a"]})
        with pytest.raises(ConnectionClosed, match="n1 closed"):
            await connection.receive()
        await world.runtime.sleep(50 * MS)
        # What had been taken in is done: one command at once, and those that waited, with one sync.
        assert await world.redis.execute("GET", "a") == str(WAITING_MAX + 1)

    world.run(act)


def test_keys_expire_by_the_wall_clock_and_stay_expired_after_a_restart() -> None:
    world = World(RedisOptions(persistence="aof-always"))

    async def act() -> None:
        redis = world.redis
        for key in ("gone", "kept", "swept"):
            await redis.execute("SET", key, 1, "PX", 1_000)
        await redis.execute("PEXPIRE", "kept", 100_000)
        world.machine.clock.jump(2_000 * MS)
        assert await redis.execute("GET", "gone") is None
        await world.runtime.sleep(200 * MS)
        assert await redis.execute("DBSIZE") == 1  # the sweep came, too
        world.machine.clock.jump(-2_000 * MS)
        await world.kill()
        await world.start()
        assert await redis.execute("MGET", "gone", "kept", "swept") == [None, "1", None]
        assert 95_000 < await redis.execute("PTTL", "kept") < 100_000

    world.run(act)


def test_a_time_to_live_lasts_for_as_long_as_it_says_and_ends() -> None:
    world = World(RedisOptions(persistence="none"))

    async def act() -> None:
        await world.redis.execute("SET", "a", 1, "PX", 50)
        start_ns = world.runtime.now()
        while await world.redis.execute("EXISTS", "a"):
            await world.runtime.sleep(MS)
        assert 49 * MS <= world.runtime.now() - start_ns <= 55 * MS
        await world.redis.execute("SET", "b", 1, "PX", 50)
        await world.redis.execute("SET", "b", 2, "KEEPTTL")
        await world.redis.execute("SET", "c", 1, "PX", 50)
        await world.redis.execute("SET", "c", 2)
        await world.runtime.sleep(60 * MS)
        assert await world.redis.execute("MGET", "b", "c") == [None, "2"]

    world.run(act)


def test_the_least_recently_used_keys_make_room_and_stay_away_after_a_restart() -> None:
    limit = EMPTY_SERVER_BYTES + 3 * 200
    world = World(BoundedRedisOptions(persistence="aof-always", maxmemory_bytes=limit))

    async def act() -> None:
        redis, value = world.redis, "x" * 100
        for key in "abc":
            await redis.execute("SET", key, value)
        await redis.execute("GET", "a")
        await redis.execute("EXISTS", "b")  # a look that is no use
        await redis.execute("SET", "d", value)
        await redis.execute("PING")  # eviction comes before a command, as in Redis
        assert await redis.execute("MGET", "a", "b", "c", "d") == [value, None, value, value]
        assert "evicted_keys:1\r\n" in await redis.execute("INFO")
        await world.kill()
        await world.start()
        assert await redis.execute("EXISTS", "a", "b", "c", "d") == 3

    world.run(act)


def test_what_cannot_fit_at_all_is_refused_with_oom() -> None:
    world = World(BoundedRedisOptions(persistence="none", maxmemory_bytes=EMPTY_SERVER_BYTES - 1))

    async def act() -> None:
        with pytest.raises(RedisError) as refused:
            await world.redis.execute("SET", "a", "1")
        assert refused.value.code == "OOM"
        assert await world.redis.execute("GET", "a") is None  # reading needs no memory

    world.run(act)


def test_a_script_that_fails_keeps_what_it_did_before() -> None:
    world = World(RedisOptions(persistence="aof-always"))

    async def act() -> None:
        with pytest.raises(RedisError, match="not an integer"):
            await world.redis.run_script(HALF, ["a"], [])
        await world.kill()
        await world.start()
        assert await world.redis.execute("GET", "a") == "half"

    world.run(act)


def test_a_script_is_known_by_its_digest_until_the_server_ends() -> None:
    world = World(RedisOptions(persistence="none"))

    async def act() -> None:
        assert await world.redis.execute("SCRIPT", "LOAD", HALF.lua) == HALF.digest
        await world.kill()
        await world.start()
        with pytest.raises(RedisError, match="NOSCRIPT"):
            await world.redis.execute("EVALSHA", HALF.digest, 1, "a")
        for strange in (["EVAL", "return 1", 0], ["SCRIPT", "LOAD", "return 1"], ["SCRIPT", "KILL"]):
            with pytest.raises(RedisError, match="the simulated server knows no"):
                await world.redis.execute(*strange)

    world.run(act)


@pytest.mark.parametrize(
    "message", [{}, {"command": []}, {"command": "GET a"}, {"command": ["GET", 1]}, [], None]
)
def test_nonsense_gets_an_error_and_is_hung_up_on(message: Any) -> None:
    world = World(RedisOptions(persistence="none"))

    async def act() -> None:
        connection = await world.runtime.connect(world.cluster.nodes[0].endpoint)
        await connection.send(message)
        assert "Protocol error" in (await connection.receive())["error"]
        assert await world.redis.execute("PING") == "PONG"

    world.run(act)


@pytest.mark.parametrize(
    ("tail", "left"),
    [
        (b'[["set","b",', True),
        (b'[["set","b","2",null]]', True),
        (b"nonsense\n", False),
        (b'[["fly","b"]]\n', False),
    ],
)
def test_a_torn_tail_is_cut_and_a_broken_file_refuses_to_start(tail: bytes, left: bool) -> None:
    world = World(RedisOptions(persistence="aof-always"))

    async def act() -> None:
        await world.redis.execute("SET", "a", 1)
        await world.kill()
        disk = world.machine.disk
        disk.replace(AOF, disk.read(AOF) + tail)
        await world.start()
        log = "\n".join(world.machine.logs())
        if left:
            assert await world.redis.execute("MGET", "a", "b") == ["1", None]
            assert "ends in the middle of a command" in log
            await world.redis.execute("SET", "b", 3)
            await world.kill()
            await world.start()
            assert await world.redis.execute("MGET", "a", "b") == ["1", "3"]
        else:
            assert f"the append-only file {AOF} is broken in line 2" in log

    world.run(act)


def test_a_full_disk_ends_the_server_before_it_answers() -> None:
    world = World(RedisOptions(persistence="aof-always"), SimKnobs(disk_capacity_bytes=100))

    async def act() -> None:
        await world.redis.execute("SET", "a", 1)
        with pytest.raises(Indefinite):
            await world.redis.execute("SET", "b", "x" * 100)
        assert "the append-only file cannot be written" in "\n".join(world.machine.logs())

    world.run(act)


def test_the_file_is_written_anew_when_it_is_long() -> None:
    world = World(RedisOptions(persistence="aof-always"), SimKnobs())

    async def act() -> None:
        for number in range(40):
            await world.redis.execute("SET", "a", f"{number}" + "x" * 100_000)
        await world.redis.execute("SET", "b", "last")
        assert len(world.machine.disk.read(AOF)) < 2_000_000
        await world.kill()
        await world.start()
        assert (await world.redis.execute("GET", "a")).startswith("39x")
        assert await world.redis.execute("GET", "b") == "last"

    world.run(act)


def test_a_server_that_cannot_load_is_told_by_its_sentence() -> None:
    world = World(RedisOptions(persistence="aof-always"))
    original = world.cluster.world.add

    def add(name: str, make: Any) -> None:
        original(name, make)
        world.machine.disk.replace(AOF, b"nonsense\n")

    world.cluster.world.add = add  # type: ignore[method-assign]
    with pytest.raises(DeployError, match="is broken in line 1"):
        world.run(lambda: world.redis.execute("PING"))


def test_a_server_that_stays_away_refuses_everything_for_as_long_as_it_was_told() -> None:
    class Delayed(Server):
        settings = ServerSettings(persistence="none", restart_delay_ms=500)

    world = World(RedisOptions(persistence="none"), target=Delayed)

    async def act() -> None:
        await world.redis.execute("SET", "a", 1)  # the first life begins at once
        await world.kill()
        await world.start()
        started_ns = world.runtime.now()
        with pytest.raises(RedisError, match="stays away"):
            await world.redis.execute("SET", "a", 2)
        assert not await Delayed(RedisOptions(), seed=1).ready(world.cluster.nodes[0], world.runtime)
        while not await Delayed(RedisOptions(), seed=1).ready(world.cluster.nodes[0], world.runtime):
            await world.runtime.sleep(10 * MS)
        assert 450 * MS < world.runtime.now() - started_ns < 550 * MS
        assert await world.redis.execute("GET", "a") is None

    world.run(act)


def test_effects_repeat_what_the_commands_did() -> None:
    first, second = Commands(Keyspace(), ()), Commands(Keyspace(), ())
    for words in (
        ["SET", "a", "1", "PX", "100"],
        ["INCR", "n"],
        ["DEL", "a"],
        ["SET", "b", "2"],
        ["PERSIST", "b"],
    ):
        first.execute(words, 10)
    for effect in json.loads(json.dumps(first.effects)):
        second.apply(effect)
    assert dict(second.keyspace.items()) == dict(first.keyspace.items())
    second.apply(["del", "nobody"])
    second.apply(["flush"])
    assert len(second.keyspace) == 0
