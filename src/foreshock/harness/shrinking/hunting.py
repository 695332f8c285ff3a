"""Hunts a failure in the simulator: the same test with one seed after another, on all processors.

What is found depends on no timing: the first failure is that of the least seed, however many tests run at a time, for
those of lesser seeds that are under way when one fails are waited for. Tests leave nothing on the disk; one that
failed is run once more into the store, with its report, which also shows that it comes out the same again.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from foreshock.harness.campaign.document import Attempt, CampaignRow, Group
from foreshock.harness.campaign.job import Task, run_task
from foreshock.harness.campaign.triage import groups_of
from foreshock.harness.errors import HarnessError
from foreshock.harness.process_pool import Ended, ProcessPool
from foreshock.harness.request import Request
from foreshock.harness.scratch import scratch_folder
from foreshock.harness.shrinking.trials import STILLBORN_MAX
from foreshock.harness.shrinking.view import Ticker
from foreshock.harness.summary import TestSummary
from foreshock.harness.verdict import ExitCode, Verdict

Ending = Literal["found", "done", "interrupted", "time"]
POLL_S: Final = 0.2
NICENESS: Final = 5
TEST_SECONDS_MAX: Final = 300.0
KEPT_MAX: Final = 20
"""So many failing runs are kept; of more, only the seeds are known."""
TRIAGED_MAX: Final = 2_000
BROKEN_MAX: Final = 20
"""When so many tests have ended and none of them could be done, the next thousand need not be tried."""
CODES: Final = {
    "invalid": ExitCode.INVALID,
    "unknown": ExitCode.UNKNOWN,
    "error": ExitCode.HARNESS_ERROR,
}


class Failing(msgspec.Struct, frozen=True, kw_only=True):
    """A seed whose test was not valid; ``run`` is its folder where it was kept."""

    seed: int
    outcome: str
    reason: str
    checker: str = ""
    run: str | None = None
    replay: str = ""


class HuntDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a hunt. ``counts`` are tests by outcome: ``valid``, ``invalid``, ``unknown``, ``error``.

    ``ended`` is why it ended: a failure was ``found``, all was ``done``, it was ``interrupted``, or its ``time`` was
    over. ``next_seed`` is the least that was not begun with.
    """

    verdict: str
    exit: int
    ended: Ending
    tests: int
    planned: int
    first_seed: int
    next_seed: int
    seconds: float
    simulated_seconds: float
    jobs: int
    counts: Mapping[str, int]
    failing: tuple[Failing, ...]
    groups: tuple[Group, ...] = ()
    harness_errors: tuple[str, ...] = ()


class _Ticket(NamedTuple):
    seed: int
    keep: bool = False


