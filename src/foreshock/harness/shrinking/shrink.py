"""Shrinks a stored run: finds the least test that still fails in the same way, and keeps it as a run of its own."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from foreshock.harness.errors import HarnessError, UsageError
from foreshock.harness.interrupts import catch_interrupts
from foreshock.harness.judge import Judgement
from foreshock.harness.plan import Resolved, resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.publish import Outcome
from foreshock.harness.request import Request
from foreshock.harness.runner import run_test
from foreshock.harness.schedule_file import ScheduledFault, read_schedule
from foreshock.harness.schedule_record import SCHEDULE, toml_text
from foreshock.harness.scratch import scratch_folder
from foreshock.harness.shrinking.candidate import SECOND_NS, Failure
from foreshock.harness.shrinking.reduction import Reduction
from foreshock.harness.shrinking.sameness import compare_runs
from foreshock.harness.shrinking.stored_test import StoredTest, read_test, run_again, write_schedule
from foreshock.harness.shrinking.trials import Found, Spent, Trials, Watcher
from foreshock.harness.shrinking.view import Ticker
from foreshock.harness.store import RESULTS, Store, write_json
from foreshock.harness.summary import TestSummary, read_summary
from foreshock.harness.verdict import ExitCode

SHRINK: Final = "shrink.json"
"""Beside ``test.json`` of the run that came of it: the document of the search."""
TEST_SECONDS_MAX: Final = 300.0


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How much a search may cost. ``any_kind``: the same checker is enough, whatever operation it finds impossible."""

    jobs: int
    budget: int = 300
    deadline_s: float = 300.0
    seeds: int = 3
    any_kind: bool = False


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How large a test is. ``options`` are those that were lowered."""

    faults: int
    operations: int
    time_limit_s: float
    nodes: int
    processes: int
    rate: float
    seed: int
    options: Mapping[str, Any] = {}


class Shrunk(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: ``shrink.json``, and what ``foreshock shrink --json`` prints with the new run's judgement.

    ``ended`` says why the search was over before nothing helped any more (``""``: it was not). ``same`` is whether
    the new run came out the same, byte for byte, when it was run once more. ``scheduled`` is false where the recorded
    faults alone did not bring the failure back, so that no single one could be left out.
    """

    of: str
    run: str
    verdict: str
    exit: int
    failure: str
    before: Size
    after: Size
    tests: int
    seconds: float
    jobs: int
    command: str
    faults: tuple[str, ...]
    """The least faults, in words; empty where they are drawn, or there are none."""
    schedule: str | None
    scheduled: bool
    same: bool
    ended: str = ""


class ShrunkRun(msgspec.Struct, frozen=True, kw_only=True):
    """The document, and the new run."""

    document: Shrunk
    outcome: Outcome

    @property
    def judgement(self) -> Judgement:
        """How the new run ended."""
        return self.outcome.judgement


class Interrupted(HarnessError):
    """It was interrupted before there was anything to keep."""


def shrink(run: Path, store: Path, effort: Effort, ticker: Ticker) -> ShrunkRun:
    """Shrink the stored run in this folder; what comes of it is a run in the store.

    Raises :class:`UsageError` for a run that cannot be shrunk, and :class:`HarnessError` for one that does not fail
    any more.
    """
    began_s = time.monotonic()
    stored, summary = _shrinkable(run)
    resolved = run_again(stored, store).resolved
    failure = Failure.of(summary)
    view = _View(ticker, failure)
    with scratch_folder("shrink") as scratch:
        trials = Trials(
            failure,
            scratch,
            view,
            jobs=effort.jobs,
            budget=effort.budget,
            deadline_s=effort.deadline_s,
            test_seconds_max=TEST_SECONDS_MAX + resolved.plan.deadline_s,
            directory=stored.directory,
            errors_allowed=bool(summary.harness_errors),
            any_kind=effort.any_kind,
        )
        reduction = Reduction(trials, view, resolved, _recorded(run, resolved), seeds=effort.seeds)
        with trials, catch_interrupts(trials.stop):
            first = _first(reduction)
            ended = reduction.run()
        best = reduction.best or first
        ticker.stand("the least test, run twice")
        outcome, schedule = _keep(stored, best, store)
        again = run_test(_resolved_of(outcome), Store(scratch), SilentProgress(), report=False)
        same = compare_runs(outcome.run, again.run).same
    lowered = _lowered(best, resolved)
    document = Shrunk(
        of=str(run),
        run=str(outcome.run),
        verdict=outcome.judgement.verdict,
        exit=outcome.judgement.exit if same else int(ExitCode.HARNESS_ERROR),
        failure=str(failure),
        before=_size(first, summary, lowered[0]),
        after=_size(best, read_summary(outcome.run), lowered[1]),
        tests=trials.tests,
        seconds=round(time.monotonic() - began_s, 2),
        jobs=effort.jobs,
        command=outcome.judgement.replay,
        faults=tuple(map(_in_words, best.candidate.faults or ())),
        schedule=schedule,
        scheduled=reduction.scheduled or not resolved.plan.nemeses,
        same=same,
        ended=ended,
    )
    write_json(outcome.run / SHRINK, document)
    return ShrunkRun(document=document, outcome=outcome)


