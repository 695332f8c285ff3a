"""``foreshock analyze``: check a stored run again."""

from __future__ import annotations

from pathlib import Path

import click

from foreshock.harness.cli.common import (
    output_options,
    print_json,
    set_up_logging,
    spare_stdout,
    store_option,
)


@click.command(epilog="\b\nTry: foreshock analyze latest")
@click.argument("run", default="latest")
@click.option("--report/--no-report", default=True, help="Write report.html too.  [default: report]")
@store_option
@output_options
def command(run: str, report: bool, store: Path, as_json: bool, verbose: bool, quiet: bool) -> int:
    """Check a stored run again: RUN is its folder, or 'latest'. Also one whose harness was killed.

    The exit code is the verdict on what was recorded. Neither the backend nor the target is needed.
    """
    from foreshock.harness.analysis import analyze
    from foreshock.harness.cli.outcome import say_harness_errors, show_outcome
    from foreshock.harness.store import Store

    set_up_logging(verbose=verbose)
    with spare_stdout(as_json=as_json):
        outcome = analyze(Store(store).find(run), report=report)
    if as_json:
        print_json(outcome.judgement)
        say_harness_errors(outcome.judgement)
    else:
        show_outcome(outcome, quiet=quiet)
    return outcome.judgement.exit
