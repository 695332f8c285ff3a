"""How a chaos test fails: one exception a kind of failure, each with all that a person needs as its text."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from foreshock.harness.cli.common import relative
from foreshock.harness.cli.explain import explain
from foreshock.harness.judge import Judgement
from foreshock.harness.printable import printable
from foreshock.harness.summary import TestSummary


class ChaosTestFailed(AssertionError):
    """Base of the failures; its text is what pytest shows."""


class Invalid(ChaosTestFailed):
    """The history of the test is illegal: the text is the counterexample."""


class Unknown(ChaosTestFailed):
    """Nobody can say whether the history is legal."""


class HarnessFailed(ChaosTestFailed):
    """The harness could not do its own work (a node that was not deployed, a fault that did not take)."""


class NotFound(ChaosTestFailed):
    """The test was expected to find something, and its history is legal."""


class Misused(ChaosTestFailed):
    """What was asked for is wrong or impossible; nothing has been deployed."""


for _kind in (Invalid, Unknown, HarnessFailed, NotFound, Misused):
    _kind.__module__ = "builtins"  # pytest names a failure with its module, unless it is one of Python's own


def describe_failure(
    headline: str, judgement: Judgement, summary: TestSummary, again: Sequence[str], reports: Sequence[Path]
) -> str:
    """The reason, the first counterexample, what was wrong at the time, where to read on, how to run it again."""
    lines = [headline, ""]
    example = _first_counterexample(judgement)
    if example:
        lines += [example]
    lines += [f"harness error: {error}" for error in judgement.harness_errors if error not in headline]
    counts = judgement.operations
    faults = ", ".join(f"{kind} {count}" for kind, count in judgement.faults.items()) or "none"
    rows = [("tested", tested(judgement)), ("seed", str(judgement.seed))]
    before = [kind.removeprefix("after ") for kind in summary.faults_in_force if kind.startswith("after ")]
    if summary.faults_in_force:
        rows.append(
            ("last fault" if before else "fault in force", ", ".join(before or summary.faults_in_force))
        )
    rows += [
        ("faults", faults),
        ("operations", f"ok {counts['ok']}  fail {counts['fail']}  info {counts['info']}"),
        ("run", relative(judgement.run)),
        *[("report", relative(path)) for path in reports],
        *[("again", command) for command in again],
    ]
    lines += [f"  {name:<16}{text}" for name, text in rows]
    return printable("\n".join(lines))


def tested(judgement: Judgement) -> str:
    """Such as ``raft, register, under partition and kill, on sim``."""
    under = f", under {' and '.join(judgement.nemeses)}" if judgement.nemeses else ""
    bug = f" with the bug {judgement.bug}" if judgement.bug else ""
    return f"{judgement.target}{bug}, {judgement.workload}{under}, on {judgement.backend}"


def commands_again(node_id: str, base_seed: int | None, more: Sequence[str], replay: str) -> list[str]:
    """What runs the test again: by pytest, and by our own command where that can find what was tested.

    ``base_seed`` is ``None`` where the test itself says which seed; ``more`` are the other options that were given.
    """
    seed = [] if base_seed is None else ["--foreshock-seed", str(base_seed)]
    by_pytest = shlex.join(["pytest", node_id, *seed, *more])
    return [by_pytest] if "<" in replay else [by_pytest, replay]


def _first_counterexample(judgement: Judgement) -> str:
    for checker in judgement.checkers.values():
        for counterexample in checker.get("counterexamples", ())[:1]:
            return explain(counterexample)
    return ""
