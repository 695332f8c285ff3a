"""How many tests run at once: never more than cores, memory, ports and networks allow, and always one."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshock.harness.campaign import admission
from foreshock.harness.campaign.admission import Demand, Room, available_bytes, cores_here, demand_of
from foreshock.harness.plan import resolve
from foreshock.harness.request import Request

GIB = 1 << 30
SIMULATED = Demand(cores=1.0, memory_bytes=GIB, simulated=True)


@pytest.fixture(autouse=True)
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "available_bytes", lambda: 64 * GIB)


def most(room: Room, demand: Demand) -> int:
    """How many of the same can run at once."""
    running: list[Demand] = []
    while room.admits(demand, running) and len(running) < 1000:
        running.append(demand)
    return len(running)


def test_a_simulated_test_takes_a_core() -> None:
    assert most(Room(None, cores=4, memory_bytes=64 * GIB), SIMULATED) == 4


def test_jobs_go_before_cores() -> None:
    assert most(Room(7, cores=2, memory_bytes=64 * GIB), SIMULATED) == 7
    assert most(Room(1, cores=8, memory_bytes=64 * GIB), SIMULATED) == 1


def test_memory_is_a_limit_whatever_was_asked_for() -> None:
    assert most(Room(50, cores=50, memory_bytes=10 * GIB), SIMULATED) == 8  # of what is available, 0.8
    assert most(Room(50, cores=50, memory_bytes=GIB // 2), SIMULATED) == 1  # alone each can be tried


def test_memory_that_is_gone_meanwhile_is_not_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(None, cores=8, memory_bytes=64 * GIB)
    monkeypatch.setattr(admission, "available_bytes", lambda: GIB // 2)
    assert most(room, SIMULATED) == 1


def test_ports_networks_and_what_is_there_but_once() -> None:
    room = Room(1000, cores=1, memory_bytes=1 << 60)
    assert most(room, Demand(cores=0.1, memory_bytes=1, ports=1000)) == 10
    assert most(room, Demand(cores=0.1, memory_bytes=1, networks=1)) == 12
    hosts = Demand(cores=0.1, memory_bytes=1, alone="h1,h2")
    assert most(room, hosts) == 1
    assert room.admits(Demand(cores=0.1, memory_bytes=1, alone="h3"), [hosts])


def test_real_tests_weigh_by_their_nodes_and_where_they_live() -> None:
    def of(**settings: str) -> Demand:
        return demand_of(resolve(Request(target="raft", seed=1, **settings)))  # type: ignore[arg-type]

    simulated, small, large = (
        of(backend="sim"),
        of(backend="process", nodes="3"),
        of(backend="process", nodes="9"),
    )
    assert (simulated.cores, simulated.ports) == (1.0, 0)
    assert small.cores < large.cores < 1
    assert small.memory_bytes < large.memory_bytes
    assert (small.ports, large.ports) == (12, 90)
    room = Room(None, cores=2, memory_bytes=64 * GIB)
    # Real ones mostly wait, and go first where all want to compute: one does not take a core from the simulator.
    assert room.admits(simulated, [small, simulated])
    assert not room.admits(simulated, [simulated, simulated])
    assert not room.admits(simulated, [small, small, small, simulated])
    assert room.admits(simulated, [small] * 5)
    assert not room.admits(small, [small] * 5)


def test_a_quota_of_the_control_group_is_the_machines_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(admission, "GROUP", tmp_path)
    monkeypatch.setattr(admission, "MEMORY_INFORMATION", tmp_path / "meminfo")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))
    assert cores_here() == 16
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cores_here() == 16
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert cores_here() == 3
    assert available_bytes() > 1 << 60  # where nothing is known nothing is held back
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    4000000 kB\n")
    assert available_bytes() == 4_000_000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert available_bytes() == 4_000_000 * 1024
    (tmp_path / "memory.max").write_text("3000000\n")
    assert available_bytes() == 2_000_000
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 400000\n")
    assert available_bytes() == 2_400_000
