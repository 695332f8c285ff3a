"""Clocks on hosts, by scripts that really run: each host is a folder of this machine."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.backends.on_hosts import clock_file
from foreshock.harness.backends.on_hosts.clock_file import Skew
from foreshock.harness.backends.on_hosts.clock_tools import ClockTools
from foreshock.harness.backends.on_hosts.clocks import HostClocks
from foreshock.harness.backends.process.host import LocalHost
from foreshock.harness.capabilities import Clock, ClockReading
from foreshock.harness.cluster import ClusterSpecification, Endpoint, Node
from foreshock.harness.errors import FaultError, HarnessError
from foreshock.harness.host import HostResult

SECOND = 1_000_000_000
N1, BOTH = frozenset({"n1"}), frozenset({"n1", "n2"})


class Target:
    clock = "port"
    told: ClockReading | None = None

    async def read_clock(self, node: Node, runtime: Any) -> ClockReading | None:
        return self.told


class WatchedHost(LocalHost):
    """Writes down the scripts that are run, and can be told what to do before each."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder, {})
        self.scripts: list[str] = []
        self.before: Callable[[], Any] | None = None

    async def run(self, script: str, *, timeout_ms: int = 10_000) -> HostResult:
        self.scripts.append(script)
        if self.before is not None:
            await self.before()
        return await super().run(script, timeout_ms=timeout_ms)


class Cluster(HostClocks):
    python = sys.executable
    tools: ClockTools | None = None

    def __init__(self, folder: Path, needs: frozenset[type[Any]] = frozenset({Clock})) -> None:
        self.target = Target()
        self.specification = ClusterSpecification(
            run="r", target=self.target, node_names=("n1", "n2"), directory=folder, seed=1, needs=needs
        )
        self._runtime: Any = None
        self.folder = folder
        self.hosts = {}
        for name in self.node_names:
            (folder / name).mkdir()
            self.hosts[name] = WatchedHost(name, folder / name)

    @property
    def nodes(self) -> tuple[Node, ...]:
        here = Endpoint("127.0.0.1", 1)
        return tuple(Node(name, i, here, here, {}, "data", "r") for i, name in enumerate(self.node_names))

    @property
    def node_names(self) -> tuple[str, ...]:
        return self.specification.node_names

    def host(self, name: str) -> WatchedHost:
        return self.hosts[name]

    def address(self, name: str) -> str:
        return "127.0.0.1"

    def control_directory(self, name: str) -> str:
        return str(self.folder / name)

    async def process_on_host(self, name: str) -> int | None:
        return None

    def clock_tools(self, name: str) -> ClockTools | None:
        return self.tools

    def skew(self, name: str) -> Skew:
        return clock_file.read(f"{self.control_directory(name)}/clock").skew


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    made = Cluster(tmp_path)
    asyncio.run(made.make_clocks())
    return made


