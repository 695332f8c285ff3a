"""Five real processes: kill -9 of the leader in the middle of a retry loses nothing and repeats nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.runtime import Runtime
from foreshock.harness.target import ClientContext

MakeRealCluster = Callable[..., Any]
DEADLINE_NS = 40_000_000_000


def client(cluster: Any, runtime: Runtime, service: str, *, process: int = 0) -> Any:
    context = ClientContext(
        runtime=runtime,
        node=cluster.nodes[process % len(cluster.nodes)],
        nodes=cluster.nodes,
        process=process,
        identity=f"c{process}",
        timeout_ms=15_000,
    )
    return cluster.target.client(service, context)


async def up(cluster: Any, runtime: Runtime) -> None:
    for node in cluster.nodes:
        while not await cluster.target.ready(node, runtime):
            await runtime.sleep(20_000_000)
    await cluster.target.set_up(cluster, runtime)


async def leader(cluster: Any, runtime: Runtime) -> str:
    while True:
        leaders = await cluster.target.primaries(cluster, runtime)
        if leaders:
            return str(min(leaders))
        await runtime.sleep(20_000_000)


def test_the_cluster_goes_on_through_kill_9_of_its_leader_and_takes_it_back(
    make_real_cluster: MakeRealCluster,
) -> None:
    cluster = make_real_cluster(5)
    runtime = AsyncioRuntime(1)

    async def go() -> None:
        await up(cluster, runtime)
        registers = client(cluster, runtime, "register")
        cache = client(cluster, runtime, "cache", process=1)
        await registers.open()
        await cache.open()
        await registers.write("x", 1)
        await cache.put("k", "v")
        first = await leader(cluster, runtime)
        cluster.kill(first)
        await registers.cas("x", 1, 2)
        assert await cache.get("k") == "v"
        assert cache.hits == 1
        cluster.start(first)
        second = await leader(cluster, runtime)
        assert second != first
        cluster.kill(second)
        assert await registers.read("x") == 2
        cluster.start(second)
        assert await cache.get("k") == "v"

    runtime.run(runtime.timeout(go(), DEADLINE_NS))


def test_a_retry_after_the_leader_was_killed_is_answered_from_the_sessions(
    make_real_cluster: MakeRealCluster,
) -> None:
    cluster = make_real_cluster(3)
    runtime = AsyncioRuntime(1)

    async def go() -> None:
        await up(cluster, runtime)
        first = await leader(cluster, runtime)
        raw = cluster.raw(first)
        session = raw.ask(type="open")["client"]
        put = {"type": "put", "key": "k", "value": 1, "client": session, "seq": 1}
        version = raw.ask(**put)["version"]
        raw.close()
        cluster.kill(first)
        again = cluster.raw(await leader(cluster, runtime))
        assert again.ask(**put)["version"] == version
        assert again.ask(**{**put, "seq": 2})["version"] == version + 1
        again.close()

    runtime.run(runtime.timeout(go(), DEADLINE_NS))


def test_everything_survives_kill_9_of_all_nodes_at_once(make_real_cluster: MakeRealCluster) -> None:
    cluster = make_real_cluster(3)
    runtime = AsyncioRuntime(1)

    async def go() -> None:
        await up(cluster, runtime)
        registers = client(cluster, runtime, "register")
        for value in range(1, 10):
            await registers.write("x", value)
        for node in cluster.nodes:
            cluster.kill(node.name)
        cluster.start(*(node.name for node in cluster.nodes))
        assert await registers.read("x") == 9

    runtime.run(runtime.timeout(go(), DEADLINE_NS))


def test_a_lock_is_handed_on_by_release_and_by_the_end_of_its_session(
    make_real_cluster: MakeRealCluster,
) -> None:
    cluster = make_real_cluster(3)
    runtime = AsyncioRuntime(1)

    async def go() -> None:
        await up(cluster, runtime)
        one, other = (client(cluster, runtime, "lock", process=p) for p in range(2))
        grant = await one.acquire("k", 0)
        waiting = runtime.spawn(other.acquire("k", 10_000), name="waiting")
        await one.renew("k", grant.token)
        await one.release("k", grant.token)
        second = await waiting.wait()
        assert second.token > grant.token
        # The owner falls silent: its session ends after lock_ttl_ms (1 s) and the margin, and the lock is free again.
        third = await one.acquire("k", 8_000)
        assert third.token > second.token

    runtime.run(runtime.timeout(go(), DEADLINE_NS))


def test_membership_and_leadership_change_by_request(make_real_cluster: MakeRealCluster) -> None:
    cluster = make_real_cluster(3)
    runtime = AsyncioRuntime(1)

    async def go() -> None:
        await up(cluster, runtime)
        first = await leader(cluster, runtime)
        heir = next(node.name for node in cluster.nodes if node.name != first)
        await cluster.target.transfer_leadership(cluster, runtime, heir)
        assert await leader(cluster, runtime) == heir
        members = await cluster.target.remove_member(cluster, runtime, first)
        assert sorted(members) == sorted({node.name for node in cluster.nodes} - {first})
        members = await cluster.target.add_member(cluster, runtime, first)
        assert sorted(members) == ["n1", "n2", "n3"]

    runtime.run(runtime.timeout(go(), DEADLINE_NS))


def test_a_paused_leader_is_replaced_and_asked_again_when_it_is_back(
    make_real_cluster: MakeRealCluster,
) -> None:
    cluster = make_real_cluster(3)
    runtime = AsyncioRuntime(1)

    async def go() -> None:
        await up(cluster, runtime)
        registers = client(cluster, runtime, "register")
        await registers.write("x", 1)
        first = await leader(cluster, runtime)
        cluster.signal(first, signal.SIGSTOP)
        await registers.write("x", 2)
        assert first not in await cluster.target.primaries(cluster, runtime)
        cluster.signal(first, signal.SIGCONT)
        assert await registers.read("x") == 2

    runtime.run(runtime.timeout(go(), DEADLINE_NS))
