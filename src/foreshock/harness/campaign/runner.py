"""Runs a campaign: starts tests while there is room, runs failing seeds again, keeps all that is done."""

from __future__ import annotations

import datetime
import itertools
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from foreshock.harness.campaign.document import Attempt, CampaignDocument, CampaignRow, CampaignTest
from foreshock.harness.campaign.executor import Executor, Finished, Job, Running
from foreshock.harness.campaign.full_disk import filled, full_disk_in
from foreshock.harness.campaign.journal import Journal
from foreshock.harness.campaign.rows import exit_of, is_settled, judged, row_of, strays, summary_of
from foreshock.harness.campaign.triage import groups_of
from foreshock.harness.errors import HarnessError
from foreshock.harness.verdict import ExitCode, Verdict

POLL_S: Final = 0.25
ERRORS_MAX: Final = 100
LOOK_AHEAD: Final = 256
FURTHER_MAX: Final = 10_000
"""More tests than ever are under way, or wait for room, before one that has ended."""
_STOPPING: Final = ("failed", "flaky", "error")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a campaign stands, for whoever watches. ``planned`` is ``None`` while there is no end to it but time."""

    elapsed_s: float
    left_s: float | None
    planned: int | None
    done: int
    counts: Mapping[str, int]
    running: tuple[Running, ...]
    stopping: str


class Watcher:
    """Is told of the campaign's progress; this one says nothing."""

    def show(self, standing: Standing) -> None:
        """Something may have changed; called a few times a second."""

    def ended(self, row: CampaignRow, test: CampaignTest) -> None:
        """A test has its outcome."""

    def say(self, line: str) -> None:
        """Something happened that is to stay."""


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """How a campaign is run, and what its document says of it."""

    name: str
    planned: int | None
    axes: Mapping[str, tuple[str, ...]]
    rerun: int = 2
    fail_fast: bool = False
    for_s: float | None = None
    jobs: int = 1
    shard: str = ""
    command: str = ""


