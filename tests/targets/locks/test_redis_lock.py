"""The lock on one Redis server, under interleavings of our choosing."""

from __future__ import annotations

from typing import Any

import pytest
from tests.targets.locks.redis_worlds import MS, World

from foreshock.harness.errors import Definite, Indefinite
from foreshock.targets.locks.bugs import DeletesWithoutComparingToken, ExpiryOnClientClock
from foreshock.targets.locks.redis_lock import RedisLock, RedisLockOptions
from foreshock.targets.reference.bugs.raft import VoteNotPersisted


def lock_world(bug: type[Any] | None = None, **options: Any) -> World:
    target = RedisLock(RedisLockOptions(**{"ttl_ms": 1000, **options}), seed=1)
    target.bug = bug
    return World(target)


def test_one_holder_at_a_time_and_the_next_after_its_release() -> None:
    world = lock_world()

    async def act() -> None:
        first, second = world.client(1), world.client(2)
        grant = await first.acquire(0, 0)
        assert (grant.token, grant.ttl_ms) == (None, 1000)
        with pytest.raises(Definite, match="it is held"):
            await second.acquire(0, 100)
        await first.release(0, None)
        assert await world.holder() == [None]
        await second.acquire(0, 0)
        assert await world.holder() == ["p2/2"]

    world.run(act)


def test_a_waiting_acquire_gets_the_lock_when_it_runs_out_and_its_wait_counts_not_as_validity() -> None:
    world = lock_world()

    async def act() -> None:
        await world.client(1).acquire(0, 0)
        called_ns = world.runtime.now()
        grant = await world.client(2).acquire(0, 2_000)
        waited_ms = (world.runtime.now() - called_ns) // MS
        assert 950 < waited_ms < 1_200
        # The process counts from its call: the end is a time to live after the try that won, and no later.
        left_ms = await world.ask("PTTL", "lock:0")
        assert waited_ms < grant.ttl_ms <= waited_ms + 1000
        assert called_ns + grant.ttl_ms * MS <= world.runtime.now() + left_ms * MS

    world.run(act)


def test_owners_are_unique_per_acquisition() -> None:
    world = lock_world()

    async def act() -> list[str]:
        client, seen = world.client(3), []
        for _ in range(3):
            await client.acquire("k", 0)
            seen += await world.holder("k")
            await client.release("k", None)
        return seen

    assert world.run(act) == ["p3/1", "p3/2", "p3/3"]


@pytest.mark.parametrize("bug", [None, DeletesWithoutComparingToken])
def test_a_late_release_leaves_the_lock_of_the_next_holder_alone_unless_it_does_not_compare(
    bug: type[Any] | None,
) -> None:
    world = lock_world(bug)

    async def act() -> None:
        late, next_one = world.client(1), world.client(2)
        await late.acquire(0, 0)
        await world.sleep_ms(1_100)
        await next_one.acquire(0, 0)
        if bug is None:
            with pytest.raises(Definite, match="no longer held"):
                await late.release(0, None)
            assert await world.holder() == ["p2/1"]
        else:
            await late.release(0, None)
            assert await world.holder() == [None]

    world.run(act)


def test_renewal_extends_the_lock_and_fails_once_it_is_somebody_elses() -> None:
    world = lock_world()

    async def act() -> None:
        client = world.client(1)
        await client.acquire(0, 0)
        for _ in range(3):
            await world.sleep_ms(700)
            assert (await client.renew(0, None)).ttl_ms == 1000
        await world.sleep_ms(1_100)
        with pytest.raises(Definite, match="no longer held"):
            await client.renew(0, None)
        with pytest.raises(Definite, match="does not hold"):
            await world.client(2).renew(0, None)
        with pytest.raises(Definite, match="does not hold"):
            await world.client(2).release(0, None)

    world.run(act)


def test_a_grant_that_arrives_after_its_time_is_given_back() -> None:
    world = lock_world()

    async def act() -> None:
        client = world.client(1)
        await world.ask("PING")
        await world.cluster.pause(frozenset({"n1"}))

        async def resume_later() -> None:
            await world.sleep_ms(1_500)
            await world.cluster.resume(frozenset({"n1"}))

        world.runtime.spawn(resume_later(), name="resume")
        with pytest.raises(Definite, match="too late"):
            await client.acquire(0, 0)
        assert await world.holder() == [None]
        with pytest.raises(Definite, match="does not hold"):
            await client.release(0, None)

    world.run(act)


def test_an_acquire_whose_answer_is_lost_is_indefinite_and_one_that_was_never_sent_is_not() -> None:
    world = lock_world()

    async def act() -> None:
        await world.cluster.pause(frozenset({"n1"}))
        with pytest.raises(Indefinite, match="no answer"):
            await world.client(1, timeout_ms=500).acquire(0, 0)
        await world.cluster.resume(frozenset({"n1"}))
        await world.sleep_ms(20)
        assert await world.holder() == ["p1/1"]  # it did happen
        await world.cluster.kill(frozenset({"n1"}))
        with pytest.raises(Definite, match="refused"):
            await world.client(2).acquire(0, 200)

    world.run(act)


