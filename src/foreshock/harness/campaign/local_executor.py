"""Runs the tests of a campaign on this machine, in processes of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from foreshock.harness.backends.process_identity import ProcessIdentity, identify
from foreshock.harness.campaign.admission import Demand, Room, demand_of
from foreshock.harness.campaign.document import Attempt
from foreshock.harness.campaign.executor import Finished, Job, Running
from foreshock.harness.campaign.job import Standing, Task, forget_unfinished, resolved_of, run_task
from foreshock.harness.campaign.leftovers import recover_one
from foreshock.harness.campaign.specification import Kept, Reported
from foreshock.harness.conductor import DEPLOY_TIMEOUT_NS, HEAL_TIMEOUT_NS, SECOND_NS, TEARDOWN_TIMEOUT_NS
from foreshock.harness.errors import HarnessError
from foreshock.harness.plan import Resolved
from foreshock.harness.process_pool import Ended, ProcessPool, Worker

NICENESS: Final = 5
"""Of what simulates: where clusters are real, their clients and their nodes go first."""
SIMULATED_SECONDS_MAX: Final = 300.0
GRACE_S: Final = 300.0
"""So long a real test that was told to end may heal and tear down, before it is told again, and then killed."""
HEALED_WITHIN_S: Final = 300.0
"""So long what a lost worker left may take to be healed and removed, beside the other tests."""
STILLBORN_MAX: Final = 3


class _UnderWay(msgspec.Struct):
    """A job under way, in a worker."""

    job: Job
    worker: Worker
    identity: ProcessIdentity | None
    demand: Demand
    simulated: bool
    bound_s: float
    told: int = 0
    """How often it was told to end."""
    lost: Attempt | None = None
    """What is known of it where its worker was lost, and what that left is being healed and removed."""


class LocalExecutor:
    """The executor of one machine. ``begun`` is told of each new process, before it gets anything to do."""

    def __init__(
        self,
        store: Path,
        room: Room,
        *,
        report: Reported = "failures",
        keep: Kept = "all",
        give_up_after_s: float | None = None,
        begun: Callable[[ProcessIdentity], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._room = room
        self._report = report
        self._keep = keep
        self._give_up_after_s = give_up_after_s
        self._begun = begun
        self._simulating = ProcessPool[str](run_task, seconds_max=SIMULATED_SECONDS_MAX, niceness=NICENESS)
        self._real = ProcessPool[str](run_task, seconds_max=SIMULATED_SECONDS_MAX)
        self._healing = ProcessPool[str](recover_one, seconds_max=HEALED_WITHIN_S)
        self._under_way: dict[str, _UnderWay] = {}
        self._names: dict[int, str] = {}
        """By pid, how a person tells the workers apart."""
        self._ended: list[Finished] = []
        self._stillborn = 0
        """How many processes in a row have ended before they began with anything."""
        self.errors: list[str] = []
        """What could not be healed or removed after a worker that was lost."""

    def __enter__(self) -> Self:
        self._simulating.__enter__()
        self._real.__enter__()
        self._healing.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is under way: simulated tests at once, real ones when they are torn down."""
        self.interrupt()
        while self._under_way:
            self.finished(0.25)
        self._simulating.__exit__(kind, error, trace)
        self._real.__exit__(kind, error, trace)
        self._healing.__exit__(kind, error, trace)

    def can_start(self, job: Job) -> bool:
        """Whether cores, memory, ports and networks allow it now."""
        return self._room.admits(
            demand_of(resolved_of(job.test.request)), [one.demand for one in self._under_way.values()]
        )

    def start(self, job: Job) -> None:
        """Start a job in a worker that is idle, or in a new one."""
        resolved = resolved_of(job.test.request)
        bound_s = self._give_up_after_s or bound_of(resolved)
        task = Task(
            request=job.test.request,
            number=job.number,
            store=str(self._store),
            report=self._report,
            keep=self._keep,
        )
        if resolved.backend.simulated:
            worker = self._simulating.start(job.test.key, task, seconds_max=bound_s)
        else:
            worker = self._real.start(job.test.key, task, seconds_max=bound_s + 2 * GRACE_S)
        self._under_way[job.test.key] = _UnderWay(
            job=job,
            worker=worker,
            identity=self._identify(worker),
            demand=demand_of(resolved),
            simulated=resolved.backend.simulated,
            bound_s=bound_s,
        )

    def running(self) -> Sequence[Running]:
        """What is under way, the longest first."""
        now = time.monotonic()
        found = []
        for one in self._under_way.values():
            if one.lost is not None:
                note, name = Standing("healing what was left"), one.lost.worker
            else:
                note = one.worker.note if isinstance(one.worker.note, Standing) else Standing("starting")
                name = self._names[one.worker.process.pid or 0]
            found.append(Running(one.job, name, now - one.worker.began, note.phase, note.snapshot))
        return found

    def finished(self, timeout_s: float) -> Sequence[Finished]:
        """The jobs that ended, waiting for the first of them at most as long as given."""
        pipes = [*self._simulating.pipes, *self._real.pipes, *self._healing.pipes]
        if not self._ended and pipes:
            wait(pipes, timeout_s)
        for ended in self._simulating.ended(0):
            self._take(ended)
        for ended in self._real.ended(0):
            self._take(ended)
        for ended in self._healing.ended(0):
            self._healed(ended)
        self._tell_the_late()
        found, self._ended = self._ended, []
        return found

    def interrupt(self) -> None:
        """Simulated tests end at once, for they can be had again; real ones are told as by Ctrl-C, and heal."""
        for one in list(self._under_way.values()):
            if one.simulated:
                self._take(self._simulating.give_up(one.job.test.key, one.worker, "interrupted"))
                forget_unfinished(one.worker.note, self._store)
            else:
                self._tell(one)

    def _tell_the_late(self) -> None:
        now = time.monotonic()
        for one in self._under_way.values():
            late = now - one.worker.began > one.bound_s + one.told * GRACE_S
            if late and not one.simulated and one.told < 2:
                self._tell(one)

    def _tell(self, one: _UnderWay) -> None:
        if one.lost is not None:
            return  # its process is gone, and its pid may be somebody else's
        one.told += 1
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.worker.process.pid or 0, signal.SIGINT)

    def _take(self, ended: Ended[str]) -> None:
        one = self._under_way[ended.ticket]
        pid = one.worker.process.pid or 0
        name = self._names[pid]
        if ended.lost is None:
            attempt: Attempt = msgspec.structs.replace(ended.result, worker=name)
            self._end(Finished(one.job, attempt))
            return
        del self._names[pid]
        self._stillborn = self._stillborn + 1 if ended.stillborn else 0
        if self._stillborn >= STILLBORN_MAX:
            del self._under_way[ended.ticket]
            raise HarnessError(f"no process can be started that would run tests: {ended.lost}")
        attempt = Attempt(
            number=one.job.number, worker=name, seconds=round(ended.seconds, 3), error=ended.lost
        )
        if one.simulated or one.identity is None:
            self._end(Finished(one.job, attempt, lost=True))
            return
        # It has not ended before its cluster is gone: no other test has its ports and hosts, nor its next attempt.
        one.lost = attempt
        try:
            self._healing.start(ended.ticket, one.identity)
        except OSError as error:  # it ends all the same: whoever leaves waits for what is under way
            why = f"no process can be started: {error.strerror}"
            self._healed(Ended(ticket=ended.ticket, seconds=0.0, lost=why))

    def _healed(self, ended: Ended[str]) -> None:
        one = self._under_way[ended.ticket]
        assert one.lost is not None
        if ended.lost is None:
            self.errors += ended.result
        else:
            self.errors.append(
                f"what {one.lost.worker} left when it was lost could not be healed and removed ({ended.lost}): run "
                "foreshock heal, then foreshock clean"
            )
        self._end(Finished(one.job, one.lost, lost=True))

    def _end(self, finished: Finished) -> None:
        del self._under_way[finished.job.test.key]
        self._ended.append(finished)

    def _identify(self, worker: Worker) -> ProcessIdentity | None:
        """Which process it is; a new one gets a name, and is told of."""
        pid = worker.process.pid or 0
        identity = identify(pid)
        if pid not in self._names:
            taken = set(self._names.values())
            number = next(n for n in range(1, len(taken) + 2) if f"worker {n}" not in taken)
            self._names[pid] = f"worker {number}"
            if identity is not None:
                try:
                    self._begun(identity)
                except HarnessError as error:
                    self.errors.append(str(error))
        return identity


def bound_of(resolved: Resolved) -> float:
    """After so many seconds on the clock a test that has not ended will not: every step of it has its own bound."""
    plan = resolved.plan
    if resolved.backend.simulated:
        return SIMULATED_SECONDS_MAX + plan.deadline_s
    steps = plan.ready_timeout_s + plan.time_limit_s + plan.recovery_time_s + plan.deadline_s
    operations = 21 * plan.operation_timeout_ms / 1000
    fixed = (DEPLOY_TIMEOUT_NS + 2 * HEAL_TIMEOUT_NS + 3 * TEARDOWN_TIMEOUT_NS) / SECOND_NS
    return steps + operations + fixed + 120