class Campaign:
    """One campaign, whose ``tests`` come in the order in which they are to be started."""

    def __init__(
        self,
        ways: Ways,
        tests: Iterator[CampaignTest],
        journal: Journal,
        executor: Executor,
        watcher: Watcher,
    ) -> None:
        self._ways = ways
        endless = ways.planned is None or ways.for_s is not None
        known = _as_far_as(journal.attempts, tests) if endless else list(tests)
        self._coming = itertools.chain(known, tests)
        self._journal = journal
        self._executor = executor
        self._watcher = watcher
        self._tests = {test.key: test for test in known if not endless or test.key in journal.attempts}
        self._rows: dict[str, CampaignRow] = {}
        """Of the tests that are done."""
        self._again: deque[CampaignTest] = deque()
        self._waiting: deque[CampaignTest] = deque()
        self._running: set[str] = set()
        self._exhausted = False
        self._interrupts = 0
        self._why_stopped = ""
        self._errors: dict[str, None] = {}
        self._began_s = time.monotonic()
        self._started = journal.started or datetime.datetime.now(datetime.UTC).isoformat(
            timespec="milliseconds"
        )
        self._counts: dict[str, int] = {}

    def interrupt(self) -> None:
        """Ctrl-C: the first starts no more tests and ends those under way; the second has those heal and leave."""
        self._interrupts += 1

    def run(self) -> CampaignDocument:
        """Run what is left to run; what is done is kept, and counts, whatever happens.

        Where there is nothing left that could run tests, the document says so: a test that was invalid stays so.
        """
        try:
            self._run()
        except HarnessError as error:
            self._why_stopped = "stopped by an error"
            self._running.clear()
            self._tell(str(error))
        document, known = self.document(), len(self._errors)
        self._write(document)
        return document if len(self._errors) == known else self.document()

    def _run(self) -> None:
        told = 0
        self._go_on()
        self._watcher.show(self._standing())
        while True:
            while not self._stopped and (job := self._next_job()) is not None:
                self._start(job)
            if not self._running and (self._stopped or self._is_over()):
                break
            for finished in self._executor.finished(POLL_S):
                self._done(finished)
            for error in self._executor.errors:
                self._tell(error)
            if told < self._interrupts + bool(self._why_stopped):
                told += 1
                self._executor.interrupt()
            self._watcher.show(self._standing())
            if self._journal.is_due:
                self._write()

    @property
    def _stopped(self) -> bool:
        return bool(self._interrupts or self._why_stopped)

    @property
    def _elapsed_s(self) -> float:
        return self._journal.spent_s + time.monotonic() - self._began_s

    def _next_job(self) -> Job | None:
        """The next job for which there is room; what is to be run again comes first.

        Where there is none for a test, those behind it wait as well, but for tests of other backends: a container's
        test that has to wait for memory does not keep a core from the simulator.
        """
        self._look_ahead()
        refused: set[str] = set()
        for waiting in (self._again, self._waiting):
            for place, test in enumerate(waiting):
                if test.request.backend in refused:
                    continue
                job = Job(test, len(self._journal.attempts.get(test.key, ())) + 1)
                if self._executor.can_start(job):
                    del waiting[place]
                    return job
                refused.add(test.request.backend)
        return None

    def _go_on(self) -> None:
        """What an earlier command has done is taken as it is; what it has begun comes first, also when time is up."""
        for key, attempts in self._journal.attempts.items():
            test = self._tests.get(key)
            if test is None:
                continue  # of a journal that somebody has edited
            if is_settled(attempts, rerun=self._ways.rerun):
                self._settle(test, attempts, told=False)
            else:
                self._again.append(test)

    def _look_ahead(self) -> None:
        """Fetch tests that were not begun."""
        if self._ways.for_s is not None and self._elapsed_s >= self._ways.for_s:
            self._waiting.clear()
            self._exhausted = True
        while not self._exhausted and not self._stopped and len(self._waiting) < LOOK_AHEAD:
            test = next(self._coming, None)
            if test is None:
                self._exhausted = True
                return
            if test.key not in self._journal.attempts:
                self._waiting.append(test)

    def _is_over(self) -> bool:
        return self._exhausted and not self._waiting and not self._again

    def _start(self, job: Job) -> None:
        self._tests[job.test.key] = job.test
        self._executor.start(job)
        self._running.add(job.test.key)

    def _done(self, finished: Finished) -> None:
        test, attempt = finished.job.test, finished.attempt
        self._running.discard(test.key)
        words = filled(attempt)
        if words is not None:
            self._stop_for_full_disk(words)
            if attempt.summary is None or attempt.summary.verdict != "invalid":
                return
        if self._stopped and _is_cut_short(finished):
            return  # it is run again by the command that goes on
        try:
            self._journal.add(test.key, attempt)
        except HarnessError as error:
            words = full_disk_in([str(error)])
            if words is None:
                raise
            self._stop_for_full_disk(words)
            return
        attempts = self._journal.attempts[test.key]
        if is_settled(attempts, rerun=self._ways.rerun):
            self._settle(test, attempts, told=True)
        else:
            self._again.append(test)

    def _settle(self, test: CampaignTest, attempts: Sequence[Attempt], *, told: bool) -> None:
        row = row_of(test, attempts, rerun=self._ways.rerun, running=False)
        self._rows[test.key] = row
        self._counts[row.outcome] = self._counts.get(row.outcome, 0) + 1
        stray = strays(test, attempts)
        if stray is not None:
            self._error(stray)
        if told:
            self._watcher.ended(row, test)
        if self._ways.fail_fast and row.outcome in _STOPPING and not self._why_stopped:
            self._why_stopped = "stopped at the first failure"

    def _stop_for_full_disk(self, words: str) -> None:
        if not self._why_stopped:
            self._why_stopped = "stopped because the disk is full"
        store = self._journal.directory.parents[2]
        self._error(
            f"the disk of the store {store} takes no more ({words}): what is done is kept; make room, and give the "
            "same command again"
        )

    def _error(self, sentence: str) -> None:
        if sentence not in self._errors and len(self._errors) < ERRORS_MAX:
            self._errors[sentence] = None
            self._watcher.say(sentence)

    def _write(self, document: CampaignDocument | None = None) -> None:
        began_s = time.monotonic()
        document = document or self.document()
        try:
            self._journal.write(document, made_in_s=time.monotonic() - began_s)
        except HarnessError as error:
            if self._journal.directory.is_dir():
                self._tell(str(error))
            else:
                self._stop_for_lost_folder()

    def _stop_for_lost_folder(self) -> None:
        """Somebody removed the folder of the campaign: nothing that ends from now on could be kept."""
        if not self._why_stopped:
            self._why_stopped = "stopped because its folder is gone"
        self._error(
            f"the campaign's folder {self._journal.directory} was removed while it ran, and with it what was done: "
            "the same command begins anew"
        )

    def _tell(self, sentence: str) -> None:
        """What went wrong beside the tests: where that was for want of room, nothing more is started."""
        words = full_disk_in([sentence])
        if words is None:
            self._error(sentence)
        else:
            self._stop_for_full_disk(words)

    def _standing(self) -> Standing:
        planned, for_s = self._ways.planned, self._ways.for_s
        return Standing(
            elapsed_s=self._elapsed_s,
            left_s=None if for_s is None else max(0.0, for_s - self._elapsed_s),
            planned=planned,
            done=len(self._rows),
            counts=dict(self._counts),
            running=tuple(self._executor.running()),
            stopping="interrupted" if self._interrupts else self._why_stopped,
        )

    def document(self) -> CampaignDocument:
        """The campaign as it stands."""
        rows = self._all_rows()
        complete = not self._stopped and self._is_over() and not self._running
        codes = [exit_of(row.attempts) for row in rows if row.attempts]
        codes += [ExitCode.INTERRUPTED] * bool(self._interrupts) + [ExitCode.HARNESS_ERROR] * bool(
            self._errors
        )
        verdict = Verdict.worst(Verdict.of_word(row.verdict) for row in rows if row.verdict)
        if not complete:
            verdict = Verdict.worst((verdict, Verdict.UNKNOWN))
            codes.append(ExitCode.UNKNOWN)
        planned = self._ways.planned if self._ways.planned is not None else len(rows)
        return CampaignDocument(
            name=self._ways.name,
            directory=str(self._journal.directory.absolute()),
            exit=int(ExitCode.worst(codes)),
            verdict=verdict.word,
            complete=complete,
            summary=summary_of(rows, planned),
            started=self._started,
            seconds=round(self._elapsed_s, 2),
            planned=planned,
            done=len(self._rows),
            jobs=self._ways.jobs,
            shard=self._ways.shard,
            command=self._ways.command,
            axes=self._ways.axes,
            rows=rows,
            groups=groups_of(rows),
            harness_errors=tuple(self._errors),
        )

    def _all_rows(self) -> tuple[CampaignRow, ...]:
        """The tests as far as they are known, in the order in which they were to be started."""
        return tuple(
            self._rows.get(key)
            or row_of(
                test,
                self._journal.attempts.get(key, ()),
                rerun=self._ways.rerun,
                running=key in self._running,
            )
            for key, test in self._tests.items()
        )


def _as_far_as(begun: Collection[str], tests: Iterator[CampaignTest]) -> list[CampaignTest]:
    """The first of ever more tests, until all that were begun are among them."""
    found, left = list[CampaignTest](), set(begun)
    # A bound, for a test that somebody has put into the journal never comes.
    while left and len(found) <= len(begun) + FURTHER_MAX:
        test = next(tests, None)
        if test is None:
            break
        found.append(test)
        left.discard(test.key)
    return found


def _is_cut_short(finished: Finished) -> bool:
    """Whether an attempt was ended before its time, and proves nothing: an ``invalid`` is one even then."""
    return finished.lost or (finished.attempt.summary is not None and not judged([finished.attempt]))
