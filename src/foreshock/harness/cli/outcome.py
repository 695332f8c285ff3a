"""How a finished test is shown on the terminal."""

from __future__ import annotations

import shlex

import click

from foreshock.harness.cli.common import console, print_rows, relative, verdict_text
from foreshock.harness.cli.explain import explain
from foreshock.harness.judge import NOT_CHECKED, Judgement
from foreshock.harness.publish import Outcome


def show_outcome(outcome: Outcome, *, quiet: bool, smaller: bool = True) -> None:
    """The verdict, the reason, the counterexample, the figures, and where to read on.

    ``smaller``: also how a simulated test that was invalid is shrunk.
    """
    out, judgement = console(), outcome.judgement
    out.print(verdict_text(judgement.verdict), judgement.reason, sep="  ", markup=False)
    say_harness_errors(judgement, unless_in=judgement.reason)
    if quiet:
        return
    for checker in judgement.checkers.values():
        for counterexample in checker.get("counterexamples", ())[:1]:
            out.print(explain(counterexample), markup=False)
    counts = judgement.operations
    faults = ", ".join(f"{kind} {count}" for kind, count in judgement.faults.items()) or "none"
    rows = [
        ("operations", f"ok {counts['ok']}  fail {counts['fail']}  info {counts['info']}"),
        ("faults", faults),
        *[("errors", text) for text in commonest_errors(judgement)],
        ("run", relative(outcome.run)),
        *[("report", relative(path)) for path in outcome.reports],
        ("again", judgement.replay),
    ]
    if judgement.reason == NOT_CHECKED:
        rows.append(("decide", f"foreshock analyze {shlex.quote(str(relative(outcome.run)))}"))
    if smaller and judgement.verdict == "invalid" and judgement.backend == "sim":
        rows.append(("smaller", f"foreshock shrink {shlex.quote(str(relative(outcome.run)))}"))
    print_rows(out, rows)


def commonest_errors(judgement: Judgement) -> list[str]:
    """Why most of those operations ended so whose outcome nobody knows, and why most failed: a line each."""
    details = judgement.checkers.get("statistics", {}).get("details", {})
    lines = []
    for kind in ("info", "fail"):
        first = next((one for one in details.get("errors", ()) if one["type"] == kind), None)
        if first is not None:
            lines.append(f"{kind} {first['count']} times: {first['error']}")
    return lines


def say_harness_errors(judgement: Judgement, *, unless_in: str = "") -> None:
    """One line an error on stderr."""
    for error in judgement.harness_errors:
        if error not in unless_in:
            click.echo(f"foreshock: {error}", err=True)
