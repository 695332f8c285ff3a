"""Tries candidates on worker processes, many at a time, and answers as if it tried one after another.

What comes of a search must not depend on how many workers there are, nor on which is the quickest: candidates count
in their order, and one that fails is taken only when all before it are known not to. Tests that were begun on the
chance are remembered, and cost nothing of the budget until their turn comes.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import msgspec

from foreshock.harness.campaign.job import Task, run_task
from foreshock.harness.errors import HarnessError
from foreshock.harness.process_pool import Ended, Note, ProcessPool
from foreshock.harness.registry import look_in
from foreshock.harness.request import Request
from foreshock.harness.shrinking.candidate import Candidate, Failure
from foreshock.harness.store import HISTORY, RESULTS, read_json
from foreshock.harness.summary import interval_of

POLL_S: Final = 0.2
NICENESS: Final = 5
STILLBORN_MAX: Final = 3
"""So many processes in a row that end before they begin mean that none can be started."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one test. ``ends_ns`` is when what is wrong was seen, since the first operation began.

    ``failure`` is missing where the test was not invalid; ``error`` says why there was no test at all.
    """

    verdict: str = ""
    failure: Failure | None = None
    reason: str = ""
    operations: int = 0
    faults: int = 0
    ends_ns: int | None = None
    harness_errors: int = 0
    error: str = ""
    seconds: float = 0.0


class Found(NamedTuple):
    """A candidate that fails, with which seed, and how."""

    candidate: Candidate
    seed: int
    trial: Trial


class Spent(Exception):
    """The search is over before it is done: the budget, the time, or the patience of who watches is spent."""


class Watcher:
    """Is told how the search goes; this one says nothing."""

    def step(self, what: str) -> None:
        """Another kind of thing is tried now."""

    def smaller(self, what: str, found: Found) -> None:
        """A smaller test fails as well."""

    def show(self, tests: int, running: int) -> None:
        """So many tests count by now; called a few times a second."""


class _Task(msgspec.Struct, frozen=True):
    request: Request
    scratch: str
    directory: str


def run_trial(task: _Task, _note: Note) -> Trial:
    """Run one test in a worker; nothing of it stays on the disk."""
    if task.directory:
        look_in(Path(task.directory))
    attempt = run_task(
        Task(request=task.request, number=1, store=task.scratch, report="none", keep="failures")
    )
    summary = attempt.summary
    if summary is None:
        return Trial(error=attempt.error, seconds=attempt.seconds)
    ends_ns = None
    if summary.run:
        run = Path(summary.run)
        ends_ns = _ends_ns(run, summary.checker) if summary.verdict == "invalid" else None
        shutil.rmtree(run, ignore_errors=True)
    return Trial(
        verdict=summary.verdict,
        failure=Failure.of(summary) if summary.verdict == "invalid" else None,
        reason=summary.reason,
        operations=sum(summary.operations.values()),
        faults=sum(summary.faults.values()),
        ends_ns=ends_ns,
        harness_errors=len(summary.harness_errors),
        seconds=attempt.seconds,
    )


def _ends_ns(run: Path, checker: str) -> int | None:
    """When the first counterexample of a checker was complete, since the first operation; ``None``: it has none."""
    result: Mapping[str, Any] = read_json(run / RESULTS)["checkers"][checker]
    examples = result.get("counterexamples") or ()
    ends = [end for example in examples[:1] if (end := interval_of(example)[1])]
    if not ends:
        return None
    with (run / HISTORY).open("rb") as lines:
        began_ns: int = msgspec.json.decode(next(lines))["time_ns"]
    return ends[0] - began_ns


class Trials:
    """The workers of one search, and all that they have found out. Leaving it ends them."""

    def __init__(
        self,
        failure: Failure,
        scratch: Path,
        watcher: Watcher,
        *,
        jobs: int,
        budget: int,
        deadline_s: float,
        test_seconds_max: float,
        directory: str = "",
        errors_allowed: bool = False,
        any_kind: bool = False,
    ) -> None:
        self.failure = failure
        self.tests = 0
        """How many tests count by now."""
        self.began_s = time.monotonic()
        self._scratch = scratch
        self._watcher = watcher
        self._jobs = jobs
        self._budget = budget
        self._deadline_s = deadline_s
        self._directory = directory
        self._errors_allowed = errors_allowed
        self._any_kind = any_kind
        self._known: dict[tuple[str, int], Trial] = {}
        self._counted: set[tuple[str, int]] = set()
        self._stopped = False
        self._stillborn = 0
        self._pool = ProcessPool[tuple[str, int]](run_trial, seconds_max=test_seconds_max, niceness=NICENESS)

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, trace)

    def stop(self) -> None:
        """Give the search up; what was found until now counts."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """Whether somebody gave it up."""
        return self._stopped

    def fails(self, trial: Trial) -> bool:
        """Whether a test failed in the way that is looked for."""
        if trial.failure is None or (trial.harness_errors and not self._errors_allowed):
            return False
        if self._any_kind:
            return trial.failure.checker == self.failure.checker
        return trial.failure == self.failure

    def first(
        self, candidates: Iterable[Candidate], seeds: Sequence[int], *, operations_max: int | None = None
    ) -> Found | None:
        """The first candidate that fails with one of the seeds, in so many operations; raises :class:`Spent`."""
        pairs = ((candidate, seed) for candidate in candidates for seed in seeds)
        return self._first(pairs, operations_max)

    def one(self, candidate: Candidate, seed: int) -> Trial:
        """What comes of one test; raises :class:`Spent`."""
        self._first(iter([(candidate, seed)]), None)
        return self._known[candidate.key(), seed]

    def _first(self, pairs: Iterator[tuple[Candidate, int]], operations_max: int | None) -> Found | None:
        ahead: deque[tuple[tuple[str, int], Candidate, int]] = deque()
        more = True
        while True:
            while more and len(ahead) < self._jobs:
                pair = next(pairs, None)
                if pair is None:
                    more = False
                    break
                ahead.append(((pair[0].key(), pair[1]), *pair))
            if not ahead:
                return None
            ticket, candidate, seed = ahead[0]
            self._count(ticket)
            if ticket not in self._known:
                self._start(ahead)
                self._wait()
                continue
            trial = self._known[ticket]
            if self.fails(trial) and (operations_max is None or trial.operations <= operations_max):
                return Found(candidate, seed, trial)
            ahead.popleft()

    def _count(self, ticket: tuple[str, int]) -> None:
        """A test's turn has come: it counts, if there is any budget left for it."""
        if self._stopped:
            raise Spent("interrupted")
        if time.monotonic() - self.began_s > self._deadline_s:
            raise Spent(f"the deadline of {self._deadline_s:g} s is over")
        if ticket in self._counted:
            return
        if self.tests >= self._budget:
            raise Spent(f"the budget of {self._budget} tests is spent")
        self._counted.add(ticket)
        self.tests += 1

    def _start(self, ahead: Iterable[tuple[tuple[str, int], Candidate, int]]) -> None:
        """Start what is ahead, as far as there are workers; one that an earlier search began may hold one."""
        under_way = {ticket for ticket, _ in self._pool.under_way()}
        for ticket, candidate, seed in ahead:
            if len(under_way) >= self._jobs:
                return
            if ticket not in self._known and ticket not in under_way:
                request = candidate.request_in(self._scratch, seed)
                self._pool.start(ticket, _Task(request, str(self._scratch), self._directory))
                under_way.add(ticket)

    def _wait(self) -> None:
        for ended in self._pool.ended(POLL_S):
            self._known[ended.ticket] = self._trial(ended)
        self._watcher.show(self.tests, len(self._pool.under_way()))

    def _trial(self, ended: Ended[tuple[str, int]]) -> Trial:
        if ended.lost is None:
            self._stillborn = 0
            trial: Trial = ended.result
            return trial
        self._stillborn = self._stillborn + 1 if ended.stillborn else 0
        if self._stillborn >= STILLBORN_MAX:
            raise HarnessError(f"no process can be started that would run tests: {ended.lost}")
        return Trial(error=ended.lost, seconds=ended.seconds)
