"""The executor of this machine: what it does when its processes cannot do what they should."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from tests.commands import until
from tests.harness.campaign.pretended import journal_in

from foreshock.harness import live_runs
from foreshock.harness.backends.process_identity import ProcessIdentity, identify
from foreshock.harness.campaign.admission import Room
from foreshock.harness.campaign.document import CampaignTest
from foreshock.harness.campaign.executor import Finished, Job
from foreshock.harness.campaign.expansion import key_of
from foreshock.harness.campaign.leftovers import recover_one
from foreshock.harness.campaign.local_executor import LocalExecutor, bound_of
from foreshock.harness.errors import HarnessError
from foreshock.harness.plan import resolve
from foreshock.harness.process_pool import ProcessPool
from foreshock.harness.request import Request
from foreshock.harness.store import Store

WAIT_S = 600.0


def job(seed: int, **settings: Any) -> Job:
    settings = {"target": "raft", "backend": "sim", "time_limit": 1.0, **settings}
    request = Request(seed=seed, **settings)
    return Job(CampaignTest(key=key_of(request), cell={}, request=request), 1)


def finished(executor: LocalExecutor, count: int) -> list[Finished]:
    found: list[Finished] = []
    while len(found) < count:
        found += executor.finished(0.25)
    return found


class Bomb:
    """What goes off where it is read: no process that gets it can begin with anything."""

    def __call__(self, task: Any, note: Any) -> Any:
        raise AssertionError("never called")

    def __reduce__(self) -> Any:
        return int, ("no number",)


def test_processes_that_cannot_be_started_end_the_campaign_with_a_sentence(tmp_path: Path) -> None:
    with LocalExecutor(tmp_path, Room(1)) as executor:
        executor._simulating = ProcessPool[str](Bomb(), seconds_max=WAIT_S)
        for seed in range(2):
            executor.start(job(seed))
            assert finished(executor, 1)[0].lost
        executor.start(job(2))
        with pytest.raises(
            HarnessError, match=r"no process can be started that would run tests: .*ended with exit"
        ):
            finished(executor, 1)


def test_a_process_that_cannot_be_written_down_runs_its_test_and_is_told(tmp_path: Path) -> None:
    begun: list[ProcessIdentity] = []

    def full(worker: ProcessIdentity) -> None:
        begun.append(worker)
        raise HarnessError("tests.jsonl cannot be written: No space left on device")

    with LocalExecutor(tmp_path, Room(1), begun=full) as executor:
        executor.start(job(1))
        (running,) = executor.running()
        assert (running.worker, running.phase) == ("worker 1", "starting")
        (one,) = finished(executor, 1)
        executor.start(job(2))
        finished(executor, 1)
        assert one.attempt.summary is not None
        assert one.attempt.worker == "worker 1"
        assert len(begun) == 1  # the process is used again
        assert executor.errors == ["tests.jsonl cannot be written: No space left on device"]


def test_a_test_that_cannot_be_begun_is_an_attempt_without_a_summary(tmp_path: Path) -> None:
    with LocalExecutor(tmp_path / "file", Room(1)) as executor:
        (tmp_path / "file").write_text("")
        executor.start(job(1))
        (one,) = finished(executor, 1)
    assert not one.lost
    assert one.attempt.summary is None
    assert "cannot be made: Not a directory" in one.attempt.error


def test_interrupting_gives_back_simulated_tests_to_be_run_again(tmp_path: Path) -> None:
    with LocalExecutor(tmp_path, Room(2)) as executor:
        executor.start(job(1, time_limit=80_000.0))
        executor.start(job(2, time_limit=80_000.0))
        assert not executor.can_start(job(3))
        executor.interrupt()
        assert [(one.lost, one.attempt.error) for one in finished(executor, 2)] == [(True, "interrupted")] * 2
        assert executor.can_start(job(3))


def test_interrupting_leaves_no_folder_of_a_simulated_test_that_is_run_again(tmp_path: Path) -> None:
    with LocalExecutor(tmp_path, Room(2)) as executor:
        executor.start(job(1))
        (done,) = finished(executor, 1)
        executor.start(job(2, time_limit=80_000.0))
        until = time.monotonic() + WAIT_S
        while len(list(tmp_path.glob("*/*/test.json"))) < 2 or executor.running()[0].phase == "starting":
            assert time.monotonic() < until
            assert executor.finished(0.1) == []
        executor.interrupt()
        finished(executor, 1)
    assert done.attempt.summary is not None
    assert [str(run) for run in Store(tmp_path).runs()] == [done.attempt.summary.run]
    assert str(Store(tmp_path).find("latest")) == done.attempt.summary.run


def recover_when_told(worker: ProcessIdentity, note: Any) -> list[str]:
    """Healing that takes until there is a line in a pipe."""
    with Path(os.environ["CAMPAIGN_TEST_PIPE"]).open() as pipe:
        pipe.readline()
    return recover_one(worker, note)


def test_healing_after_a_lost_worker_holds_up_its_own_test_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = list[ProcessIdentity]()
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("CAMPAIGN_TEST_PIPE", str(tmp_path / "pipe"))
    real = job(1, backend="process", time_limit=600.0, nodes="3")
    pipe = os.open(tmp_path / "pipe", os.O_RDWR)  # so that writing never waits for a reader
    with (
        open(pipe, "wb", buffering=0),
        LocalExecutor(tmp_path / "store", Room(2), begun=begun.append) as executor,
    ):
        executor._healing = ProcessPool[str](recover_when_told, seconds_max=2 * WAIT_S)
        executor.start(real)
        until(lambda: executor.finished(0.1) == [] and live_runs.registered_runs() != [], "a cluster")
        os.kill(begun[0].pid, signal.SIGKILL)
        phase = "healing what was left"
        until(lambda: executor.finished(0.1) == [] and executor.running()[0].phase == phase, phase)
        executor.start(job(2))
        assert not executor.can_start(job(3))  # what is healed still has its room
        (other,) = finished(executor, 1)
        assert other.job.test.request.backend == "sim"
        executor.interrupt()  # the process that is gone is not told
        assert [one.worker for one in executor.running()] == ["worker 1"]
        os.write(pipe, b"go on\n")
        (one,) = finished(executor, 1)
        assert (one.job, one.lost) == (real, True)
        assert live_runs.registered_runs() == []
        assert executor.running() == executor.errors == []


def test_healing_that_does_not_end_is_given_up_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = list[ProcessIdentity]()
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("CAMPAIGN_TEST_PIPE", str(tmp_path / "pipe"))
    with LocalExecutor(tmp_path / "store", Room(1), begun=begun.append) as executor:
        executor._healing = ProcessPool[str](recover_when_told, seconds_max=0.5)
        executor.start(job(1, backend="process", nodes="3"))
        os.kill(begun[0].pid, signal.SIGKILL)
        assert finished(executor, 1)[0].lost
    (error,) = executor.errors
    assert error == (
        "what worker 1 left when it was lost could not be healed and removed (it took longer than 0.5 s and was "
        "given up): run foreshock heal, then foreshock clean"
    )


def test_where_no_process_can_be_started_to_heal_the_test_ends_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever leaves would wait for it for ever."""
    begun = list[ProcessIdentity]()
    with LocalExecutor(tmp_path / "store", Room(1), begun=begun.append) as executor:
        executor.start(job(1, backend="process", nodes="3"))
        no_more = Mock(side_effect=OSError(errno.EAGAIN, "Resource temporarily unavailable"))
        monkeypatch.setattr(executor._healing, "start", no_more)
        os.kill(begun[0].pid, signal.SIGKILL)
        assert finished(executor, 1)[0].lost
    (error,) = executor.errors
    assert error == (
        "what worker 1 left when it was lost could not be healed and removed (no process can be started: Resource "
        "temporarily unavailable): run foreshock heal, then foreshock clean"
    )


def test_leaving_ends_every_process(tmp_path: Path) -> None:
    begun: list[ProcessIdentity] = []
    with LocalExecutor(tmp_path, Room(2), begun=begun.append) as executor:
        executor.start(job(1, time_limit=80_000.0))
    (worker,) = begun
    assert identify(worker.pid) != worker
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_a_real_test_may_take_what_its_own_limits_allow(tmp_path: Path) -> None:
    plan = resolve(Request(target="raft", backend="process", seed=1, time_limit=100, recovery_time=50))
    longer = resolve(Request(target="raft", backend="process", seed=1, time_limit=1100, recovery_time=50))
    assert bound_of(longer) == bound_of(plan) + 1000
    assert bound_of(plan) > 2000  # an image may have to be built first


def test_the_journal_knows_the_processes_of_an_earlier_command(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    with LocalExecutor(tmp_path, Room(1), begun=journal.add_worker) as executor:
        executor.start(job(1))
        finished(executor, 1)
    journal.close()
    again = journal_in(tmp_path)
    assert len(again.workers) == 1
    again.close()
