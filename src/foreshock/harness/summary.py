"""The summary of a finished test: what lists, campaigns and tables need to know of it, in a small file of its own.

``summary.json`` lies beside ``results.json``, which holds the same and everything that led to it. Ten thousand of
them are read in the time that one page takes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from foreshock.harness.errors import HarnessError
from foreshock.harness.store import RESULTS, TEST, read_json, read_plain

if TYPE_CHECKING:
    from foreshock.harness.judge import Judgement

SUMMARY = "summary.json"
REASON_MAX = 500
AFTER = "after "
SHAPE_MAX = 12
"""A core of more kinds of operation than this is told by its first ones."""


class TestSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one test ended. ``run`` is its folder's absolute path; ``started`` is in UTC, ISO 8601."""

    __test__ = False  # pytest would take it for a class of tests

    run: str
    target: str
    workload: str
    nemeses: tuple[str, ...] = ()
    backend: str
    bug: str | None = None
    seed: int
    verdict: str
    exit: int
    reason: str
    checker: str = ""
    """The first checker with that verdict, where it is not ``valid``."""
    core: tuple[str, ...] = ()
    """The shape of the first counterexample's minimal core, such as ``("write ok", "read ok x2")``."""
    impossible: str = ""
    """The operation of the core that no order explains, such as ``read ok``, where the checker names one."""
    faults_in_force: tuple[str, ...] = ()
    """The kinds of fault in force while the impossible operation ran; where there were none, the last before:
    ``after kill``."""
    operations: Mapping[str, int] = {}
    faults: Mapping[str, int] = {}
    harness_errors: tuple[str, ...] = ()
    interrupted: bool = False
    complete: bool = True
    started: str = ""
    duration_s: float = 0.0
    replay: str = ""
    figures: Mapping[str, Any] = {}

    @property
    def name(self) -> str:
        """What was tested, in one word: target, workload, nemeses and, where one was planted, the bug."""
        return "-".join((self.target, self.workload, *self.nemeses, *([self.bug] if self.bug else [])))


def summarize(judgement: Judgement, started: str) -> TestSummary:
    """The summary of a judged test that began at ``started``."""
    checker, example = _first_reason(judgement.verdict, judgement.checkers)
    return TestSummary(
        run=judgement.run,
        target=judgement.target,
        workload=judgement.workload,
        nemeses=judgement.nemeses,
        backend=judgement.backend,
        bug=judgement.bug,
        seed=judgement.seed,
        verdict=judgement.verdict,
        exit=judgement.exit,
        reason=judgement.reason[:REASON_MAX],
        checker=checker,
        core=shape_of(example),
        impossible=next((_word(row) for row in _impossible(example)), "") if example else "",
        faults_in_force=faults_between(judgement.ledger, *interval_of(example)) if example else (),
        operations=judgement.operations,
        faults=judgement.faults,
        harness_errors=tuple(error[:REASON_MAX] for error in judgement.harness_errors[:SHAPE_MAX]),
        interrupted=judgement.interrupted,
        complete=judgement.complete,
        started=started,
        duration_s=judgement.duration_s,
        replay=judgement.replay,
        figures=judgement.figures,
    )


def read_summary(run: Path) -> TestSummary:
    """The summary of a stored run: its file, or else what its results say.

    ``run`` is where it was found, which is not where it was written when the store has been moved since. Raises
    :class:`HarnessError` when the run has not ended, or its files cannot be understood.
    """
    found = str(run.absolute())
    try:
        summary = msgspec.json.decode(read_plain(run / SUMMARY), type=TestSummary)
        return summary if summary.run == found else msgspec.structs.replace(summary, run=found)
    except (OSError, msgspec.MsgspecError):
        return summary_of_results(run)  # an older run, or one that was cut short


def summary_of_results(run: Path) -> TestSummary:
    """As :func:`read_summary`, made anew of what the results say."""
    found = str(run.absolute())
    from foreshock.harness.judge import (
        Judgement,
    )  # slow to import, and lists of ten thousand runs do without it

    try:
        judgement = msgspec.convert(read_json(run / RESULTS), Judgement)
    except msgspec.ValidationError as error:
        raise HarnessError(f"{run / RESULTS} is not what a test leaves: {error}") from None
    moved = msgspec.structs.replace(judgement, run=found)
    return summarize(moved, str(read_json(run / TEST).get("started", "")))


def shape_of(example: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The operations of a counterexample's core by name and outcome, in the order of their invocations."""
    if not example:
        return ()
    core = set(example.get("core", ()))
    rows = [row for row in example.get("operations", ()) if row.get("invoke_index") in core]
    counts = Counter(map(_word, sorted(rows, key=_invoked)))
    return tuple(f"{word} x{count}" if count > 1 else word for word, count in counts.items())[:SHAPE_MAX]


def faults_between(ledger: Sequence[Mapping[str, Any]], begin_ns: int, end_ns: int) -> tuple[str, ...]:
    """The kinds of fault in force at any moment of an interval; where there were none, the one that ended last before.

    A fault is in force from when its injection began, for it may take at once and be seen to have only later.
    """
    taken = [fault for fault in ledger if fault.get("verified_ns") is not None]
    healed = [(fault, math.inf if fault.get("healed_ns") is None else fault["healed_ns"]) for fault in taken]
    in_force = {
        str(fault["kind"])
        for fault, healed_ns in healed
        if fault["planned_ns"] <= end_ns and begin_ns <= healed_ns
    }
    if in_force:
        return tuple(sorted(in_force))
    before = [(healed_ns, str(fault["kind"])) for fault, healed_ns in healed if healed_ns < begin_ns]
    return (f"{AFTER}{max(before)[1]}",) if before else ()


def _first_reason(
    verdict: str, checkers: Mapping[str, Mapping[str, Any]]
) -> tuple[str, Mapping[str, Any] | None]:
    """The first checker that came to a bad verdict, and its first counterexample."""
    if verdict == "valid":
        return "", None
    for name, result in checkers.items():
        if result.get("verdict") == verdict:
            return name, next(iter(result.get("counterexamples", ())), None)
    return "", None


def _impossible(example: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The operation that a counterexample calls impossible, where it names one."""
    index = example.get("impossible")
    return [row for row in example.get("operations", ()) if row.get("invoke_index") == index]


def interval_of(example: Mapping[str, Any]) -> tuple[int, int]:
    """When a counterexample became one, in ns: while the operation that is impossible ran, or else the last one."""
    rows = _impossible(example) or list(example.get("operations", ()))
    last = max(rows, key=_invoked, default={})
    begin_ns = int(last.get("invoke_ns") or 0)
    return begin_ns, max(begin_ns, int(last.get("complete_ns") or 0))


def _word(row: Mapping[str, Any]) -> str:
    return f"{row.get('f', '?')} {row.get('type', '?')}"


def _invoked(row: Mapping[str, Any]) -> int:
    return int(row.get("invoke_index", 0))
