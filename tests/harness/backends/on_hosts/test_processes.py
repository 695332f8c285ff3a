"""The scripts that stop a node's processes, on processes of this machine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from foreshock.harness.backends.on_hosts import processes

# It leads a session, and has a child that has left its session and its group.
FAMILY = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"],
                         start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


def sh(script: str) -> str:
    return subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, text=True, timeout=20, check=True
    ).stdout


def started(pid: int) -> str:
    return sh(f"sed 's/^.*) //' /proc/{pid}/stat | cut -d' ' -f20").strip()


def counted(lister: str) -> tuple[int, int]:
    every, stopped = sh(processes.count_states(lister)).split()
    return int(every), int(stopped)


def until(lister: str, wanted: tuple[int, int]) -> None:
    deadline = time.monotonic() + 10
    while counted(lister) != wanted:
        assert time.monotonic() < deadline, counted(lister)


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY], start_new_session=True, stdout=subprocess.PIPE, text=True
    ) as leader:
        assert leader.stdout is not None
        child = int(leader.stdout.readline())
        yield leader.pid, child
        sh(f"kill -KILL {child} {leader.pid} 2>/dev/null || true")


def test_all_descendants_are_stopped_and_go_on(family: tuple[int, int]) -> None:
    leader, child = family
    lister = processes.of_leader(leader, started(leader))
    assert {int(line.split()[0]) for line in sh(lister).splitlines()} == {leader, child}
    sh(processes.stop(lister))
    until(lister, (2, 2))
    sh(processes.stop(lister))
    assert {int(pid) for pid in sh(processes.go_on(lister)).split()} == {leader, child}
    until(lister, (2, 0))
    assert sh(processes.go_on(lister)) == ""


def test_a_later_process_of_the_same_pid_is_a_stranger(family: tuple[int, int]) -> None:
    leader, _ = family
    lister = processes.of_leader(leader, str(int(started(leader)) - 1))
    assert sh(lister) == ""
    sh(processes.stop(lister))
    assert counted(processes.of_leader(leader, started(leader))) == (2, 0)