def test_jumps_drifts_and_a_reset_are_written_and_read_by_file_where_the_node_does_not_say(
    cluster: Cluster,
) -> None:
    async def main() -> None:
        await cluster.jump_clocks({"n1": 40 * SECOND, "n2": -3 * SECOND})
        await cluster.jump_clocks({"n1": 2 * SECOND})
        await cluster.drift_clocks({"n1": 70_000})
        await cluster.drift_clocks({"n2": -70_000}, wall_only=True)
        assert [cluster.skew(name)[3:] for name in ("n1", "n2")] == [(70_000, 70_000), (-70_000, 0)]
        read = await cluster.read_clocks(BOTH)
        assert [reading.wall_offset_ns // SECOND for reading in read.values()] == [42, -4]
        assert all(reading.by_file for reading in read.values())
        await cluster.reset_clocks(BOTH)
        assert [cluster.skew(name)[1] for name in ("n1", "n2")] == [0, 0]
        assert cluster.skew("n1").monotonic_ahead_ns > 0

    asyncio.run(main())


def test_a_jump_after_another_change_takes_no_python_to_start(cluster: Cluster) -> None:
    asyncio.run(cluster.jump_clocks({"n1": SECOND}))
    assert "clock_file.py" not in cluster.hosts["n1"].scripts[-1]
    assert cluster.skew("n1").wall_ahead_ns == SECOND


def test_a_jump_that_failed_is_followed_by_one_that_asks_the_file_what_is_in_force(cluster: Cluster) -> None:
    host = cluster.hosts["n1"]

    async def lost() -> None:
        raise HarnessError("the host is lost")

    host.before = lost
    with pytest.raises(HarnessError, match="is lost"):
        asyncio.run(cluster.jump_clocks({"n1": SECOND}))
    host.before = None
    asyncio.run(cluster.jump_clocks({"n1": 5 * SECOND}))
    assert "clock_file.py" in host.scripts[-1]
    assert cluster.skew("n1").wall_ahead_ns == 5 * SECOND


def test_a_change_whose_caller_went_away_comes_to_its_end_before_the_next(cluster: Cluster) -> None:
    async def main() -> None:
        began, go_on = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            began.set()
            await go_on.wait()

        cluster.hosts["n1"].before = wait
        jump = asyncio.create_task(cluster.jump_clocks({"n1": SECOND}))
        await began.wait()
        jump.cancel()
        reset = asyncio.create_task(cluster.reset_clocks(N1))
        await asyncio.gather(jump, return_exceptions=True)
        go_on.set()
        await reset

    asyncio.run(main())
    assert clock_file.read(f"{cluster.control_directory('n1')}/clock").number == 2
    assert cluster.skew("n1").wall_ahead_ns == 0


def test_what_the_node_itself_says_counts_for_more_than_its_file(cluster: Cluster) -> None:
    cluster.target.told = ClockReading(wall_offset_ns=17, monotonic_ns=1, true_ns=2)
    assert asyncio.run(cluster.read_clocks(N1)) == {"n1": cluster.target.told}


def test_the_undo_script_sets_clocks_right_from_any_process_and_asks_for_nothing_where_there_is_no_file(
    cluster: Cluster, tmp_path: Path
) -> None:
    asyncio.run(cluster.jump_clocks({"n1": SECOND}))
    script = cluster.undo_scripts("clock", N1)["n1"]
    for _ in range(2):
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr, cluster.skew("n1").wall_ahead_ns) == ("", "", 0)
    (tmp_path / "n1" / "clock").unlink()
    assert subprocess.run(["sh", "-c", script], check=True).returncode == 0
    assert not (tmp_path / "n1" / "clock").exists()
    assert cluster.undo_scripts("pause", N1) == {}


def test_a_clock_file_that_is_gone_or_spoilt_is_a_fault_error_that_names_the_node(
    cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "n1" / "clock").write_bytes(b"?")
    with pytest.raises(FaultError, match=r"the clock of node n1 is out of reach: .* is no clock file"):
        asyncio.run(cluster.reset_clocks(N1))
    (tmp_path / "n2" / "clock").unlink()
    with pytest.raises(FaultError, match=r"the clock of node n2 is out of reach: .*No such file"):
        asyncio.run(cluster.read_clocks(frozenset({"n2"})))


def test_only_a_test_that_skews_clocks_gets_what_that_takes(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Cluster(tmp_path / "other", needs=frozenset())
    asyncio.run(other.make_clocks())
    assert list((tmp_path / "other" / "n1").iterdir()) == []
    assert (other.clock_file_of("n1"), other.preloads) == (None, False)
    assert cluster.clock_file_of("n1") == f"{tmp_path}/n1/clock"
    cluster.target.clock = "preload"
    assert (cluster.clock_file_of("n1"), cluster.preloads) == (None, True)


def test_the_shim_goes_before_what_the_node_preloads_itself(cluster: Cluster, tmp_path: Path) -> None:
    assert cluster.clock_environment(None, "n1", {}) == {}
    tools = ClockTools("/tools/shim.so", "/tools/reader")
    assert cluster.clock_environment(tools, "n1", {"LD_PRELOAD": "/usr/lib/libjemalloc.so"}) == {
        "LD_PRELOAD": "/tools/shim.so:/usr/lib/libjemalloc.so",
        "FORESHOCK_CLOCK": f"{tmp_path}/n1/clock",
    }
