"""How a finished test is shown on the terminal."""

from __future__ import annotations

from foreshock.harness.cli.common import console, relative, verdict_text
from foreshock.harness.cli.explain import explain
from foreshock.harness.publish import Outcome


def show_outcome(outcome: Outcome, *, quiet: bool) -> None:
    """The verdict, the reason, the counterexample, the figures, and where to read on."""
    out, judgement = console(), outcome.judgement
    out.print(verdict_text(judgement.verdict), judgement.reason, sep="  ")
    if quiet:
        return
    for checker in judgement.checkers.values():
        for counterexample in checker.get("counterexamples", ())[:1]:
            out.print(explain(counterexample), markup=False)
    for error in judgement.harness_errors:
        out.print("! harness error:", error, style="yellow", markup=False)
    counts = judgement.operations
    faults = ", ".join(f"{kind} {count}" for kind, count in judgement.faults.items()) or "none"
    rows = [
        ("operations", f"ok {counts['ok']}  fail {counts['fail']}  info {counts['info']}"),
        ("faults", faults),
        ("run", relative(outcome.run)),
        *[("report", relative(path)) for path in outcome.reports],
        ("again", judgement.replay),
    ]
    for name, text in rows:
        out.print(f"  [dim]{name:<11}[/dim]", end="")
        out.print(text, markup=False)
