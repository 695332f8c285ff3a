"""The backend of simulated nodes: deploy, capabilities, logs, teardown, and what it says when it cannot."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.backends.sim import SimBackend, SimCluster
from foreshock.harness.capabilities import Clock, Kill, LinkShape, Partition, Pause, PowerCut, Shape
from foreshock.harness.cluster import ClusterSpecification, Endpoint, Node, capability
from foreshock.harness.errors import DeployError, FaultError, HarnessError, UsageError
from foreshock.harness.options import Options
from foreshock.harness.runtime import Runtime
from foreshock.harness.simulation.knobs import SimKnobs
from foreshock.harness.simulation.program import Machine, Program
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.harness.target import Target

MS = 1_000_000


class Counter:
    """Counts requests on disk and answers with the count; a datagram is passed on to the log."""

    def __init__(self, node: Node, machine: Machine, broken: bool) -> None:
        self.machine = machine
        self.node = node
        self.broken = broken
        self.waiting: list[int] = []

    def on_start(self) -> None:
        if self.broken:
            raise RuntimeError("a bug at the start")
        self.machine.log(
            f"{self.node.name} of {self.node.cluster} keeps its data in {self.node.data_directory}"
        )

    def on_datagram(self, source: str, message: Any) -> None:
        self.machine.log(f"{source} says {message}")

    def on_open(self, connection: int, source: str, *, accepted: bool) -> None:
        self.machine.log(f"{source} connects")

    def on_message(self, connection: int, message: Any) -> None:
        if message.get("crash"):
            raise KeyError("crash")
        self.machine.disk.append("count", b"x")
        self.machine.disk.sync("count", connection)

    def on_close(self, connection: int) -> None:
        self.machine.log("a client went")

    def on_timer(self, token: Any) -> None:
        raise AssertionError("it has none")

    def on_synced(self, token: Any) -> None:
        self.machine.write(token, {"count": len(self.machine.disk.read("count"))})


class CounterTarget(Target[Options]):
    """Nodes that count."""

    broken = False
    never_ready = False
    declines = False

    def command(self, node: Node) -> Sequence[str]:
        return ["false"]

    def simulate(self, node: Node, machine: Machine) -> Program | None:
        return None if self.declines else Counter(node, machine, self.broken)

    async def ready(self, node: Node, runtime: Runtime) -> bool:
        return not self.never_ready and await super().ready(node, runtime)


class RealOnly(Target[Options]):
    """Cannot be simulated."""

    def command(self, node: Node) -> Sequence[str]:
        return ["true"]


class Bench:
    def __init__(
        self, tmp_path: Path, target: type[Target[Options]] = CounterTarget, **attributes: bool
    ) -> None:
        self.runtime = SimRuntime(1, SimKnobs())
        made = target(Options(), seed=1)
        for name, value in attributes.items():
            setattr(made, name, value)
        self.specification = ClusterSpecification(
            run="run-1",
            target=made,
            node_names=("n1", "n2", "n3"),
            directory=tmp_path,
            seed=1,
            ready_timeout_ms=2_000,
        )
        self.backend = SimBackend()

    def cluster(self) -> SimCluster:
        return self.backend.cluster(self.specification, self.runtime)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.runtime.run(coroutine)

    async def count(self, name: str) -> int:
        connection = await self.runtime.connect(Endpoint(name, 7000))
        await connection.send({"do": "count"})
        reply = await self.runtime.timeout(connection.receive(), 1_000 * MS)
        connection.close()
        return int(reply["count"])


def test_a_cluster_is_deployed_and_serves_and_leaves_its_logs(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    cluster = bench.cluster()

    async def main() -> None:
        await cluster.deploy()
        assert await cluster.states() == dict.fromkeys(("n1", "n2", "n3"), "running")
        assert [await bench.count("n2"), await bench.count("n2"), await bench.count("n1")] == [1, 2, 1]
        await cluster.fetch_logs(tmp_path / "nodes")
        await cluster.teardown()
        await cluster.teardown()
        assert await cluster.states() == {}

    bench.run(main())
    assert [node.name for node in cluster.nodes] == ["n1", "n2", "n3"]
    assert set(cluster.nodes[0].peers) == {"n2", "n3"}
    log = (tmp_path / "nodes" / "n2" / "node.log").read_text()
    assert "n2 of run-1 keeps its data in /n2/data" in log
    assert log.startswith("0.000000 -- started --\n")


def test_kill_pause_and_partition_are_offered_and_observed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    cluster = bench.cluster()
    n1, n2 = frozenset({"n1"}), frozenset({"n2"})

    async def main() -> None:
        await cluster.deploy()
        await bench.count("n1")
        await cluster.kill(n1)
        await cluster.kill(n1)
        await cluster.pause(n2)
        assert await cluster.running(frozenset({"n1", "n2"})) == {"n1": False, "n2": True}
        assert await cluster.paused(frozenset({"n1", "n2"})) == {"n1": False, "n2": True}
        await cluster.start(n1)
        await cluster.resume(n2)
        assert await cluster.running(n1) == {"n1": True}
        assert await cluster.paused(n2) == {"n2": False}
        assert await bench.count("n1") == 2, "what was synced survived"
        await cluster.cut({"n1": n2})
        pairs = frozenset({("n2", "n1"), ("n1", "n2")})
        assert await cluster.heard(pairs) == {("n1", "n2"): True, ("n2", "n1"): False}
        await cluster.cut({})
        assert all((await cluster.heard(pairs)).values())

    bench.run(main())
    for kind in (Kill, Pause, Partition):
        assert kind in bench.backend.offers()
        assert capability(cluster, kind) is cluster


def test_power_cuts_and_clocks_are_offered_and_observed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    cluster = bench.cluster()
    n1, both = frozenset({"n1"}), frozenset({"n1", "n2"})

    async def main() -> None:
        await cluster.deploy()
        await cluster.cut_power(n1)
        assert await cluster.running(both) == {"n1": False, "n2": True}
        assert bench.backend.heal(cluster.inverse("power", n1)) == "started n1"
        assert await cluster.running(n1) == {"n1": True}
        await cluster.jump_clocks({"n1": -5 * 1_000 * MS})
        await cluster.drift_clocks({"n2": 100_000})
        began = await cluster.read_clocks(both)
        assert (began["n1"].wall_offset_ns, began["n2"].wall_offset_ns) == (-5 * 1_000 * MS, 0)
        await bench.runtime.sleep(1_000 * MS)
        after = await cluster.read_clocks(both)
        assert after["n2"].monotonic_ns - began["n2"].monotonic_ns == 1_100_000_000
        assert after["n2"].wall_offset_ns == 100_000_000
        assert bench.backend.heal(cluster.inverse("clock", both)) == "set the clocks of n1, n2 right"
        healed = await cluster.read_clocks(both)
        assert {reading.wall_offset_ns for reading in healed.values()} == {0}

    bench.run(main())
    for kind in (PowerCut, Clock):
        assert kind in bench.backend.offers()
        assert capability(cluster, kind) is cluster


def test_packets_are_shaped_observed_and_healed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    cluster = bench.cluster()
    there, back = ("n1", "n2"), ("n2", "n1")
    links = frozenset({there, back})

    async def main() -> None:
        await cluster.deploy()
        await cluster.shape({there: LinkShape(delay_us=7_000)})
        readings = await cluster.probe_links(links, count=10, interval_us=100)
        assert readings[there].delay_us[0] - readings[back].delay_us[0] == 7_000
        assert all((await cluster.heard(links)).values())
        inverse = cluster.inverse("packet", frozenset({"n1", "n2"}))
        assert bench.backend.heal(inverse) == "no link has a shape"
        readings = await cluster.probe_links(links, count=10, interval_us=100)
        assert readings[there] == readings[back]
        bench.runtime.world.machine("n1").connect("n2")
        await bench.runtime.sleep(10 * MS)
        assert await cluster.reset_connections(links) == {there: 1, back: 0}
        await cluster.break_names(frozenset())
        with pytest.raises(FaultError, match="look up no names"):
            await cluster.break_names(frozenset({"n1"}))
        with pytest.raises(FaultError, match="n1 look up no names"):
            await cluster.names_found(frozenset({"n1"}))

    bench.run(main())
    assert Shape in bench.backend.offers()
    assert capability(cluster, Shape) is cluster  # type: ignore[type-abstract]
    mechanisms = {kind for kind in bench.backend.mechanisms() if kind.startswith("packet/")}
    assert mechanisms == {f"packet/{kind}" for kind in cluster.shape_kinds()}


def test_faults_are_healed_by_their_inverse_while_the_run_lives(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    cluster = bench.cluster()
    n1, n2 = frozenset({"n1"}), frozenset({"n2"})

    async def main() -> None:
        await cluster.deploy()
        heal, inverse = bench.backend.heal, cluster.inverse
        await cluster.kill(n1)
        await cluster.pause(n2)
        await cluster.cut({"n1": frozenset({"n3"})})
        assert heal(inverse("pause", n2)) == "resumed n2"
        assert heal(inverse("pause", n2)) == "nothing to do: no node is paused"
        assert heal(inverse("kill", n1)) == "started n1"
        assert heal(inverse("kill", n1)) == "nothing to do: no node is down"
        assert heal(inverse("partition", n1)) == "all is heard again"
        assert set((await cluster.states()).values()) == {"running"}
        assert await cluster.heard(frozenset({("n3", "n1")})) == {("n3", "n1"): True}
        with pytest.raises(FaultError, match="knows no fault 'smoke'"):
            heal(inverse("smoke", n1))

    bench.run(main())


def test_a_target_that_cannot_be_simulated_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the target RealOnly cannot be simulated"):
        Bench(tmp_path, RealOnly).cluster()
    bench = Bench(tmp_path, declines=True)
    with pytest.raises(UsageError, match="the target CounterTarget cannot be simulated"):
        bench.run(bench.cluster().deploy())


def test_a_node_that_crashes_at_its_start_fails_the_deployment_with_its_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path, broken=True)
    with pytest.raises(DeployError, match="n1 crashed as it started: RuntimeError: a bug at the start"):
        bench.run(bench.cluster().deploy())


def test_a_node_that_never_gets_ready_fails_the_deployment_in_bounded_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, never_ready=True)
    with pytest.raises(
        DeployError, match=r"n1 was not ready within 2000 ms of virtual time: .*keeps its data"
    ):
        bench.run(bench.cluster().deploy())
    assert bench.runtime.now() < 3_000 * MS


def test_a_program_that_raised_is_reported_with_the_logs(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    cluster = bench.cluster()

    async def main() -> None:
        await cluster.deploy()
        connection = await bench.runtime.connect(Endpoint("n3", 7000))
        await connection.send({"crash": True})
        await bench.runtime.sleep(100 * MS)
        assert (await cluster.states())["n3"] == "crashed"
        with pytest.raises(
            HarnessError, match=r"a node's program raised 1 times.*n3 after .* KeyError: 'crash'"
        ):
            await cluster.fetch_logs(tmp_path)

    bench.run(main())
    assert "Traceback (most recent call last)" in (tmp_path / "n3" / "node.log").read_text()


def test_logs_that_cannot_be_written_are_a_harness_error(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (tmp_path / "nodes").write_text("in the way")

    async def main() -> None:
        cluster = bench.cluster()
        await cluster.deploy()
        with pytest.raises(HarnessError, match="the log of n1 cannot be written"):
            await cluster.fetch_logs(tmp_path / "nodes")

    bench.run(main())


def test_it_runs_in_virtual_time_only_and_leaves_nothing_to_heal(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(HarnessError, match="virtual time only, not on AsyncioRuntime"):
        bench.backend.cluster(bench.specification, AsyncioRuntime(1))
    assert bench.backend.available() is None
    assert "nothing to heal" in bench.backend.heal(
        {"backend": "sim", "fault": "kill", "run": "another", "nodes": ["n1"]}
    )
    assert bench.backend.clean(None) == []
