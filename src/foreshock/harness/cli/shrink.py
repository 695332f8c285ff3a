"""``foreshock shrink``: the least test that still fails in the same way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from foreshock.harness.cli.common import (
    Seconds,
    choose_view,
    console,
    jobs_option,
    option,
    output_options,
    print_json,
    print_rows,
    relative,
    set_up_logging,
    spare_stdout,
    store_option,
)
from foreshock.harness.verdict import ExitCode

if TYPE_CHECKING:
    from foreshock.harness.shrinking.shrink import ShrunkRun, Size

BUDGET = 300
DEADLINE_S = 300.0
SEEDS = 3
FAULTS_SHOWN_MAX = 10


@click.command(epilog="\b\nTry: foreshock shrink latest --budget 500")
@click.argument("run", default="latest")
@option(
    "--budget",
    type=click.IntRange(1, 1_000_000),
    default=BUDGET,
    show_default=True,
    help="Tests at most.",
)
@option(
    "--deadline",
    type=Seconds(1, 86_400),
    default=DEADLINE_S,
    show_default=True,
    help="Seconds on the clock at most; the least test until then is kept.",
)
@option(
    "--seeds",
    type=click.IntRange(1, 1000),
    default=SEEDS,
    show_default=True,
    help="Seeds that each smaller test is tried with: with one it may pass by chance.",
)
@option(
    "--same",
    type=click.Choice(["kind", "checker"]),
    default="kind",
    show_default=True,
    help="What must be the same: checker and the kind of operation that it finds impossible, or the checker alone.",
)
@jobs_option
@store_option
@output_options
def command(
    run: str,
    budget: int,
    deadline: float,
    seeds: int,
    same: str,
    jobs: int,
    store: Path,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Find the least test that still fails as a simulated run did: RUN is its folder, the end of its name, or 'latest'.

    Fewer faults, less time, fewer nodes, processes, keys and operations, as long as the same checker finds the same
    kind of violation. What comes of it is kept as a run, with its report and its schedule of faults. Ctrl-C keeps the
    least test until then.

    The exit code is that of the least test: 1, for it is invalid.
    """
    from foreshock.harness.cli.outcome import say_harness_errors
    from foreshock.harness.shrinking.shrink import Effort, Interrupted, shrink
    from foreshock.harness.shrinking.view import LineTicker, LiveTicker, Ticker
    from foreshock.harness.store import Store

    set_up_logging(verbose=verbose)
    effort = Effort(
        jobs=jobs,
        budget=budget,
        deadline_s=deadline,
        seeds=seeds,
        any_kind=same == "checker",
    )
    view = choose_view(Ticker, LineTicker, LiveTicker, quiet=quiet, as_json=as_json)
    try:
        with spare_stdout(as_json=as_json), view as ticker:
            done = shrink(Store(store).find(run), store, effort, ticker)
    except Interrupted as error:
        click.echo(f"foreshock: {error}", err=True)
        if as_json:
            print_json({"verdict": "unknown", "exit": int(ExitCode.INTERRUPTED), "error": str(error)})
        return int(ExitCode.INTERRUPTED)
    if as_json:
        print_json(document_of(done))
        say_harness_errors(done.judgement)
    else:
        show_shrunk(done, quiet=quiet)
    return done.document.exit


def document_of(done: ShrunkRun) -> dict[str, Any]:
    """What ``--json`` prints: ``shrink.json``, and the new run as ``test`` has it."""
    return {**msgspec.to_builtins(done.document), "test": done.judgement}


def show_shrunk(done: ShrunkRun, *, quiet: bool) -> None:
    """The least test and what it shows, then how much smaller it is, and what that took."""
    from foreshock.harness.cli.outcome import show_outcome

    show_outcome(done.outcome, quiet=quiet, smaller=False)
    document, out = done.document, console()
    if quiet:
        return
    out.print()
    rows = [("", "before", "after"), *_table(document.before, document.after)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = (row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].rjust(widths[2]))
        out.print(f"  {'  '.join(cells)}", style="dim" if number == 0 else None, markup=False)
    out.print()
    told = [("fault", text) for text in document.faults[:FAULTS_SHOWN_MAX]]
    if len(document.faults) > FAULTS_SHOWN_MAX:
        told.append(("fault", f"... and {len(document.faults) - FAULTS_SHOWN_MAX} more"))
    told += [
        ("shrunk", relative(document.of)),
        ("took", f"{document.tests} tests in {document.seconds:.0f} s, {document.jobs} at a time"),
    ]
    if document.schedule is not None:
        told.append(("schedule", relative(document.schedule)))
    told.append(("same again", "byte for byte" if document.same else "NO: run again, it had another history"))
    print_rows(out, told)
    if document.ended:
        out.print(
            f"  {document.ended}: it may not be the least yet; shrink the new run to go on", markup=False
        )
    if not document.scheduled:
        out.print(
            "  the recorded faults alone did not bring the failure back, so none could be left out singly; more "
            "--seeds may help",
            markup=False,
        )


def _table(before: Size, after: Size) -> list[tuple[str, str, str]]:
    rows = [
        ("faults", str(before.faults), str(after.faults)),
        ("operations", str(before.operations), str(after.operations)),
        ("time limit", f"{before.time_limit_s:g} s", f"{after.time_limit_s:g} s"),
        ("nodes", str(before.nodes), str(after.nodes)),
        ("processes", str(before.processes), str(after.processes)),
        ("rate", f"{before.rate:g}/s", f"{after.rate:g}/s"),
        ("seed", str(before.seed), str(after.seed)),
    ]
    return rows + [(name, str(before.options[name]), str(value)) for name, value in after.options.items()]
