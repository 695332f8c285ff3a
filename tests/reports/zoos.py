"""Stored runs of the zoo, made by hand."""

from __future__ import annotations

from pathlib import Path

from tests.reports import runs

from foreshock.harness.store import write_json
from foreshock.harness.zoo.document import BugRow, CorrectRow, Failure, ZooDocument
from foreshock.harness.zoo.journal import DOCUMENT
from foreshock.reports.html import HtmlReporter


def bug(name: str, **changes: object) -> BugRow:
    values: dict[str, object] = {
        "name": name, "kind": "bug", "target": "raft", "workload": "register", "nemesis": "partition,kill",
        "found": True, "seed": 3, "tests": 4, "budget": 20, "seconds": 1.5, "simulated_seconds": 80.0,
        "verdict": "invalid", "reason": "a value is gone", "shows": "What was written is lost.",
        "replay": "foreshock test --seed 3",
    }  # fmt: skip
    return BugRow(**{**values, **changes})  # type: ignore[arg-type]


def correct(target: str, **changes: object) -> CorrectRow:
    values: dict[str, object] = {
        "target": target, "workload": "lock", "tests": 25, "planned": 25, "valid": 25, "invalid": 0,
        "unknown": 0, "harness_errors": 0, "operations": 31_000, "seconds": 12.0, "simulated_seconds": 500.0,
    }  # fmt: skip
    return CorrectRow(**{**values, **changes})  # type: ignore[arg-type]


def good_zoo(directory: Path) -> Path:
    """Everything was found, and nothing else; the first exhibit has a report to read on in."""
    kept = runs.invalid_register_run(directory / "runs" / "raft-register" / "1")
    HtmlReporter().report(kept)
    bugs = (
        bug("raft/loses-writes", run=str(kept)),
        bug("zab/skips"),
        bug("naive-lock", kind="target", target="naive-lock", workload="lock"),
        bug("redlock/clock", kind="finding", run=str(directory / "gone")),
    )
    rows = (
        correct("raft"),
        correct("shm-lock", workload="", tests=0, planned=0, valid=0, note="it cannot be simulated"),
    )
    return _write(
        directory, bugs, rows, 0, "4 of 4 exhibits found; no false alarm in 25 tests of correct targets"
    )


def bad_zoo(directory: Path) -> Path:
    """A bug was missed, something correct was not valid, and its words are hostile."""
    failure = Failure(
        seed=17,
        nemesis="kill",
        verdict="invalid",
        reason=runs.HOSTILE,
        run=None,
        replay="foreshock test --seed 17",
    )
    bugs = (bug("raft/patient", found=False, seed=None, reason=runs.HOSTILE, shows=runs.HOSTILE),)
    rows = (correct("raft", valid=24, invalid=1, failures=(failure,)),)
    return _write(directory, bugs, rows, 1, "0 of 1 exhibits found; 1 invalid in 25 tests of correct targets")


def _write(
    directory: Path, bugs: tuple[BugRow, ...], rows: tuple[CorrectRow, ...], code: int, summary: str
) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    document = ZooDocument(
        exit=code, complete=True, summary=summary, seconds=61.0, simulated_seconds=580.0, tests=29, jobs=2,
        run=str(directory), bugs=bugs, correct=rows,
    )  # fmt: skip
    write_json(directory / DOCUMENT, document)
    return directory
