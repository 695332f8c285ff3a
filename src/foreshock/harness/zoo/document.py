"""What a run of the zoo has found, as ``zoo.json`` holds it, ``--json`` prints it, and the page shows it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from foreshock.harness.composition import nemeses_of
from foreshock.harness.verdict import ExitCode
from foreshock.harness.zoo.plan import Hunt, Survey
from foreshock.harness.zoo.workers import SimulatedTest

FAILURES_MAX = 20


class BugRow(msgspec.Struct, frozen=True, kw_only=True):
    """One exhibit: whether it was found, by which seed, and what that took.

    ``seconds`` are those of all its tests on the wall clock, ``simulated_seconds`` those of virtual time.
    """

    name: str
    kind: str
    target: str
    workload: str
    nemesis: str
    found: bool
    seed: int | None
    tests: int
    budget: int
    seconds: float
    simulated_seconds: float
    verdict: str
    reason: str
    shows: str = ""
    run: str | None = None
    replay: str = ""
    harness_errors: tuple[str, ...] = ()


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A test of something correct that was not valid."""

    seed: int
    nemesis: str
    verdict: str
    reason: str
    run: str | None
    replay: str


class CorrectRow(msgspec.Struct, frozen=True, kw_only=True):
    """One workload on one target that promises to survive it."""

    target: str
    workload: str
    tests: int
    planned: int
    valid: int
    invalid: int
    unknown: int
    harness_errors: int
    operations: int
    seconds: float
    simulated_seconds: float
    failures: tuple[Failure, ...] = ()
    note: str = ""

    @property
    def good(self) -> bool:
        """Whether every test was run and was valid, without a harness error."""
        return self.tests == self.planned == self.valid and not self.harness_errors


class ZooDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The whole. ``seconds`` are those of this session on the wall clock; ``complete`` that every test was run."""

    exit: int
    complete: bool
    summary: str
    seconds: float
    simulated_seconds: float
    tests: int
    jobs: int
    run: str
    bugs: tuple[BugRow, ...]
    correct: tuple[CorrectRow, ...]


def bug_row(hunt: Hunt, results: list[SimulatedTest]) -> BugRow:
    """The row of a hunt from its results, in the order of its seeds."""
    exhibit, request = hunt.exhibit, hunt.exhibit.request
    last = results[-1] if results else None
    found = last is not None and last.verdict == "invalid"
    errors = tuple(error for result in results for error in result.harness_errors)
    reason = last.reason if last is not None else "no test was run"
    if not found and last is not None:
        reason = f"not found in {len(results)} of {exhibit.budget} tests; the last said: {reason}"
    return BugRow(
        name=hunt.name,
        kind=hunt.kind,
        target=request.target,
        workload=request.workload,
        nemesis=",".join(nemeses_of(request.nemesis)) or "none",
        found=found,
        seed=len(results) - 1 if found else None,
        tests=len(results),
        budget=exhibit.budget,
        seconds=round(sum(result.seconds for result in results), 2),
        simulated_seconds=round(request.time_limit * len(results), 2),
        verdict=last.verdict if last is not None else "unknown",
        reason=reason,
        shows=exhibit.shows,
        run=last.run if last is not None and found else None,
        replay=last.replay if last is not None else "",
        harness_errors=errors[:FAILURES_MAX],
    )


def unhunted_row(name: str) -> BugRow:
    """The row of a registered bug that no target exhibits, which counts as missed."""
    return BugRow(
        name=name, kind="bug", target="", workload="", nemesis="", found=False, seed=None, tests=0, budget=0,
        seconds=0.0, simulated_seconds=0.0, verdict="unknown", reason="no target has it among its exhibits",
    )  # fmt: skip


def correct_rows(survey: Survey, results: list[SimulatedTest | None]) -> list[CorrectRow]:
    """The rows of a survey, one a workload; ``results`` are those of its tests, ``None`` where one was not run."""
    if survey.skipped is not None:
        return [
            CorrectRow(
                target=survey.target, workload="", tests=0, planned=0, valid=0, invalid=0, unknown=0,
                harness_errors=0, operations=0, seconds=0.0, simulated_seconds=0.0, note=survey.skipped,
            )
        ]  # fmt: skip
    rows = []
    for workload in dict.fromkeys(request.workload for request in survey.tests):
        of_workload = [
            (request, result)
            for request, result in zip(survey.tests, results, strict=True)
            if request.workload == workload
        ]
        done = [(request, result) for request, result in of_workload if result is not None]
        verdicts = [result.verdict for _, result in done]
        rows.append(
            CorrectRow(
                target=survey.target,
                workload=workload,
                tests=len(done),
                planned=len(of_workload),
                valid=verdicts.count("valid"),
                invalid=verdicts.count("invalid"),
                unknown=verdicts.count("unknown"),
                harness_errors=sum(bool(result.harness_errors) for _, result in done),
                operations=sum(result.operations for _, result in done),
                seconds=round(sum(result.seconds for _, result in done), 2),
                simulated_seconds=round(sum(request.time_limit for request, _ in done), 2),
                failures=tuple(
                    Failure(
                        seed=request.seed or 0,
                        nemesis=request.nemesis,
                        verdict=result.verdict,
                        reason="; ".join(result.harness_errors) or result.reason,
                        run=result.run,
                        replay=result.replay,
                    )
                    for request, result in done
                    if result.exit != ExitCode.VALID
                )[:FAILURES_MAX],
            )
        )
    return rows


def exit_code(bugs: Iterable[BugRow], correct: Iterable[CorrectRow], *, complete: bool) -> ExitCode:
    """A false alarm or a bug that was missed counts as invalid; then an interruption, harness errors, unknown."""
    correct = list(correct)
    if any(row.invalid for row in correct):
        return ExitCode.INVALID
    if not complete:
        return ExitCode.INTERRUPTED
    if not all(row.found for row in bugs):
        return ExitCode.INVALID
    if any(row.harness_errors for row in correct):
        return ExitCode.HARNESS_ERROR
    return ExitCode.UNKNOWN if any(row.unknown for row in correct) else ExitCode.VALID


def summary_of(bugs: Iterable[BugRow], correct: Iterable[CorrectRow]) -> str:
    """The whole in one sentence."""
    bugs, correct = list(bugs), list(correct)
    found = sum(row.found for row in bugs)
    tests, invalid = sum(row.tests for row in correct), sum(row.invalid for row in correct)
    unknown = sum(row.unknown for row in correct)
    parts = []
    if bugs:
        parts.append(f"{found} of {len(bugs)} exhibits found")
    if correct:
        alarms = "no false alarm" if not invalid else f"{invalid} invalid"
        parts.append(
            f"{alarms} in {tests} tests of correct targets" + (f", {unknown} unknown" if unknown else "")
        )
    return "; ".join(parts) or "nothing was asked for"
