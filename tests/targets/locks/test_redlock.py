"""Redlock on five servers, under interleavings of our choosing."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from tests.targets.locks.redis_worlds import MS, World

from foreshock.harness.cluster import Endpoint, Node
from foreshock.harness.errors import Definite, Indefinite
from foreshock.harness.runtime import Cancelled
from foreshock.targets.locks.redlock import Redlock, RedlockOptions


def redlock_world(**options: Any) -> World:
    return World(Redlock(RedlockOptions(**{"ttl_ms": 1000, **options}), seed=1))


def test_a_grant_is_shorter_than_its_time_to_live_by_the_drift() -> None:
    world = redlock_world()

    async def act() -> None:
        grant = await world.client(1).acquire(0, 0)
        assert (grant.token, grant.ttl_ms) == (None, 1000 - 10 - 2)
        assert await world.holder() == ["p1/1"] * 5
        with pytest.raises(Definite, match="it is held"):
            await world.client(2).acquire(0, 100)
        assert await world.holder() == ["p1/1"] * 5

    world.run(act)


@pytest.mark.parametrize(("down", "granted"), [(2, True), (3, False)])
def test_a_majority_is_enough_and_nothing_less(down: int, granted: bool) -> None:
    world = redlock_world()
    dead = frozenset(world.names[:down])
    alive = world.names[down:]

    async def act() -> None:
        await world.cluster.kill(dead)
        client = world.client(1)
        if granted:
            await client.acquire(0, 0)
            assert (await client.renew(0, None)).ttl_ms == 988
            await client.release(0, None)
        else:
            with pytest.raises(Definite, match="not granted"):
                await client.acquire(0, 0)
        assert await world.holder(nodes=alive) == [None] * len(alive)  # nothing is left behind

    world.run(act)


def test_a_split_vote_is_given_back_by_both_and_one_gets_the_lock_later() -> None:
    world = redlock_world()

    async def act() -> None:
        for name, other in zip(world.names, ("x", "x", "y", "y", "y"), strict=True):
            if (
                other == "x"
            ):  # two servers are held by somebody who has no majority, and gives them back later
                await world.ask("SET", "lock:0", "x", "PX", 300, node=name)
        await world.client(1).acquire(0, 0)  # three are enough
        world_second = world.client(2)
        with pytest.raises(Definite):
            await world_second.acquire(0, 50)
        assert await world.holder() == ["x", "x", "p1/1", "p1/1", "p1/1"]

    world.run(act)


def test_an_attempt_without_a_majority_gives_back_what_it_got_and_leaves_others_alone() -> None:
    world = redlock_world()

    async def act() -> None:
        for name in world.names[:3]:
            await world.ask("SET", "lock:0", "other", "PX", 500, node=name)
        with pytest.raises(Definite):
            await world.client(1).acquire(0, 0)
        assert await world.holder() == ["other"] * 3 + [None] * 2
        waited = await world.client(2).acquire(0, 2_000)
        assert waited.ttl_ms > 988
        assert await world.holder() == ["p2/1"] * 5

    world.run(act)


def test_servers_that_are_slow_cost_their_time_out_and_no_more() -> None:
    world = redlock_world(server_timeout_ms=100)

    async def act() -> None:
        await world.cluster.pause(frozenset({"n1", "n2"}))
        started_ns = world.runtime.now()
        grant = await world.client(1).acquire(0, 0)
        assert 100 <= (world.runtime.now() - started_ns) // MS < 150
        assert grant.ttl_ms == 988

    world.run(act)


def test_a_majority_that_took_as_long_as_the_grant_lasts_is_none() -> None:
    world = redlock_world(ttl_ms=100, server_timeout_ms=99)

    async def act() -> None:
        await world.cluster.pause(frozenset({"n1", "n2"}))
        with pytest.raises(Definite, match="not granted"):
            await world.client(1).acquire(0, 0)
        assert await world.holder(nodes=world.names[2:]) == [None] * 3

    world.run(act)


def test_a_release_that_a_majority_has_not_answered_is_indefinite_and_one_that_none_got_is_not() -> None:
    world = redlock_world(ttl_ms=10_000)

    async def act() -> None:
        client = world.client(1)
        await client.acquire(0, 0)
        await world.cluster.pause(frozenset(world.names[:3]))
        with pytest.raises(Indefinite, match="3 of 5"):
            await client.release(0, None)
        await world.cluster.resume(frozenset(world.names[:3]))
        await client.release(0, None)  # it still may try: what is left is removed
        await client.acquire(0, 0)
        await world.cluster.kill(frozenset(world.names))
        await world.sleep_ms(10)  # until the client has heard of it: before, it would have sent something
        with pytest.raises(Definite, match="5 of 5"):
            await client.release(0, None)

    world.run(act)


def test_a_renewal_by_a_minority_ends_the_lock_and_one_in_doubt_is_indefinite() -> None:
    world = redlock_world(ttl_ms=5_000)

    async def act() -> None:
        client = world.client(1)
        await client.acquire(0, 0)
        for name in world.names[:2]:
            await world.ask("DEL", "lock:0", node=name)
        assert (await client.renew(0, None)).ttl_ms == 4_948
        await world.cluster.pause(frozenset({"n3"}))
        with pytest.raises(Indefinite, match="only 2 of 5"):
            await client.renew(0, None)
        await world.cluster.resume(frozenset({"n3"}))
        await world.ask("DEL", "lock:0", node="n3")
        with pytest.raises(Definite, match="no longer held"):
            await client.renew(0, None)
        with pytest.raises(Definite, match="does not hold"):
            await world.client(2).renew(0, None)

    world.run(act)


def test_the_watchdog_renews_on_all_servers() -> None:
    world = redlock_world(watchdog=True)

    async def act() -> None:
        client = world.client(1)
        assert (await client.acquire(0, 0)).ttl_ms is None
        await world.sleep_ms(4_000)
        assert await world.holder() == ["p1/1"] * 5
        await client.close()
        await world.sleep_ms(1_100)
        assert await world.holder() == [None] * 5

    world.run(act)


def test_clocks_of_a_majority_that_jump_give_the_lock_to_a_second_client() -> None:
    world = redlock_world()

    async def act() -> None:
        await world.client(1).acquire(0, 0)
        for name in world.names[:3]:
            world.set_clock(name, 2_000)
        assert (await world.client(2).acquire(0, 0)).ttl_ms == 988

    world.run(act)


@pytest.mark.parametrize(("restart_delay_ms", "granted"), [(0, True), (1000, False)])
def test_forgetful_servers_complete_a_second_majority_unless_they_stay_away(
    restart_delay_ms: int, granted: bool
) -> None:
    world = redlock_world(persistence="none", restart_delay_ms=restart_delay_ms)

    async def act() -> None:
        await world.client(1).acquire(0, 0)
        believed_until_ns = world.runtime.now() + 988 * MS
        await world.restart(*world.names[:3])
        second = world.client(2)
        if granted:
            await second.acquire(0, 0)
        else:
            with pytest.raises(Definite):
                await second.acquire(0, 500)
            await second.acquire(0, 2_000)
        assert (world.runtime.now() < believed_until_ns) is granted

    world.run(act)


def test_a_server_that_stays_away_sleeps_before_it_runs() -> None:
    target = Redlock(RedlockOptions(persistence="none", restart_delay_ms=1_500), seed=1)
    here = Endpoint("127.0.0.1", 7001)
    shell, flag, script = target.command(Node("n1", 0, here, here, {}, "/data dir", "run"))
    assert (shell, flag) == ("sh", "-c")
    started = "'/data dir/started'"
    assert (
        f"if [ -e {started} ]; then sleep 1.500; else : > {started} && sync {started} || exit 1; fi;"
        in script
    )
    command = shlex.split(script.rpartition("exec ")[2])
    assert command[:3] == ["redis-server", "--dir", "/data dir"]
    assert command[-2:] == ["--appendonly", "no"]


def test_a_cancelled_acquire_leaves_no_task_that_fails_the_run() -> None:
    world = redlock_world()

    async def act() -> None:
        client = world.client(1)
        await world.cluster.pause(frozenset(world.names))
        task = world.runtime.spawn(client.acquire(0, 0), name="acquire")
        await world.sleep_ms(20)
        task.cancel()
        with pytest.raises(Cancelled):
            await task.wait()
        await client.close()
        await world.sleep_ms(1_000)

    world.run(act)
