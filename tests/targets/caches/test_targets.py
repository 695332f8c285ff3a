"""The cache targets in the simulator: clients, options, figures, and the findings that the documentation names."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foreshock.harness.analysis import analyze
from foreshock.harness.backends.sim import SimBackend
from foreshock.harness.cluster import ClusterSpecification, Node
from foreshock.harness.errors import Definite, Indefinite, UsageError
from foreshock.harness.exhibit import Exhibit
from foreshock.harness.options import parse_options
from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.request import Request
from foreshock.harness.runner import run_test
from foreshock.harness.simulation.knobs import SimKnobs
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.harness.store import Store
from foreshock.harness.target import ClientContext
from foreshock.targets.caches.disk_cache import DiskCache
from foreshock.targets.caches.memory_cache import MemoryCache
from foreshock.targets.caches.redis_cache import RedisCache

TARGETS = (MemoryCache, DiskCache, RedisCache)
MODES = ("aside", "leases", "write-through", "linearizable")
MS = 1_000_000


class World:
    """One target on a quiet network."""

    def __init__(self, cls: type[Any], **options: Any) -> None:
        self.runtime = SimRuntime(1, SimKnobs())
        self.target = cls(parse_options(cls.Options, options, owner="target"), seed=1)
        names = ("n1", "n2", "n3", "n4")
        specification = ClusterSpecification("run", self.target, names, Path("unused"), 1)
        self.cluster = SimBackend().cluster(specification, self.runtime)

    def run(self, act: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        async def go() -> Any:
            await self.cluster.deploy()
            return await act()

        return self.runtime.run(go())

    def client(self, process: int = 0) -> Any:
        nodes = self.cluster.nodes
        context = ClientContext(self.runtime, nodes[0], nodes, process, f"p{process}", 5_000)
        return self.target.client("cache", context)

    def owner(self, key: Any) -> str:
        return str(self.target.rings(self.cluster.nodes).ring.owners(key)[0])


@pytest.mark.parametrize("cls", TARGETS)
@pytest.mark.parametrize("mode", MODES)
def test_what_is_put_is_got_and_got_again_from_a_copy(cls: type[Any], mode: str) -> None:
    world = World(cls, mode=mode)

    async def act() -> None:
        one, other = world.client(0), world.client(1)
        assert await one.get("k") is None
        await one.put("k", {"a": [1, None]})
        assert await other.get("k") == {"a": [1, None]}
        assert await one.get("k") == {"a": [1, None]}
        await other.delete("k")
        assert await one.get("k") is None
        assert await one.get("k") is None
        for client in (one, other):
            await client.close()

    world.run(act)
    figures = world.target.figures()
    assert figures["writes"] == 2
    assert figures["hits"] >= 2
    assert figures["hits"] + figures["misses"] == 5
    assert figures["bypasses"] == 0
    assert figures["hit_rate"] == round(figures["hits"] / 5, 4)


@pytest.mark.parametrize("cls", TARGETS)
@pytest.mark.parametrize("mode", MODES)
def test_the_loss_of_a_node_costs_hits_and_no_writes(cls: type[Any], mode: str) -> None:
    world = World(cls, mode=mode)

    async def act() -> None:
        client = world.client()
        await client.put("k", 1)
        await world.cluster.kill(frozenset({"n2", "n3", "n4"}))
        assert await client.get("k") == 1
        await client.put("k", 2)
        assert await client.get("k") == 2
        await world.cluster.start(frozenset({"n2", "n3", "n4"}))
        await world.runtime.sleep(3_000 * MS)
        assert await client.get("k") == 2

    world.run(act)
    assert world.target.figures()["bypasses"] == 2


@pytest.mark.parametrize("mode", MODES)
def test_without_the_origin_a_write_certainly_fails_unless_a_node_took_it_on(mode: str) -> None:
    world = World(MemoryCache, mode=mode)

    async def act() -> None:
        client = world.client()
        await world.cluster.kill(frozenset({"n1"}))
        expected = Indefinite if mode == "write-through" else Definite
        with pytest.raises(expected):
            await client.put("k", 2)
        with pytest.raises(Definite):
            await client.get("never seen")

    world.run(act)


def test_a_write_that_was_not_answered_is_not_sent_again() -> None:
    world = World(MemoryCache, mode="aside")

    async def act() -> None:
        client = world.client()
        await client.put("k", 1)
        await world.cluster.pause(frozenset({"n1"}))
        with pytest.raises(Indefinite):
            await client.put("k", 2)
        await world.cluster.resume(frozenset({"n1"}))
        await world.runtime.sleep(100 * MS)
        assert await world.client(1).get("k") == 2

    world.run(act)


@pytest.mark.parametrize("cls", TARGETS)
def test_nodes_join_and_leave_and_clients_see_it_within_half_a_second(cls: type[Any]) -> None:
    world = World(cls, mode="aside")

    async def act() -> None:
        client, cluster, target, runtime = world.client(), world.cluster, world.target, world.runtime
        await client.put("k", 1)
        owner = world.owner("k")
        assert client.owners("k") == [owner]
        await target.remove_member(cluster, runtime, owner)
        assert owner not in await target.members(cluster, runtime)
        assert client.owners("k") == [owner]
        await runtime.sleep(500 * MS)
        assert client.owners("k") != [owner]
        assert await client.get("k") == 1
        await target.add_member(cluster, runtime, owner)
        await runtime.sleep(500 * MS)
        assert client.owners("k") == [owner]
        for name in ("n1", "n9"):
            with pytest.raises(Definite):
                await target.remove_member(cluster, runtime, name)

    world.run(act)


def test_replicas_share_the_reads_of_a_key_and_all_of_them_are_invalidated() -> None:
    world = World(MemoryCache, mode="leases", replicas=2)

    async def act() -> None:
        one, other = world.client(0), world.client(1)
        assert one.owners("k") == other.owners("k")[::-1]
        await one.put("k", 1)
        for client in (one, other):
            assert await client.get("k") == 1
        await one.put("k", 2)
        for client in (one, other):
            assert await client.get("k") == 2

    world.run(act)


@pytest.mark.parametrize(
    ("mode", "stated"),
    [
        ("aside", {"consistency": "bounded-staleness", "staleness_bound_ms": 2_400}),
        ("leases", {"consistency": "bounded-staleness", "staleness_bound_ms": 2_400}),
        ("write-through", {"consistency": "session", "staleness_bound_ms": 2_400}),
        ("linearizable", {"consistency": "linearizable", "staleness_bound_ms": 0}),
    ],
)
def test_the_workload_checks_what_the_mode_promises(mode: str, stated: dict[str, Any]) -> None:
    request = Request(target="memory-cache", workload="cache", backend="sim", options={"mode": mode})
    planned = resolve(request).plan.options["workload"]
    assert {name: planned[name] for name in stated} == stated
    stronger = {**request.options, "workload.consistency": "linearizable"}
    planned = resolve(msgspec.structs.replace(request, options=stronger)).plan.options["workload"]
    assert planned["consistency"] == "linearizable"


def test_copies_that_never_run_out_are_as_old_as_they_like() -> None:
    request = Request(target="memory-cache", workload="cache", options={"mode": "aside", "ttl_ms": 0})
    planned = resolve(msgspec.structs.replace(request, backend="sim")).plan.options["workload"]
    assert planned["staleness_bound_ms"] == 86_400_000


def test_a_target_that_states_nothing_is_held_to_linearizability() -> None:
    plan = resolve(Request(target="raft", workload="cache", backend="sim")).plan
    assert plan.options["workload"]["consistency"] == "linearizable"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"origin": "postgresql://me:secret@host/db"}, "PGPASSFILE"),
        ({"origin": "postgresql://host/db"}, "USER@HOST"),
        ({"origin": "oracle"}, "sqlite"),
        ({"mode": "write-through", "ttl_ms": 0}, "ttl_ms"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        World(MemoryCache, **options)
    assert "secret" not in str(refused.value)


def test_a_password_is_in_no_command_and_an_origin_elsewhere_is_not_simulated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = World(MemoryCache, origin="postgresql://me@host/db").target
    node = Node(
        name="n1",
        index=0,
        endpoint=None,  # type: ignore[arg-type]
        listen=type("Listen", (), {"host": "127.0.0.1", "port": 7000})(),  # type: ignore[arg-type]
        peers={},
        data_directory="/data",
        cluster="c",
    )
    monkeypatch.setenv("PGPASSWORD", "secret")
    command = target.command(node)
    assert not any("secret" in word for word in command)
    assert target.environment(node) == {"PGPASSWORD": "secret"}
    assert target.environment(msgspec.structs.replace(node, index=1)) == {}
    assert World(MemoryCache).target.environment(node) == {}
    assert "database=postgresql://me@host/db" in command
    assert target.simulate(node, None) is None


def test_every_bug_of_a_cache_has_its_exhibit() -> None:
    planted = {exhibit.request.bug for cls in TARGETS for exhibit in cls.exhibits} - {None}
    assert planted == {
        "cache/stale-set-after-invalidation",
        "cache/invalidation-lost-in-partition",
        "cache/lease-ignores-drift",
        "cache/disk-entry-trusted-after-restart",
        "cache/write-behind-lost-on-crash",
    }


def verdict_of(exhibit: Exhibit, tmp_path: Path, **changes: Any) -> str:
    """The verdict of the exhibit's first test."""
    request = msgspec.structs.replace(exhibit.request, backend="sim", seed=0, **changes)
    return run_test(resolve(request), Store(tmp_path), SilentProgress(), report=False).judgement.verdict