def _shrinkable(run: Path) -> tuple[StoredTest, TestSummary]:
    """The test of a run that can be shrunk; raises :class:`UsageError` that says why another one cannot."""
    stored = read_test(run)
    if not stored.simulated:
        raise UsageError(
            f"the run {run.name!r} was on real nodes (backend {stored.plan.backend!r}): to shrink it takes hundreds of "
            "tests that come out the same each time, and only the simulator has those; hunt the failure there first, "
            f"by foreshock hunt {shlex.join(stored.request.arguments('sim', None))}"
        )
    if not (run / RESULTS).exists():
        raise UsageError(
            f"the run {run.name!r} has no verdict, for its harness was killed: foreshock analyze gives it one"
        )
    summary = read_summary(run)
    if summary.verdict != "invalid":
        raise UsageError(
            f"the run {run.name!r} was {summary.verdict}, and only one that was invalid can be shrunk: there is "
            "nothing that a smaller test would have to show"
        )
    return stored, summary


def _recorded(run: Path, resolved: Resolved) -> Sequence[ScheduledFault]:
    """What the nemeses of the run did, as it was recorded."""
    path, plan = run / SCHEDULE, resolved.plan
    if not plan.nemeses or not path.is_file():
        return ()
    doers = dict(zip(plan.nemeses, (cls for cls, _ in resolved.nemesis_classes), strict=True))
    limit_ns = round(plan.time_limit_s * SECOND_NS)
    faults = read_schedule(path, doers, plan.nodes, plan.time_limit_s + 1)
    return [fault for fault in faults if fault.at_ns < limit_ns]


def _first(reduction: Reduction) -> Found:
    try:
        return reduction.start()
    except Spent as end:
        if str(end) == "interrupted":
            raise Interrupted(
                "interrupted before the run itself had been run again: nothing was kept"
            ) from None
        raise HarnessError(f"{end}, before the run itself had been run again: give more") from None


def _keep(stored: StoredTest, best: Found, store: Path) -> tuple[Outcome, str | None]:
    """Run the least test into the store, with its report; also returns the path of its schedule."""
    request = msgspec.structs.replace(best.candidate.request, seed=best.seed)
    schedule = None
    if best.candidate.faults:
        head = f"The least faults with which the test of the run {stored.run.name} still fails."
        path = write_schedule(store, f"{stored.run.name}-shrunk", best.candidate.faults, head)
        schedule = str(path)
        request = msgspec.structs.replace(request, schedule=schedule)
    return run_test(resolve(_tidied(request)), Store(store), SilentProgress()), schedule


def _tidied(request: Request) -> Request:
    """The request without what comes to the same plan when it is not said, or not in full."""
    default, plan = Request(), resolve(request).plan
    shorter: list[dict[str, Any]] = [
        {name: getattr(default, name)} for name in ("nemesis", "nodes", "concurrency")
    ]
    options = {key.removeprefix("workload."): value for key, value in request.options.items()}
    for settings in (*shorter, {"options": options}):
        short = msgspec.structs.replace(request, **settings)
        try:
            request = short if resolve(short).plan == plan else request
        except UsageError:
            continue  # such as a nemesis of the user's own, which a schedule alone does not name
    return request


def _resolved_of(outcome: Outcome) -> Resolved:
    """The test of a run that has just ended, as its file says it."""
    return resolve(read_test(outcome.run).request)


def _size(found: Found, summary: TestSummary, options: Mapping[str, Any]) -> Size:
    request = found.candidate.request
    named = (request.nodes or "").split(",")
    return Size(
        faults=sum(summary.faults.values()),
        operations=sum(summary.operations.values()),
        time_limit_s=request.time_limit,
        nodes=int(named[0]) if named[0].isdigit() else len(named),
        processes=int(request.concurrency),
        rate=request.rate,
        seed=found.seed,
        options=options,
    )


def _lowered(best: Found, resolved: Resolved) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of the workload that were lowered: as they were, and as they are."""
    before, after = {}, {}
    for key, value in best.candidate.request.options.items():
        name = key.removeprefix("workload.")
        was = resolved.plan.options["workload"].get(name)
        if name in resolved.workload_class.lessens and str(value) != str(was):
            before[name], after[name] = was, value
    return before, after


def _in_words(fault: ScheduledFault) -> str:
    what = f"at {fault.at_ns / SECOND_NS:g} s {fault.do}"
    lasts = "" if fault.stop is None else f" for {fault.lasts_ns / SECOND_NS:g} s"
    return f"{what}{'' if fault.value is None else f' {toml_text(fault.value)}'}{lasts}"


class _View(Watcher):
    """Tells a ticker of the search."""

    def __init__(self, ticker: Ticker, failure: Failure) -> None:
        self._ticker = ticker
        self._what = f"does it fail again? {failure}"
        self._best = ""

    def step(self, what: str) -> None:
        """What is tried now."""
        self._what = what

    def smaller(self, what: str, found: Found) -> None:
        """A smaller test was found."""
        request, faults = found.candidate.request, found.candidate.faults
        self._best = (
            f"{'' if faults is None else f'{len(faults)} faults, '}{request.time_limit:g} s, "
            f"{found.trial.operations} operations"
        )
        self._ticker.say(f"{what:<16} {self._best}, seed {found.seed}")

    def show(self, tests: int, running: int) -> None:
        """Where the search stands."""
        best = f"; the least so far: {self._best}" if self._best else ""
        self._ticker.stand(f"{tests} tests, {running} running: {self._what}{best}")
