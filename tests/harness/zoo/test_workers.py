"""Workers: results come back, and a test that hangs or dies costs nothing but itself."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from foreshock.harness.request import Request
from foreshock.harness.zoo.workers import SimulatedTest, Workers, run_one

QUICK = Request(target="raft", backend="sim", seed=1, time_limit=1)
ENDLESS = Request(target="raft", backend="sim", seed=1, time_limit=80_000)


def all_results(workers: Workers[str], count: int) -> dict[str, SimulatedTest]:
    found: dict[str, SimulatedTest] = {}
    for _ in range(6_000):
        found.update(workers.results(0.1))
        if len(found) == count:
            return found
    raise AssertionError(f"only {sorted(found)} came back")


def test_a_valid_test_leaves_no_folder_and_an_invalid_one_its_report(tmp_path: Path) -> None:
    valid = run_one(QUICK, tmp_path)
    assert (valid.verdict, valid.exit, valid.run) == ("valid", 0, None)
    assert valid.operations > 0
    assert "--seed 1" in valid.replay
    assert not list(tmp_path.glob("*/*/test.json"))
    bug = "raft/replies-before-fsync"
    for seed in range(20):
        result = run_one(
            Request(
                target="raft", bug=bug, backend="sim", nemesis="kill,partition", seed=seed, time_limit=15
            ),
            tmp_path,
        )
        if result.verdict == "invalid":
            break
    assert result.exit == 1
    assert result.run is not None
    assert (Path(result.run) / "report.html").is_file()


def test_a_test_that_cannot_be_planned_is_a_harness_error_and_no_verdict(tmp_path: Path) -> None:
    result = run_one(Request(target="rafft", backend="sim", seed=1), tmp_path)
    assert (result.verdict, result.exit) == ("unknown", 3)
    assert "there is no target 'rafft'" in result.harness_errors[0]


def test_tests_run_side_by_side_in_processes_that_are_used_again(tmp_path: Path) -> None:
    with Workers[str](2, tmp_path) as workers:
        workers.start_test("a", QUICK)
        workers.start_test("b", QUICK)
        assert workers.free == 0
        assert sorted(ticket for ticket, _ in workers.running()) == ["a", "b"]
        assert {name: result.verdict for name, result in all_results(workers, 2).items()} == {
            "a": "valid",
            "b": "valid",
        }
        processes = {worker.process.pid for worker in workers._idle}
        workers.start_test("c", QUICK)
        assert next(iter(workers._busy.values()))[0].process.pid in processes
        assert all_results(workers, 1)["c"].verdict == "valid"


def test_a_test_that_takes_too_long_is_given_up_and_one_whose_process_dies_is_named(tmp_path: Path) -> None:
    with Workers[str](2, tmp_path, seconds_max=0.0) as workers:
        workers.start_test("endless", ENDLESS)
        assert "longer than 0 s and was given up" in all_results(workers, 1)["endless"].reason
    with Workers[str](1, tmp_path) as workers:
        workers.start_test("shot", ENDLESS)
        pid = next(iter(workers._busy.values()))[0].process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        result = all_results(workers, 1)["shot"]
        assert (result.verdict, result.exit) == ("unknown", 3)
        assert "ended with signal SIGKILL" in result.reason
        workers.start_test("next", QUICK)
        assert all_results(workers, 1)["next"].verdict == "valid"


def test_leaving_ends_every_process(tmp_path: Path) -> None:
    with Workers[str](1, tmp_path) as workers:
        workers.start_test("endless", ENDLESS)
        pid = next(iter(workers._busy.values()))[0].process.pid
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
