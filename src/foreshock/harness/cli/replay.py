"""``foreshock replay``: a stored run again, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foreshock.harness.cli.common import (
    console,
    output_options,
    print_json,
    print_rows,
    relative,
    set_up_logging,
    spare_stdout,
    store_option,
)

if TYPE_CHECKING:
    from foreshock.harness.shrinking.replaying import Replay


@click.command(epilog="\b\nTry: foreshock replay latest")
@click.argument("run", default="latest")
@click.option(
    "--report/--no-report", default=True, help="Write the new run's report.html.  [default: report]"
)
@store_option
@output_options
def command(run: str, report: bool, store: Path, as_json: bool, verbose: bool, quiet: bool) -> int:
    """Run the test of a stored run again: RUN is its folder, the end of its name, or 'latest'.

    A simulated run comes out the same, byte for byte, or it is said where it parts and which versions differ. On real
    nodes the faults are those that the run recorded, at the same times, and races may go another way.

    The exit code is that of the new run, or 3 where a simulated run is not the same.
    """
    from foreshock.harness.cli.outcome import say_harness_errors, show_outcome
    from foreshock.harness.progress import choose_progress
    from foreshock.harness.shrinking.replaying import replay
    from foreshock.harness.store import Store

    set_up_logging(verbose=verbose)
    progress = choose_progress(quiet=quiet, as_json=as_json)
    with spare_stdout(as_json=as_json):
        done = replay(Store(store).find(run), store, progress, report=report)
    if as_json:
        print_json(_document(done))
        say_harness_errors(done.judgement)
    else:
        show_outcome(done.outcome, quiet=quiet)
        out = console()
        print_rows(out, [("replay of", relative(done.of))])
        for sentence in done.says:
            out.print(f"  {sentence}", markup=False)
    return done.exit


def _document(done: Replay) -> dict[str, Any]:
    """What ``--json`` prints: of the comparison, and of the new run as ``test`` does."""
    compared = done.compared
    return {
        "verdict": done.judgement.verdict,
        "exit": done.exit,
        "of": str(done.of),
        "run": done.judgement.run,
        "same": None if compared is None else compared.same,
        "compared": compared,
        "says": done.says,
        "test": done.judgement,
    }
