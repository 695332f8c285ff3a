"""What programs in C and Python see, and how long they wait, under the preloaded shim."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from foreshock.harness.backends.on_hosts import clock_file, clock_tools
from foreshock.harness.backends.on_hosts.clock_file import Shown
from foreshock.harness.backends.on_hosts.clock_tools import ClockTools, tools_here
from foreshock.harness.errors import DeployError

SECOND = 1_000_000_000
MOMENT_NS = SECOND // 10
WAIT_NS = 190_000_000

pytestmark = pytest.mark.skipif(
    clock_tools.reason_not_here() is not None, reason="needs Linux and a C compiler"
)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> ClockTools:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        return tools_here()


@pytest.fixture
def clock(tmp_path: Path) -> str:
    path = str(tmp_path / "clock")
    clock_file.make(path)
    return path


def under(tools: ClockTools, clock: str, *command: str) -> str:
    environment = {**os.environ, "LD_PRELOAD": tools.shim, "FORESHOCK_CLOCK": clock}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def shown(tools: ClockTools, clock: str) -> Shown:
    return Shown(*map(int, under(tools, clock, tools.reader).split()))


def test_a_program_in_c_sees_the_wall_clock_jump_and_the_monotonic_one_not(
    tools: ClockTools, clock: str
) -> None:
    clock_file.jump(clock, -3600 * SECOND)
    seen = shown(tools, clock)
    assert abs(seen.wall_ns - seen.host_wall_ns + 3600 * SECOND) < MOMENT_NS
    assert abs(seen.monotonic_ns - seen.host_monotonic_ns) < MOMENT_NS
    assert abs(seen.host_wall_ns - time.time_ns()) < 60 * SECOND


def test_both_clocks_run_at_the_paces_of_the_file_and_go_on_when_it_is_reset(
    tools: ClockTools, clock: str
) -> None:
    clock_file.drift(clock, 300_000, -500_000)
    first, last = shown(tools, clock), shown(tools, clock)
    passed_ns = last.host_monotonic_ns - first.host_monotonic_ns
    assert abs(last.wall_ns - first.wall_ns - passed_ns * 13 // 10) < MOMENT_NS
    assert abs(last.monotonic_ns - first.monotonic_ns - passed_ns // 2) < MOMENT_NS
    clock_file.reset(clock)
    healed = shown(tools, clock)
    assert abs(healed.wall_ns - healed.host_wall_ns) < MOMENT_NS
    assert healed.monotonic_ns > last.monotonic_ns


@pytest.mark.parametrize("content", [None, b"", b"x" * 128])
def test_without_a_clock_file_that_makes_sense_all_is_as_ever(
    content: bytes | None, tools: ClockTools, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "clock").write_bytes(content)
    seen = shown(tools, str(tmp_path / "clock"))
    assert abs(seen.wall_ns - seen.host_wall_ns) < MOMENT_NS
    assert abs(seen.monotonic_ns - seen.host_monotonic_ns) < MOMENT_NS


@pytest.fixture(scope="module")
def waits(tmp_path_factory: pytest.TempPathFactory) -> str:
    program = tmp_path_factory.mktemp("waits") / "waits"
    source = Path(__file__).with_name("waits.c")
    subprocess.run(["cc", "-o", program, source, "-pthread"], check=True)
    return str(program)


def test_waits_of_every_kind_last_by_the_programs_own_clock(
    tools: ClockTools, clock: str, waits: str
) -> None:
    clock_file.jump(clock, 5000 * SECOND)
    clock_file.drift(clock, 900_000, 900_000)
    took = {name: int(ns) for name, ns in map(str.split, under(tools, clock, waits).splitlines())}
    assert len(took) == 14
    # A wait may be late on a busy machine, and is never early: 100 ms of the host are 190 ms of this clock.
    assert {name: ns for name, ns in took.items() if ns < 100_000_000 - SECOND // 1000} == {}
    assert min(took.values()) < WAIT_NS


def test_a_slow_program_waits_longer(tools: ClockTools, clock: str, waits: str) -> None:
    clock_file.drift(clock, -500_000, -500_000)
    took = {name: int(ns) for name, ns in map(str.split, under(tools, clock, waits).splitlines())}
    assert {name: ns for name, ns in took.items() if ns < 2 * WAIT_NS - SECOND // 1000} == {}


def test_a_program_in_python_lives_by_the_file_while_it_is_changed(tools: ClockTools, clock: str) -> None:
    program = """
        import sys, threading, time
        lock = threading.Lock(); lock.acquire()
        latest = time.monotonic_ns()
        for line in sys.stdin:
            lock.acquire(timeout=0.02)
            time.sleep(0.02)
            now = time.monotonic_ns()
            assert now - latest >= 40_000_000, now - latest
            latest = now
            print(time.time_ns(), flush=True)
    """
    environment = {**os.environ, "LD_PRELOAD": tools.shim, "FORESHOCK_CLOCK": clock}
    command = [sys.executable, "-I", "-S", "-c", textwrap.dedent(program)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for change, ahead_s in (
            (lambda: clock_file.jump(clock, 7200 * SECOND), 7200),
            (lambda: clock_file.drift(clock, 0, 900_000), 7200),
            (lambda: clock_file.jump(clock, -9000 * SECOND), -1800),
            (lambda: clock_file.drift(clock, 0, -900_000), -1800),
            (lambda: clock_file.reset(clock), 0),
        ):
            change()
            process.stdin.write("look\n")
            process.stdin.flush()
            assert abs(int(process.stdout.readline()) - time.time_ns() - ahead_s * SECOND) < 60 * SECOND
        process.stdin.close()
        assert process.wait(30) == 0


def test_what_is_compiled_is_kept_and_a_source_that_does_not_compile_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first = tools_here()
    assert Path(first.shim).parent.parent == tmp_path / "foreshock" / "clock"
    monkeypatch.setenv("PATH", "/nowhere")
    assert tools_here() == first
    assert len(list(Path(first.shim).parent.parent.iterdir())) == 1
    monkeypatch.undo()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    monkeypatch.setattr(clock_tools, "source", lambda name: b"int main(void) { return nothing; }")
    with pytest.raises(DeployError, match=r"the clock shim cannot be compiled by .*: .*error: .*nothing"):
        tools_here()
    assert list((tmp_path / "other" / "foreshock" / "clock").iterdir()) == []
