from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from foreshock.harness.backends.on_hosts import clock_file
from foreshock.targets.reference.node.clock import FileClock, NodeClock, event_loop

SECOND = 1_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    clock_file.make(str(tmp_path / "clock"))
    return tmp_path / "clock"


def test_it_shows_what_the_file_says(path: Path) -> None:
    clock = FileClock(path)
    clock_file.jump(str(path), -30 * SECOND)
    clock_file.drift(str(path), 0, 400_000)
    before = clock_file.shown(clock_file.read(str(path)).skew)
    wall_ns, monotonic_ns = clock.wall_ns(), clock.monotonic_ns()
    after = clock_file.shown(clock_file.read(str(path)).skew)
    assert before.wall_ns <= wall_ns <= after.wall_ns
    assert before.monotonic_ns <= monotonic_ns <= after.monotonic_ns


def test_it_tells_its_clocks_beside_those_of_the_machine(path: Path) -> None:
    clock_file.jump(str(path), 5 * SECOND)
    told = FileClock(path).describe()
    assert told["wall_ns"] - told["host_wall_ns"] == pytest.approx(5 * SECOND, abs=SECOND)
    assert told["monotonic_ns"] == pytest.approx(told["host_monotonic_ns"], abs=SECOND)
    plain = NodeClock().describe()
    assert plain["wall_ns"] == pytest.approx(plain["host_wall_ns"], abs=SECOND)
    assert plain.keys() == told.keys()


def test_its_monotonic_clock_never_goes_back_even_if_the_file_does(path: Path) -> None:
    path.write_bytes(clock_file.image(clock_file.Skew(monotonic_ahead_ns=3600 * SECOND)))
    clock = FileClock(path)
    shown_ns = clock.monotonic_ns()
    with path.open("r+b") as file:
        file.write(clock_file.image(clock_file.Skew()))  # its gain is gone, which our own writer never does
    assert clock.monotonic_ns() == shown_ns


@pytest.mark.parametrize("content", [b"", b"FSCLOCK1", b"x" * 128])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "clock").write_bytes(content)
    with pytest.raises(ValueError, match="is no clock file"):
        FileClock(tmp_path / "clock")


@pytest.mark.parametrize("ppm", [900_000, -500_000])
def test_a_loop_sleeps_by_the_nodes_clock(ppm: int, path: Path) -> None:
    clock_file.drift(str(path), 0, ppm)
    clock = FileClock(path)

    async def sleep() -> tuple[float, float, float]:
        """How long it slept by its own clock, and by the machine's at least and at most: each is read by itself."""
        loop = asyncio.get_running_loop()
        first_true, began, began_true = time.monotonic(), loop.time(), time.monotonic()
        await asyncio.sleep(0.2)
        ended_true, ended, last_true = time.monotonic(), loop.time(), time.monotonic()
        return ended - began, ended_true - began_true, last_true - first_true

    with asyncio.Runner(loop_factory=lambda: event_loop(clock)) as runner:
        slept, least_true, most_true = runner.run(sleep())
    assert slept >= 0.2
    pace = 1 + ppm / 1e6
    assert least_true * pace - 1e-6 <= slept <= most_true * pace + 1e-6


def test_a_sleeping_node_notices_that_its_clock_has_become_fast(path: Path) -> None:
    clock = FileClock(path)
    assert clock.true_seconds(10) <= 0.02  # however long it wants to sleep, it looks again soon
    clock_file.drift(str(path), 0, 900_000)
    assert clock.true_seconds(0.019) == pytest.approx(0.01)


def test_without_a_file_the_loop_is_an_ordinary_one() -> None:
    loop = event_loop(NodeClock())
    try:
        assert loop.time() == pytest.approx(time.monotonic(), abs=1)
        assert type(loop) is asyncio.SelectorEventLoop
    finally:
        loop.close()
