from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.harness.backends.on_hosts import clock_file
from foreshock.harness.backends.on_hosts.clock_file import PPM_MAX, ClockFileError, InForce, Skew

SECOND = 1_000_000_000

paces = st.integers(-PPM_MAX, PPM_MAX)
changes = st.one_of(
    st.tuples(st.just("jumped"), st.tuples(st.integers(-10 * SECOND, 10 * SECOND))),
    st.tuples(st.just("drifting"), st.tuples(paces, paces)),
    st.tuples(st.just("righted"), st.just(())),
)


def monotonic(skew: Skew, now_ns: int) -> int:
    return now_ns + skew.at(now_ns).monotonic_ahead_ns


@given(st.lists(st.tuples(st.integers(0, 100 * SECOND), changes), max_size=12))
def test_the_monotonic_clock_goes_on_from_what_it_showed_and_never_back(
    steps: list[tuple[int, tuple[str, tuple[int, ...]]]],
) -> None:
    skew, now_ns, shown_ns = Skew(), 5 * SECOND, 5 * SECOND
    for wait_ns, (change, arguments) in steps:
        now_ns += wait_ns
        before_ns = monotonic(skew, now_ns)
        assert before_ns >= shown_ns
        skew = getattr(skew.at(now_ns), change)(*arguments)
        shown_ns = monotonic(skew, now_ns)
        assert shown_ns == before_ns
        assert monotonic(skew, now_ns + SECOND) > shown_ns


def test_a_drift_gains_so_many_millionths_of_what_passes_and_a_jump_moves_the_wall_clock_alone() -> None:
    skew = Skew().at(7 * SECOND).drifting(50_000, -20_000).at(17 * SECOND).jumped(-3 * SECOND)
    assert (skew.wall_ahead_ns, skew.monotonic_ahead_ns) == (SECOND // 2 - 3 * SECOND, -SECOND // 5)
    righted = skew.righted().at(27 * SECOND)
    assert (righted.wall_ahead_ns, righted.monotonic_ahead_ns) == (0, -SECOND // 5)


def test_a_file_from_before_a_reboot_of_the_host_gains_nothing_until_its_base_is_reached() -> None:
    skew = Skew().at(1_000 * SECOND).drifting(50_000, 50_000)
    assert skew.at(3 * SECOND).wall_ahead_ns == 0


@pytest.fixture
def path(tmp_path: Path) -> str:
    clock_file.make(str(tmp_path / "clock"))
    return str(tmp_path / "clock")


def test_a_new_file_leaves_every_clock_right_and_one_that_is_there_is_left_alone(path: str) -> None:
    assert clock_file.read(path).skew == Skew()
    jumped = clock_file.jump(path, 5 * SECOND)
    assert clock_file.make(path) == jumped == clock_file.read(path)
    assert jumped.skew.wall_ahead_ns == 5 * SECOND


def test_what_is_written_is_what_is_shown(path: str) -> None:
    clock_file.jump(path, -2 * SECOND)
    shown = clock_file.shown(clock_file.drift(path, 0, 500_000).skew)
    assert shown.wall_ns - shown.host_wall_ns == -2 * SECOND
    later = clock_file.shown(clock_file.read(path).skew)
    passed = later.host_monotonic_ns - shown.host_monotonic_ns
    assert later.monotonic_ns - shown.monotonic_ns == pytest.approx(passed * 1.5, abs=2)
    reset = clock_file.shown(clock_file.reset(path).skew)
    assert reset.wall_ns == reset.host_wall_ns
    assert reset.monotonic_ns - reset.host_monotonic_ns >= later.monotonic_ns - later.host_monotonic_ns


def test_a_change_that_was_never_counted_up_is_not_seen(path: str) -> None:
    clock_file.jump(path, SECOND)
    content = bytearray(Path(path).read_bytes())
    (number,) = struct.unpack_from("<Q", content, 8)
    struct.pack_into("<2q", content, (16, 64)[(number + 1) & 1], 77, 99 * SECOND)  # and there its writer died
    Path(path).write_bytes(content)
    assert clock_file.read(path).skew.wall_ahead_ns == SECOND
    clock_file.jump(path, SECOND)
    assert clock_file.read(path).skew.wall_ahead_ns == 2 * SECOND


def test_no_reader_sees_half_of_a_change_while_another_writes(path: str) -> None:
    done = threading.Event()

    def write() -> None:
        for turn in range(400):
            pace = (-1) ** turn * (turn + 1)
            clock_file.drift(path, pace, pace)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        seen = clock_file.read(path).skew
        assert (seen.wall_ppm, seen.wall_ahead_ns) == (seen.monotonic_ppm, seen.monotonic_ahead_ns)
    writer.join()


@pytest.mark.parametrize("content", [b"", b"FSCLOCK1", b"x" * 128])
def test_a_file_of_another_kind_is_refused_and_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    stranger = tmp_path / "clock"
    stranger.write_bytes(content)
    for attempt in (clock_file.make, clock_file.read, clock_file.reset):
        with pytest.raises(ClockFileError, match="is no clock file"):
            attempt(str(stranger))
    assert stranger.read_bytes() == content


def test_a_pace_that_no_clock_has_is_refused(path: str) -> None:
    with pytest.raises(ClockFileError, match="cannot drift by 900001 ppm: at most by 900000, either way"):
        clock_file.drift(path, 0, 900_001)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", clock_file.__file__, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_as_a_program_it_needs_nothing_of_ours_and_prints_the_clocks(tmp_path: Path) -> None:
    path = str(tmp_path / "clock")
    assert clock_file.parse(run(path, "make").stdout)[0] == InForce(0, Skew())
    in_force, shown = clock_file.parse(run(path, "jump", "5000000000").stdout)
    assert in_force == clock_file.read(path)
    assert (shown.wall_ns - shown.host_wall_ns, shown.monotonic_ns - shown.host_monotonic_ns) == (
        5 * SECOND,
        0,
    )


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(-100 * SECOND, 100 * SECOND), min_size=1, max_size=3), paces)
def test_a_jump_by_shell_script_is_the_jump_that_this_program_would_make(jumps: list[int], pace: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/the clock's"
        clock_file.make(path)
        in_force = clock_file.drift(path, pace, 0)
        for by_ns in jumps:
            script, in_force = clock_file.jump_script(path, in_force, by_ns)
            subprocess.run(["sh", "-c", script], check=True)
            assert clock_file.read(path) == in_force
    assert in_force.skew.wall_ahead_ns == sum(jumps)
    assert in_force.number == 1 + len(jumps)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "make|read|reset"),
        (("clock", "leap"), 2, "'leap'"),
        (("clock", "jump"), 2, "jump takes 1 numbers"),
        (("clock", "jump", "far"), 2, "'far'"),
        (("/nowhere/clock", "read"), 1, "No such file"),
        (("/dev/null", "reset"), 1, "/dev/null is no clock file"),
    ],
)
def test_a_command_that_makes_no_sense_is_one_sentence(
    arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = run(*arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
