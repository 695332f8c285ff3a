"""The summary of a finished test: what lists, campaigns and tables need to know of it, in a small file of its own.

``summary.json`` lies beside ``results.json``, which holds the same and everything that led to it. Ten thousand of
them are read in the time that one page takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from foreshock.harness.errors import HarnessError
from foreshock.harness.judge import Judgement
from foreshock.harness.store import RESULTS, TEST, read_json

SUMMARY = "summary.json"
REASON_MAX = 500
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
    faults_in_force: tuple[str, ...] = ()
    """The kinds of fault in force at the first violation; where there were none, the last before: ``after kill``."""
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
        faults_in_force=faults_at(judgement.ledger, _moment(example)) if example else (),
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

    Raises :class:`HarnessError` when the run has not ended, or its files cannot be understood.
    """
    try:
        return msgspec.json.decode((run / SUMMARY).read_bytes(), type=TestSummary)
    except (OSError, msgspec.MsgspecError):
        pass  # an older run, or one that was cut short: what it holds instead is read below
    try:
        judgement = msgspec.convert(read_json(run / RESULTS), Judgement)
    except msgspec.ValidationError as error:
        raise HarnessError(f"{run / RESULTS} is not what a test leaves: {error}") from None
    return summarize(judgement, str(read_json(run / TEST).get("started", "")))


def shape_of(example: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The operations of a counterexample's core by name and outcome, in the order of their invocations."""
    if not example:
        return ()
    core = set(example.get("core", ()))
    rows = [row for row in example.get("operations", ()) if row.get("invoke_index") in core]
    words = [f"{row.get('f', '?')} {row.get('type', '?')}" for row in sorted(rows, key=_invoked)]
    counts = {word: words.count(word) for word in words}
    return tuple(f"{word} x{count}" if count > 1 else word for word, count in counts.items())[:SHAPE_MAX]


def faults_at(ledger: Sequence[Mapping[str, Any]], at_ns: int) -> tuple[str, ...]:
    """The kinds of fault in force at a moment; where there were none, the one that ended last before it."""
    taken = [fault for fault in ledger if fault.get("verified_ns") is not None]
    in_force = {
        str(fault["kind"])
        for fault in taken
        if fault["verified_ns"] <= at_ns and (fault.get("healed_ns") is None or at_ns <= fault["healed_ns"])
    }
    if in_force:
        return tuple(sorted(in_force))
    before = [fault for fault in taken if (fault.get("healed_ns") or at_ns) < at_ns]
    return (f"after {max(before, key=lambda fault: int(fault['healed_ns']))['kind']}",) if before else ()


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


def _moment(example: Mapping[str, Any]) -> int:
    """When a counterexample became one: at the completion of the operation that is impossible, or else of the last."""
    impossible = example.get("impossible")
    rows = list(example.get("operations", ()))
    chosen = [row for row in rows if row.get("invoke_index") == impossible] or rows
    return max(_ends(chosen), default=0)


def _ends(rows: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    for row in rows:
        yield int(row.get("complete_ns") or row.get("invoke_ns") or 0)


def _invoked(row: Mapping[str, Any]) -> int:
    return int(row.get("invoke_index", 0))
