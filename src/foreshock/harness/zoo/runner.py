"""Runs the zoo: hunts and surveys share the workers, and every finished test is in the journal at once."""

from __future__ import annotations

import time
from collections import deque
from typing import NamedTuple

import msgspec

from foreshock.harness.request import Request
from foreshock.harness.zoo.document import (
    BugRow,
    ZooDocument,
    bug_row,
    correct_rows,
    exit_code,
    summary_of,
    unhunted_row,
)
from foreshock.harness.zoo.journal import Journal, key_of
from foreshock.harness.zoo.plan import Hunt, Survey, Zoo
from foreshock.harness.zoo.workers import SimulatedTest, Workers

POLL_S = 0.25
KEPT = "runs"
"""The folder, beside the journal, of the tests that were kept."""


class Job(NamedTuple):
    """One test to run: the ``number``-th of its hunt or survey."""

    part: Hunt | Survey
    number: int
    request: Request


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run of the zoo stands, for whoever watches."""

    elapsed_s: float
    hunts: int
    found: int
    missed: int
    tests: int
    planned: int
    """How many tests of correct targets there are; ``tests`` of them are done."""
    alarms: int
    running: tuple[tuple[str, float], ...]
    """What is under way, each with its seconds."""
    simulated_s: float


class Watcher:
    """Is told of the zoo's progress; this one says nothing."""

    def show(self, standing: Standing) -> None:
        """Something may have changed; called a few times a second."""

    def hunted(self, row: BugRow) -> None:
        """A hunt has ended."""

    def alarmed(self, survey: Survey, request: Request, result: SimulatedTest) -> None:
        """A test of something correct was not valid."""


class ZooRun:
    """One run of the zoo in one folder."""

    def __init__(self, zoo: Zoo, journal: Journal, watcher: Watcher, *, jobs: int) -> None:
        self._zoo = zoo
        self._journal = journal
        self._watcher = watcher
        self._jobs = jobs
        self._stopped = False
        self._began = time.monotonic()
        self._hunted: dict[str, list[SimulatedTest]] = {hunt.name: [] for hunt in zoo.hunts}
        self._open: deque[Hunt] = deque(zoo.hunts)
        self._surveyed: dict[str, list[SimulatedTest | None]] = {
            survey.name: [journal.results.get(key_of(request)) for request in survey.tests]
            for survey in zoo.surveys
        }
        self._left = deque(
            Job(survey, number, survey.tests[number])
            for survey in zoo.surveys
            for number, known in enumerate(self._surveyed[survey.name])
            if known is None
        )

    def stop(self) -> None:
        """Start no more tests and give up those under way; what is done is kept."""
        self._stopped = True

    def run(self) -> ZooDocument:
        """Run what is left to run; raises :class:`HarnessError` when the journal cannot be written."""
        with Workers[Job](self._jobs, self._journal.directory / KEPT) as workers:
            while not self._stopped:
                while workers.free and (job := self._next()) is not None:
                    workers.start_test(job, job.request)
                if not workers.running():
                    break
                for job, result in workers.results(POLL_S):
                    self._done(job, result)
                self._watcher.show(self._standing(workers))
        self._journal.close()
        return self.document()

    def document(self) -> ZooDocument:
        """What was found until now."""
        bugs = (
            *(bug_row(hunt, self._hunted[hunt.name]) for hunt in self._zoo.hunts),
            *(unhunted_row(name) for name in self._zoo.unhunted),
        )
        correct = [
            row for survey in self._zoo.surveys for row in correct_rows(survey, self._surveyed[survey.name])
        ]
        complete = not self._stopped and not self._open and all(row.tests == row.planned for row in correct)
        return ZooDocument(
            exit=int(exit_code(bugs, correct, complete=complete)),
            complete=complete,
            summary=summary_of(bugs, correct),
            seconds=round(time.monotonic() - self._began, 2),
            simulated_seconds=round(
                sum(row.simulated_seconds for row in bugs) + sum(row.simulated_seconds for row in correct), 2
            ),
            tests=sum(row.tests for row in bugs) + sum(row.tests for row in correct),
            jobs=self._jobs,
            run=str(self._journal.directory),
            bugs=bugs,
            correct=tuple(correct),
        )

    def _next(self) -> Job | None:
        """The next test to start: hunts first, for how long they take is not known."""
        while self._open:
            hunt = self._open.popleft()
            request = hunt.test(len(self._hunted[hunt.name]))
            known = self._journal.results.get(key_of(request))
            if known is None:
                return Job(hunt, len(self._hunted[hunt.name]), request)
            self._take(hunt, known)
        return self._left.popleft() if self._left else None

    def _done(self, job: Job, result: SimulatedTest) -> None:
        self._journal.add(job.request, result)
        if isinstance(job.part, Hunt):
            self._take(job.part, result)
            return
        self._surveyed[job.part.name][job.number] = result
        if result.exit:
            self._watcher.alarmed(job.part, job.request, result)

    def _take(self, hunt: Hunt, result: SimulatedTest) -> None:
        results = self._hunted[hunt.name]
        results.append(result)
        if result.verdict != "invalid" and len(results) < hunt.exhibit.budget:
            self._open.append(hunt)
        else:
            self._watcher.hunted(bug_row(hunt, results))

    def _standing(self, workers: Workers[Job]) -> Standing:
        ended = [
            results[-1].verdict == "invalid"
            for hunt in self._zoo.hunts
            if (results := self._hunted[hunt.name])
            and (results[-1].verdict == "invalid" or len(results) >= hunt.exhibit.budget)
        ]
        surveyed = [
            (survey.tests[number], result)
            for survey in self._zoo.surveys
            for number, result in enumerate(self._surveyed[survey.name])
            if result is not None
        ]
        return Standing(
            elapsed_s=time.monotonic() - self._began,
            hunts=len(self._zoo.hunts),
            found=sum(ended),
            missed=len(ended) - sum(ended),
            tests=len(surveyed),
            planned=sum(len(survey.tests) for survey in self._zoo.surveys),
            alarms=sum(bool(result.exit) for _, result in surveyed),
            running=tuple((job.part.name, seconds) for job, seconds in workers.running()),
            simulated_s=sum(request.time_limit for request, _ in surveyed)
            + sum(hunt.exhibit.request.time_limit * len(self._hunted[hunt.name]) for hunt in self._zoo.hunts),
        )