def test_cache_aside_keeps_a_stale_copy_and_fill_leases_and_read_leases_do_not(tmp_path: Path) -> None:
    (exhibit,) = [one for one in MemoryCache.exhibits if one.name == "memory-cache/aside-keeps-a-stale-copy"]
    assert verdict_of(exhibit, tmp_path) == "invalid"
    for mode in ("leases", "linearizable"):
        options = {**exhibit.request.options, "mode": mode}
        assert verdict_of(exhibit, tmp_path, options=options) == "valid"


def test_a_write_behind_is_noticed_only_when_a_node_is_killed(tmp_path: Path) -> None:
    (exhibit,) = [one for one in MemoryCache.exhibits if one.name == "cache/write-behind-lost-on-crash"]
    assert exhibit.request.nemesis == "kill"
    assert verdict_of(exhibit, tmp_path, nemesis="none", time_limit=10.0) == "valid"


def test_a_run_says_its_hit_rate_and_says_it_again_when_it_is_analyzed(tmp_path: Path) -> None:
    request = Request(target="memory-cache", workload="cache", backend="sim", seed=1, time_limit=2.0)
    outcome = run_test(resolve(request), Store(tmp_path), SilentProgress(), report=False)
    figures = outcome.judgement.figures
    assert 0 < figures["hit_rate"] < 1
    assert 0 < figures["origin_requests_per_operation"] < 1
    assert analyze(outcome.run, report=False).judgement.figures == figures