def test_a_client_outlives_a_restart_of_its_server() -> None:
    world = lock_world(ttl_ms=10_000)

    async def act() -> None:
        client = world.client(1)
        await client.acquire(0, 0)
        await world.restart("n1")
        assert (await client.renew(0, None)).ttl_ms == 10_000
        await client.release(0, None)
        assert await world.holder() == [None]

    world.run(act)


@pytest.mark.parametrize(
    ("persistence", "remembers"), [("none", False), ("aof-everysec", True), ("aof-always", True)]
)
def test_a_killed_server_remembers_what_its_persistence_says(persistence: str, remembers: bool) -> None:
    world = lock_world(persistence=persistence, tokens=True, ttl_ms=10_000)

    async def act() -> None:
        assert (await world.client(1).acquire(0, 0)).token == 1
        await world.restart("n1")
        assert await world.holder() == (["p1/1"] if remembers else [None])
        if not remembers:  # and so the next token is no newer: fencing is as durable as its counter
            assert (await world.client(2).acquire(0, 0)).token == 1

    world.run(act)


def test_tokens_grow_with_every_grant_and_with_no_refusal() -> None:
    world = lock_world(tokens=True)

    async def act() -> None:
        tokens = []
        for process in range(4):
            client = world.client(process)
            tokens.append((await client.acquire(0, 0)).token)
            with pytest.raises(Definite):
                await world.client(9).acquire(0, 0)
            assert (await client.renew(0, tokens[-1])).token == tokens[-1]
            await client.release(0, tokens[-1])
        assert tokens == [1, 2, 3, 4]

    world.run(act)


def test_the_watchdog_keeps_the_lock_until_its_release_and_no_longer() -> None:
    world = lock_world(watchdog=True)

    async def act() -> None:
        client = world.client(1)
        assert (await client.acquire(0, 0)).ttl_ms is None
        await world.sleep_ms(5_000)
        assert await world.holder() == ["p1/1"]
        await client.release(0, None)
        assert await world.holder() == [None]
        await client.acquire(0, 0)
        await client.close()
        await world.sleep_ms(1_100)
        assert await world.holder() == [None]

    world.run(act)


def test_the_watchdog_outlives_lost_renewals_and_lets_go_of_a_lock_that_is_gone() -> None:
    world = lock_world(watchdog=True)

    async def act() -> None:
        client = world.client(1)
        await client.acquire(0, 0)
        await world.cluster.pause(frozenset({"n1"}))
        await world.sleep_ms(400)  # one renewal gets no answer in time
        await world.cluster.resume(frozenset({"n1"}))
        await world.sleep_ms(2_000)
        assert await world.holder() == ["p1/1"]
        await world.ask("SET", "lock:0", "somebody else")
        await world.sleep_ms(1_000)
        assert await world.ask("PTTL", "lock:0") == -1  # it was not touched

    world.run(act)


def test_a_server_whose_clock_jumps_forward_grants_a_lock_that_is_still_believed_in() -> None:
    world = lock_world()

    async def act() -> None:
        await world.client(1).acquire(0, 0)
        world.set_clock("n1", 2_000)
        assert (await world.client(2).acquire(0, 0)).ttl_ms == 1000

    world.run(act)


@pytest.mark.parametrize(("skew_ms", "taken_over"), [(0, False), (100_000, True)])
def test_expiry_on_the_clients_clock_lets_a_fast_clock_take_over(skew_ms: int, taken_over: bool) -> None:
    world = lock_world(ExpiryOnClientClock, client_clock_skew_ms=skew_ms)

    async def act() -> None:
        clients = sorted((world.client(n) for n in range(6)), key=lambda client: client._wall_ms())
        slow, fast = clients[0], clients[-1]
        await slow.acquire(0, 0)
        assert (await slow.renew(0, None)).ttl_ms == 1000
        if taken_over:
            await fast.acquire(0, 0)
            with pytest.raises(Definite, match="no longer held"):
                await slow.renew(0, None)
            with pytest.raises(Definite, match="no longer held"):
                await slow.release(0, None)
        else:
            with pytest.raises(Definite, match="it is held"):
                await fast.acquire(0, 0)
            await world.sleep_ms(1_100)
            await fast.acquire(0, 0)
            await fast.release(0, None)
            assert await world.holder() == [None]

    world.run(act)


def test_the_watchdog_of_the_lock_by_client_clocks_has_a_connection_of_its_own() -> None:
    world = lock_world(ExpiryOnClientClock, watchdog=True)

    async def act() -> None:
        client = world.client(1)
        await client.acquire(0, 0)
        for _ in range(30):  # commands of the process and renewals in the background, all at once
            await world.sleep_ms(100)
            with pytest.raises(Definite):
                await client.acquire(0, 0)
        assert str((await world.holder())[0]).endswith(" p1/1")

    world.run(act)


def test_it_takes_its_own_bugs_and_no_others() -> None:
    assert RedisLock.takes_bug("lock/deletes-without-comparing-token", DeletesWithoutComparingToken)
    assert not RedisLock.takes_bug("raft/vote-not-persisted", VoteNotPersisted)
