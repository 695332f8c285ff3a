"""``live.json``: written while a test runs, gone after it, left behind by a harness that was killed, and cheap."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest
from tests.commands import Started, foreshock, only_run, until
from tests.harness.server.stores import snapshot

from foreshock.harness import live_file
from foreshock.harness.live_file import LIVE, RecordedProgress, read_live
from foreshock.harness.progress import SilentProgress
from foreshock.harness.store_list import state_of, stored_test

REAL = (
    "test",
    "--target",
    "raft",
    "--workload",
    "register",
    "--nemesis",
    "none",
    "--backend",
    "process",
    "--nodes",
    "3",
)


def test_it_says_phase_snapshot_and_whose_it_is_and_is_gone_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_file, "WRITE_EVERY_S", 3600.0)
    with RecordedProgress(SilentProgress(), tmp_path) as progress:
        progress.phase("deploying")
        first = read_live(tmp_path)
        assert first is not None
        assert (first.phase, first.snapshot, first.pid) == ("deploying", None, os.getpid())
        assert state_of(tmp_path, first) == "running"
        progress.phase("running")
        progress.show(snapshot())  # too soon after the last one to be written
        seen = read_live(tmp_path)
        assert seen is not None
        assert seen.snapshot is None
        progress.phase("healing")
        seen = read_live(tmp_path)
        assert seen is not None
        assert seen.snapshot == snapshot()
    assert list(tmp_path.iterdir()) == []


def test_a_simulated_test_that_is_over_soon_writes_nothing(tmp_path: Path) -> None:
    with RecordedProgress(SilentProgress(), tmp_path, after_s=3600) as progress:
        progress.phase("running")
        progress.show(snapshot())
        assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_costs_the_file_and_nothing_else(tmp_path: Path) -> None:
    with RecordedProgress(SilentProgress(), tmp_path / "not-there") as progress:
        progress.phase("running")
        progress.show(snapshot())
    assert read_live(tmp_path / "not-there") is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"phase": 1}', b"[" * 10_000, b"x" * (live_file.BYTES_MAX + 1)]
)
def test_what_cannot_be_read_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LIVE).write_bytes(content)
    assert read_live(tmp_path) is None


def test_a_pipe_in_its_place_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LIVE)
    assert read_live(tmp_path) is None


def test_a_pid_that_was_used_again_is_not_the_harness(tmp_path: Path) -> None:
    with RecordedProgress(SilentProgress(), tmp_path) as progress:
        progress.phase("running")
        live = read_live(tmp_path)
        assert live is not None
        assert live.harness is not None
        later = msgspec.structs.replace(live.harness, started=f"{live.harness.started}0")
        assert state_of(tmp_path, msgspec.structs.replace(live, harness=later)) == "killed"


def test_a_harness_elsewhere_runs_for_as_long_as_it_writes(tmp_path: Path) -> None:
    with RecordedProgress(SilentProgress(), tmp_path) as progress:
        progress.phase("running")
        live = read_live(tmp_path)
        assert live is not None
        assert live.harness is not None
        elsewhere = msgspec.structs.replace(live.harness, place="another machine", started="another boot 1")
        told = msgspec.structs.replace(live, harness=elsewhere)
        assert state_of(tmp_path, told) == "running"
        assert state_of(tmp_path, msgspec.structs.replace(told, written=time.time() - 60)) == "unfinished"


def test_it_costs_nothing_that_anybody_could_notice(tmp_path: Path) -> None:
    with RecordedProgress(SilentProgress(), tmp_path) as progress:
        progress.phase("running")
        began = time.process_time()
        for _ in range(1000):
            progress.show(snapshot())  # most are not written: they come sooner than twice a second
        assert (time.process_time() - began) / 1000 < 0.001


def test_kill_nine_leaves_it_and_a_finished_test_does_not(tmp_path: Path) -> None:
    with Started(*REAL, "--time-limit", "60", "--store", str(tmp_path)) as test:
        test.wait_for_line("running")
        run = only_run(tmp_path)

        def counted() -> bool:
            live = read_live(run)
            return live is not None and live.snapshot is not None and live.snapshot.ok > 0

        until(counted, "a snapshot with operations in it")
        found = stored_test(run)
        assert found is not None
        assert (found.state, found.phase) == ("running", "running register for 60 s")
        test.kill()
    found = stored_test(run)
    assert found is not None
    assert found.state == "killed"
    assert foreshock("clean").code == 0
    assert foreshock("analyze", str(run), "--no-report", "--store", str(tmp_path)).code in (0, 2)
    found = stored_test(run)
    assert found is not None
    assert found.state == "finished"
