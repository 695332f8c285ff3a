"""The node in the simulator: retries through kills and partitions take effect once, and all nodes agree."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.backends.sim import SimBackend, SimCluster
from foreshock.harness.cluster import ClusterSpecification
from foreshock.harness.errors import DeployError, OperationError
from foreshock.harness.runtime import TimeoutExpired
from foreshock.harness.simulation.knobs import SimKnobs
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.harness.target import ClientContext
from foreshock.targets.reference.node.configuration import load_bug
from foreshock.targets.reference.raft_options import RaftOptions
from foreshock.targets.reference.raft_target import Raft
from foreshock.targets.reference.simulated import SimulatedNode

SECOND = 1_000_000_000
NAMES = ("n1", "n2", "n3", "n4", "n5")


class Test:
    """Five simulated nodes of one seed, their target and clients."""

    __test__ = False

    def __init__(self, seed: int, bug: str | None = None, knobs: SimKnobs | None = None) -> None:
        self.runtime = SimRuntime(seed, knobs)
        self.target = Raft(RaftOptions(lock_ttl_ms=800), seed=seed)
        self.target.bug = None if bug is None else load_bug(bug)
        specification = ClusterSpecification("run", self.target, NAMES, Path("unused"), seed)
        self.cluster: SimCluster = SimBackend().cluster(specification, self.runtime)
        self.programs: dict[str, SimulatedNode] = {}
        self.runtime.world.after_step = self._stepped

    def _stepped(self, name: str, program: Any) -> None:
        self.programs[name] = program

    def client(self, service: str, process: int = 0) -> Any:
        nodes = self.cluster.nodes
        context = ClientContext(self.runtime, nodes[process % 5], nodes, process, f"c{process}", 20_000)
        return self.target.client(service, context)

    def run(self, act: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        async def go() -> Any:
            await self.cluster.deploy()
            await self.target.set_up(self.cluster, self.runtime)
            return await act()

        return self.runtime.run(go())

    async def harm(self) -> None:
        """Kill, pause and cut minorities, for ever."""
        rng = self.runtime.random("harm")
        while True:
            await self.runtime.sleep(rng.below(SECOND))
            victims = frozenset(rng.sample(NAMES, 2))
            rest = frozenset(NAMES) - victims
            match rng.below(3):
                case 0:
                    await self.cluster.kill(victims)
                case 1:
                    await self.cluster.pause(victims)
                case _:
                    await self.cluster.cut({**dict.fromkeys(victims, rest), **dict.fromkeys(rest, victims)})
            await self.runtime.sleep(SECOND // 2 + rng.below(SECOND))
            await self.heal()

    async def heal(self) -> None:
        await self.cluster.cut({})
        await self.cluster.resume(frozenset(NAMES))
        await self.cluster.start(frozenset(NAMES))

    async def agree(self) -> list[Any]:
        """The state of the services on each node, once all have applied the same log."""
        for _ in range(500):
            nodes = [self.programs[name].node for name in NAMES]
            assert all(node is not None for node in nodes)
            if len({node.applied for node in nodes if node is not None}) == 1:
                return [node.sessions.snapshot()["services"] for node in nodes if node is not None]
            await self.runtime.sleep(SECOND // 20)
        raise AssertionError("the nodes did not come to the same log")


async def count_up(test: Test, process: int, acknowledged: list[int]) -> int:
    """Put to a key of its own, again and again; returns how many puts may have taken effect."""
    client = test.client("cache", process)
    await client.open()
    attempted = 0
    for value in range(1, 40):
        attempted += 1
        try:
            await test.runtime.timeout(client.put(process, value), 20 * SECOND)
        except (OperationError, TimeoutExpired):
            break
        acknowledged[process] = value
        await test.runtime.sleep(SECOND // 10)
    await client.close()
    return attempted


@pytest.mark.parametrize("seed", range(1, 9))
def test_every_put_takes_effect_once_through_kills_pauses_and_partitions(seed: int) -> None:
    """The origin counts its changes, so a put that was applied twice, or lost, shows in the count."""
    test = Test(seed)

    async def act() -> None:
        harm = test.runtime.spawn(test.harm(), name="harm")
        acknowledged = [0] * 6
        clients = [
            test.runtime.spawn(count_up(test, process, acknowledged), name=f"client {process}")
            for process in range(6)
        ]
        attempted = [await client.wait() for client in clients]
        harm.cancel()
        await test.heal()
        states = await test.agree()
        assert all(state == states[0] for state in states)
        changes = states[0]["cache"]["changes"]
        assert sum(acknowledged) <= changes <= sum(attempted)
        values = {key: value for key, _, value in states[0]["cache"]["values"]}
        for process in range(6):
            assert acknowledged[process] <= values.get(process, 0) <= attempted[process]

    test.run(act)
    assert test.runtime.world.program_errors == []


def test_the_same_count_convicts_a_node_that_applies_a_retry_twice() -> None:
    """The planted bug shows that the count above would notice."""
    surplus = 0
    for seed in range(1, 9):
        test = Test(seed, "raft/applies-retry-twice")

        async def act(test: Test = test) -> int:
            harm = test.runtime.spawn(test.harm(), name="harm")
            acknowledged = [0] * 6
            clients = [
                test.runtime.spawn(count_up(test, process, acknowledged), name=f"client {process}")
                for process in range(6)
            ]
            attempted = [await client.wait() for client in clients]
            harm.cancel()
            await test.heal()
            states = await test.agree()
            return max(0, int(states[0]["cache"]["changes"]) - sum(attempted))

        surplus += test.run(act)
    assert surplus > 0


def test_a_lock_is_never_held_by_two_who_believe() -> None:
    """Belief as the workload counts it: until ``ttl_ms`` after the call of the last acknowledged acquire or renewal."""
    for seed in range(1, 4):
        test = Test(seed)
        beliefs: list[tuple[int, int, int]] = []

        async def contend(
            process: int, test: Test = test, beliefs: list[tuple[int, int, int]] = beliefs
        ) -> None:
            locks = test.client("lock", process)
            rng = test.runtime.random(f"process {process}")
            for _ in range(12):
                called_ns = test.runtime.now()
                try:
                    grant = await locks.acquire("k", 10_000)
                    began_ns = test.runtime.now()
                    until_ns = called_ns + grant.ttl_ms * 1_000_000
                    if rng.chance(1, 4):
                        locks = test.client("lock", process)  # falls silent, as if it had died
                    else:
                        await test.runtime.sleep(rng.below(SECOND // 5))
                        called_ns = test.runtime.now()
                        await locks.renew("k", grant.token)
                        until_ns = called_ns + grant.ttl_ms * 1_000_000
                        until_ns = min(until_ns, test.runtime.now())
                        await locks.release("k", grant.token)
                    if began_ns < until_ns:
                        beliefs.append((began_ns, until_ns, grant.token))
                except OperationError:
                    locks = test.client("lock", process)

        async def act(test: Test = test, contend: Any = contend) -> None:
            harm = test.runtime.spawn(test.harm(), name="harm")
            contenders = [test.runtime.spawn(contend(p), name=f"contender {p}") for p in range(4)]
            for contender in contenders:
                await contender.wait()
            harm.cancel()

        test.run(act)
        beliefs.sort()
        assert len(beliefs) > 12
        for (_, until_ns, token), (began_ns, _, next_token) in pairwise(beliefs):
            assert until_ns <= began_ns
            assert token < next_token


def test_a_node_whose_disk_is_corrupt_ends_with_a_sentence() -> None:
    test = Test(1)

    async def act() -> None:
        client = test.client("register")
        for value in range(1, 20):
            await client.write("k", value)
        await test.cluster.kill(frozenset({"n1"}))
        disk = test.cluster.world.machine("n1").disk
        data = bytearray(disk.read("log"))
        data[len(data) // 2] ^= 1
        disk.replace("log", bytes(data))
        await test.cluster.start(frozenset({"n1"}))
        await client.write("k", 99)
        assert await client.read("k") == 99

    test.run(act)
    assert (test.runtime.world.states())["n1"] == "crashed"
    assert any("at byte" in line for line in test.runtime.world.logs("n1"))


def test_a_node_begins_once_what_it_finds_is_durable() -> None:
    test = Test(3)
    durable_when_it_began: list[bool] = []

    def stepped(name: str, program: Any) -> None:
        if name == "n1" and program.node is not None:
            durable_when_it_began.append(test.cluster.world.machine("n1").disk.is_durable("log"))
            test.runtime.world.after_step = None

    async def act() -> None:
        client, disk = test.client("register", 1), test.cluster.world.machine("n1").disk
        await client.write("k", 1)
        await test.cluster.kill(frozenset({"n1"}))
        disk.replace("log", disk.read("log"))  # as if it had been killed before the sync
        assert not disk.is_durable("log")
        test.runtime.world.after_step = stepped
        await test.cluster.start(frozenset({"n1"}))
        await client.write("k", 2)
        assert await test.client("register", 0).read("k") == 2

    test.run(act)
    assert durable_when_it_began == [True]


def test_a_full_disk_ends_nodes_and_breaks_no_promise() -> None:
    test = Test(2, knobs=SimKnobs(disk_capacity_bytes=20_000))

    async def act() -> int:
        client = test.client("register")
        acknowledged = 0
        for value in range(1, 200):
            try:
                await client.write("k", {"value": value, "ballast": "x" * 500})
            except OperationError:
                break
            acknowledged = value
        for name in NAMES:
            test.cluster.world.machine(name).disk.capacity_bytes = None
        await test.heal()
        value = (await test.client("register", 1).read("k"))["value"]
        assert acknowledged <= value <= acknowledged + 1
        return acknowledged

    assert 0 < test.run(act) < 199
    assert any("full" in line for name in NAMES for line in test.runtime.world.logs(name))


def test_a_cluster_without_a_majority_is_not_called_ready() -> None:
    test = Test(1)

    async def act() -> None:
        await test.cluster.kill(frozenset(NAMES[:3]))
        await test.runtime.sleep(5 * SECOND)
        with pytest.raises(DeployError, match="elected no leader within 20 s"):
            await test.target.set_up(test.cluster, test.runtime)

    test.run(act)


def test_members_and_leaders_change_by_request_in_the_simulator_too() -> None:
    test = Test(3)

    async def act() -> None:
        cluster, runtime = test.cluster, test.runtime
        (first,) = await test.target.primaries(cluster, runtime)
        heir = next(name for name in NAMES if name != first)
        await test.target.transfer_leadership(cluster, runtime, heir)
        await runtime.sleep(SECOND)
        assert await test.target.primaries(cluster, runtime) == {heir}
        members = await test.target.remove_member(cluster, runtime, first)
        assert sorted(members) == sorted(set(NAMES) - {first})
        assert sorted(await test.target.add_member(cluster, runtime, first)) == list(NAMES)

    test.run(act)


def test_one_seed_gives_one_course_of_events() -> None:
    def course() -> tuple[int, int, Any]:
        test = Test(4)

        async def act() -> Any:
            harm = test.runtime.spawn(test.harm(), name="harm")
            await count_up(test, 0, [0])
            harm.cancel()
            await test.heal()
            return await test.agree()

        states = test.run(act)
        return test.runtime.now(), test.runtime.world.events, states

    assert course() == course()