class Hunt:
    """One hunt. ``everything``: the first failure does not end it."""

    def __init__(
        self,
        request: Request,
        store: Path,
        ticker: Ticker,
        *,
        seeds: int,
        jobs: int,
        everything: bool = False,
        seconds_max: float | None = None,
    ) -> None:
        self._request = request
        self._store = store
        self._ticker = ticker
        self._first = self._next = request.seed or 0
        self._end = self._first + seeds
        self._jobs = jobs
        self._everything = everything
        self._seconds_max = seconds_max
        self._counts: Counter[str] = Counter()
        self._failing: dict[int, Failing] = {}
        self._attempts: dict[int, Attempt] = {}
        self._to_keep: list[int] = []
        self._kept = 0
        self._stopped = False
        self._stillborn = 0
        self._errors: list[str] = []
        self._began_s = time.monotonic()

    def stop(self) -> None:
        """Begin with no more tests, and give up those under way."""
        self._stopped = True

    def run(self) -> HuntDocument:
        """Hunt; raises :class:`HarnessError` when no test can be done at all."""
        seconds_max = TEST_SECONDS_MAX + self._request.deadline
        pool = ProcessPool[_Ticket](run_task, seconds_max=seconds_max, niceness=NICENESS)
        with scratch_folder("hunt") as scratch, pool:
            while not self._stopped:
                while len(pool.under_way()) < self._jobs and (ticket := self._ticket()) is not None:
                    pool.start(ticket, self._task(ticket, scratch))
                needed = [ticket for ticket, _ in pool.under_way() if self._is_needed(ticket)]
                if not needed and not self._to_keep and not self._keep_the_first():
                    break
                for ended in pool.ended(POLL_S):
                    self._take(ended)
                self._ticker.stand(self._standing(len(needed)))
        return self._document()

    @property
    def _found(self) -> int | None:
        """The least seed that is known to fail."""
        return min((seed for seed, one in self._failing.items() if one.outcome == "invalid"), default=None)

    def _is_over(self) -> bool:
        late = self._seconds_max is not None and time.monotonic() - self._began_s > self._seconds_max
        return late or (self._found is not None and not self._everything)

    def _is_needed(self, ticket: _Ticket) -> bool:
        """Whether the outcome of a test still matters: once one has failed, that of lesser seeds only."""
        return ticket.keep or self._everything or self._found is None or ticket.seed < self._found

    def _ticket(self) -> _Ticket | None:
        """What to start next: a failing test once more to keep it, or the next seed."""
        if self._to_keep:
            return _Ticket(self._to_keep.pop(0), keep=True)
        if self._is_over() or self._next >= self._end:
            return None
        self._next += 1
        return _Ticket(self._next - 1)

    def _task(self, ticket: _Ticket, scratch: Path) -> Task:
        request = msgspec.structs.replace(self._request, seed=ticket.seed)
        if ticket.keep:
            return Task(request=request, number=1, store=str(self._store), report="all")
        return Task(request=request, number=1, store=str(scratch), report="none", keep="failures")

    def _take(self, ended: Ended[_Ticket]) -> None:
        attempt: Attempt = ended.result
        if ended.lost is not None:
            self._stillborn = self._stillborn + 1 if ended.stillborn else 0
            if self._stillborn >= STILLBORN_MAX:
                raise HarnessError(f"no process can be started that would run tests: {ended.lost}")
            attempt = Attempt(number=1, error=ended.lost)
        if ended.ticket.keep:
            self._keep(ended.ticket.seed, attempt)
            return
        if attempt.summary is not None and attempt.summary.run:
            shutil.rmtree(attempt.summary.run, ignore_errors=True)
        outcome = outcome_of(attempt)
        self._counts[outcome] += 1
        if outcome != "valid":
            self._note(ended.ticket.seed, outcome, attempt)
        if self._counts["error"] >= BROKEN_MAX and self._counts["error"] == self._counts.total():
            raise HarnessError(f"none of the first {BROKEN_MAX} tests could be done: {_reason(attempt)}")

    def _note(self, seed: int, outcome: str, attempt: Attempt) -> None:
        """Remember a test that was not valid; in a hunt for everything it is kept at once."""
        if len(self._failing) >= TRIAGED_MAX:
            return
        summary = attempt.summary
        self._attempts[seed] = attempt
        self._failing[seed] = Failing(
            seed=seed,
            outcome=outcome,
            reason=_reason(attempt),
            checker="" if summary is None else summary.checker,
            replay="" if summary is None else summary.replay,
        )
        if len(self._failing) <= KEPT_MAX:
            self._ticker.say(f"{outcome.upper():<8} seed {seed}: {_reason(attempt)[:160]}")
        if self._everything and self._kept < KEPT_MAX:
            self._kept += 1
            self._to_keep.append(seed)

    def _keep(self, seed: int, attempt: Attempt) -> None:
        """A failing test was run once more, into the store."""
        summary, before = attempt.summary, self._failing[seed]
        if summary is None or (outcome_of(attempt) == "error" != before.outcome):
            self._errors.append(
                f"the test with seed {seed} was {before.outcome}, and could not be run again to be kept: "
                f"{_reason(attempt)}"
            )
            return
        if outcome_of(attempt) != before.outcome:
            self._errors.append(
                f"the test with seed {seed} was {before.outcome}, and {outcome_of(attempt)} when it was run again: it "
                "is not deterministic (a plug-in may look at the clock, or draw by itself)"
            )
            return
        self._attempts[seed] = attempt
        self._failing[seed] = msgspec.structs.replace(before, run=summary.run)

    def _keep_the_first(self) -> bool:
        """Have the first failure kept, now that all lesser seeds have been tried, unless that has been done."""
        if self._everything or self._found is None or self._kept:
            return False
        self._kept = 1
        self._to_keep.append(self._found)
        return True

    def _standing(self, running: int) -> str:
        tests, elapsed_s = self._counts.total(), time.monotonic() - self._began_s
        simulated_s = tests * self._request.time_limit
        found = ", ".join(f"{self._counts[word]} {word}" for word in CODES if self._counts[word])
        found = found or ("all valid" if tests else "none has ended yet")
        return (
            f"{elapsed_s:.0f} s  {tests} of {self._end - self._first} seeds, {tests / elapsed_s:.1f} tests/s, "
            f"{simulated_s:.0f} simulated s, {running} running: {found}"
        )

    def _document(self) -> HuntDocument:
        failing = [self._failing[seed] for seed in sorted(self._failing)]
        rows = [_row(one, self._attempts[one.seed]) for one in failing]
        codes = [CODES[word] for word in CODES if self._counts[word]]
        codes += [ExitCode.HARNESS_ERROR] * bool(self._errors)
        ended: Ending = "done" if self._next >= self._end else "time"
        if self._stopped:
            ended = "interrupted"
            codes.append(ExitCode.INTERRUPTED)
        elif self._found is not None and not self._everything:
            ended = "found"
        worst = [Verdict.of_word(word) for word in ("invalid", "unknown") if self._counts[word]]
        if self._counts["error"] or not self._counts:
            worst.append(Verdict.UNKNOWN)
        tests = self._counts.total()
        return HuntDocument(
            verdict=Verdict.worst(worst).word,
            exit=int(ExitCode.worst(codes)),
            ended=ended,
            tests=tests,
            planned=self._end - self._first,
            first_seed=self._first,
            next_seed=self._next,
            seconds=round(time.monotonic() - self._began_s, 2),
            simulated_seconds=round(tests * self._request.time_limit, 3),
            jobs=self._jobs,
            counts={word: self._counts[word] for word in ("valid", *CODES)},
            failing=tuple(failing),
            groups=groups_of(rows),
            harness_errors=tuple(self._errors),
        )


def outcome_of(attempt: Attempt) -> str:
    """``valid``, ``invalid``, ``unknown``, or ``error`` where the harness could not do its work."""
    summary: TestSummary | None = attempt.summary
    if summary is None:
        return "error"
    if summary.verdict == "invalid":
        return "invalid"
    return "error" if summary.harness_errors else summary.verdict


def _reason(attempt: Attempt) -> str:
    summary = attempt.summary
    if summary is None:
        return attempt.error
    if summary.verdict != "invalid" and summary.harness_errors:
        return "; ".join(summary.harness_errors)
    return summary.reason


def _row(one: Failing, attempt: Attempt) -> CampaignRow:
    """A failing seed as a campaign has it, for its failures are grouped in the same way."""
    outcome: Literal["failed", "error", "unknown"] = "unknown" if one.outcome == "unknown" else "error"
    return CampaignRow(
        key=str(one.seed),
        cell={},
        seed=one.seed,
        outcome="failed" if one.outcome == "invalid" else outcome,
        verdict=one.outcome,
        attempts=(attempt,),
    )


def least_of(groups: Sequence[Group]) -> list[int]:
    """The least seed of each group of violations."""
    return [min(map(int, group.tests)) for group in groups if group.verdict == "invalid"]
