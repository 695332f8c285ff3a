"""The wall clocks of hosts, set for real: tried on clocks and hosts that are made up, never on a real one."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.backends.on_hosts import settable_clocks, wall_clock
from foreshock.harness.backends.on_hosts.settable_clocks import SettableClocks
from foreshock.harness.backends.on_hosts.wall_clock import HostTime
from foreshock.harness.capabilities import Clock
from foreshock.harness.cluster import ClusterSpecification, Endpoint, Node
from foreshock.harness.errors import DeployError, FaultError
from foreshock.harness.host import HostResult

SECOND = 1_000_000_000
N1 = frozenset({"n1"})


class MadeUpTime:
    """Stands for the module ``time`` of a host."""

    CLOCK_REALTIME = 0

    def __init__(self) -> None:
        self.monotonic = 50 * SECOND
        self.ahead = 1_000 * SECOND
        self.refuses = False

    def monotonic_ns(self) -> int:
        return self.monotonic

    def time_ns(self) -> int:
        return self.monotonic + self.ahead

    def clock_settime_ns(self, clock: int, ns: int) -> None:
        assert clock == self.CLOCK_REALTIME
        if self.refuses:
            raise PermissionError(1, "Operation not permitted")
        self.ahead = ns - self.monotonic


class MadeUpHost:
    """Runs our program, and nothing else, on clocks that are made up."""

    name = "n1"

    def __init__(self, folder: Path) -> None:
        self.clock = MadeUpTime()
        self.boot_id = folder / "boot_id"
        self.boot_id.write_text("a-boot\n")
        self.uploaded: dict[str, bytes] = {}
        self.after: Any = lambda: None
        """What happens on the host after each script."""

    async def upload(self, data: bytes, remote_path: str, *, mode: int = 0o644) -> None:
        self.uploaded[remote_path] = data

    async def run(self, script: str, *, timeout_ms: int = 10_000) -> HostResult:
        words = shlex.split(script.removesuffix(" >/dev/null"))
        assert words[:4] == ["python3", "-I", "-S", "/control/wall_clock.py"]
        assert self.uploaded[words[3]] == settable_clocks._program()
        self.clock.monotonic += SECOND // 100
        with pytest.MonkeyPatch.context() as patch:
            said: list[str] = []
            for stream in ("stdout", "stderr"):
                patch.setattr(f"sys.{stream}.write", said.append, raising=False)
            code = wall_clock.main(words[4:], clock=self.clock, boot_id=str(self.boot_id))
        self.after()
        text = "".join(said)
        return HostResult(code, "" if code else text, text if code else "")


class Cluster(SettableClocks):
    sets_wall_clocks = True

    def __init__(self, host: MadeUpHost, target: Any) -> None:
        self.made_up = host
        self.specification = ClusterSpecification(
            run="r",
            target=target,
            node_names=("n1",),
            directory=Path(),
            seed=1,
            needs=frozenset({Clock}),
        )

    @property
    def nodes(self) -> tuple[Node, ...]:
        here = Endpoint("127.0.0.1", 1)
        return (Node("n1", 0, here, here, {}, "data", "r"),)

    @property
    def node_names(self) -> tuple[str, ...]:
        return ("n1",)

    def host(self, name: str) -> Any:
        return self.made_up

    def address(self, name: str) -> str:
        return "127.0.0.1"

    def control_directory(self, name: str) -> str:
        return "/control"

    async def process_on_host(self, name: str) -> int | None:
        return None


class Target:
    clock = None


@pytest.fixture
def host(tmp_path: Path) -> MadeUpHost:
    return MadeUpHost(tmp_path)


@pytest.fixture
def cluster(host: MadeUpHost) -> Cluster:
    made = Cluster(host, Target())
    asyncio.run(made.make_clocks())
    return made


def offset_ns(cluster: Cluster) -> int:
    return asyncio.run(cluster.read_clocks(N1))["n1"].wall_offset_ns


def test_a_host_jumps_and_is_set_right_by_its_monotonic_clock(cluster: Cluster, host: MadeUpHost) -> None:
    asyncio.run(cluster.jump_clocks({"n1": -90 * SECOND}))
    assert offset_ns(cluster) == -90 * SECOND
    host.clock.monotonic += 30 * SECOND
    asyncio.run(cluster.jump_clocks({"n1": 7 * SECOND}))
    assert offset_ns(cluster) == -83 * SECOND
    asyncio.run(cluster.reset_clocks(N1))
    assert (offset_ns(cluster), host.clock.ahead) == (0, 1_000 * SECOND)
    assert (cluster.clock_file_of("n1"), cluster.preloads) == (None, False)


def test_from_any_process_it_is_set_right_by_the_inverse_and_twice_is_as_good_as_once(
    cluster: Cluster, host: MadeUpHost
) -> None:
    whole = cluster.undo_scripts("clock", N1)["n1"]
    as_root, as_another = re.fullmatch(
        r"if \[ ! -e /control/wall_clock.py \]; then :; "
        r'elif \[ "\$\(id -u\)" = 0 \]; then (.*); else sudo -n (.*); fi',
        whole,
    ).groups()  # type: ignore[union-attr]
    assert as_root == as_another
    script = as_root
    asyncio.run(cluster.jump_clocks({"n1": 3600 * SECOND}))
    for _ in range(2):
        assert asyncio.run(host.run(script)).exit_code == 0
        assert host.clock.ahead == 1_000 * SECOND
    assert cluster.undo_scripts("pause", N1) == {}


def test_where_the_program_was_removed_with_the_rest_of_the_run_nothing_is_left_to_undo(
    cluster: Cluster,
) -> None:
    script = cluster.undo_scripts("clock", N1)["n1"]
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_host_that_has_booted_since_has_set_its_clock_by_itself_and_is_left_alone(
    cluster: Cluster, host: MadeUpHost
) -> None:
    asyncio.run(cluster.jump_clocks({"n1": 3600 * SECOND}))
    host.boot_id.write_text("another-boot\n")
    host.clock.monotonic, host.clock.ahead = SECOND, 1_400 * SECOND
    asyncio.run(cluster.reset_clocks(N1))
    assert (host.clock.ahead, offset_ns(cluster)) == (1_400 * SECOND, 0)


def test_a_time_service_that_sets_the_clock_back_is_seen(cluster: Cluster, host: MadeUpHost) -> None:
    def step() -> None:
        host.clock.ahead = 1_000 * SECOND

    host.after = step
    asyncio.run(cluster.jump_clocks({"n1": 60 * SECOND}))
    assert offset_ns(cluster) == 0


def test_a_clock_that_cannot_be_set_or_set_right_is_a_fault_error(cluster: Cluster, host: MadeUpHost) -> None:
    asyncio.run(cluster.jump_clocks({"n1": 60 * SECOND}))
    host.clock.refuses = True
    with pytest.raises(
        FaultError, match=r"on the host of node n1, the clock of the host cannot be set: .*not permit"
    ):
        asyncio.run(cluster.reset_clocks(N1))
    host.clock.refuses = False
    host.clock.clock_settime_ns = lambda clock, ns: None  # type: ignore[method-assign]
    with pytest.raises(FaultError, match="the host of node n1 is still 60000000000 ns ahead"):
        asyncio.run(cluster.reset_clocks(N1))


def test_the_clock_of_this_machine_is_never_set(host: MadeUpHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settable_clocks, "_boot_here", lambda: "a-boot")
    with pytest.raises(DeployError, match="is this machine, or lives on it: its clock is never set"):
        asyncio.run(Cluster(host, Target()).make_clocks())


def test_nodes_that_no_library_reaches_are_not_skewed_where_hosts_may_not_be_set(
    host: MadeUpHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cluster, "sets_wall_clocks", False)
    with pytest.raises(
        DeployError, match="cannot be told another time than their hosts have: let those be set"
    ):
        asyncio.run(Cluster(host, Target()).make_clocks())
    assert host.uploaded == {}


def test_hosts_do_not_drift(cluster: Cluster) -> None:
    with pytest.raises(FaultError, match=r"cannot be made to drift: say -o clock.kinds=jump,strobe"):
        asyncio.run(cluster.drift_clocks({"n1": 1}))


@pytest.mark.parametrize("arguments", [[], ["leap"], ["jump", "far"], ["restore", "boot"]])
def test_a_command_that_makes_no_sense_touches_nothing(
    arguments: list[str], host: MadeUpHost, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wall_clock.main(arguments, clock=host.clock, boot_id=str(host.boot_id)) == 2
    assert "wall_clock.py read | jump NS | restore BOOT AHEAD_NS" in capsys.readouterr().err
    assert host.clock.ahead == 1_000 * SECOND


def test_what_is_printed_is_what_is_parsed() -> None:
    assert wall_clock.parse("a-boot 12 5\n") == HostTime("a-boot", 12, 5)
    assert HostTime("a-boot", 12, 5).ahead_ns == 7
