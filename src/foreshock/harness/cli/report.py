"""``foreshock report``: render a stored run again."""

from __future__ import annotations

from pathlib import Path

import click

from foreshock.harness.cli.common import output_options, print_json, relative, set_up_logging, store_option
from foreshock.harness.errors import HarnessError
from foreshock.harness.publish import report_all
from foreshock.harness.store import Store
from foreshock.harness.verdict import ExitCode


@click.command(epilog="Try: foreshock report latest")
@click.argument("run", default="latest")
@store_option
@output_options
def command(run: str, store: Path, as_json: bool, verbose: bool, quiet: bool) -> int:
    """Write the reports of RUN (a folder, or 'latest') again."""
    set_up_logging(verbose=verbose)
    folder = Store(store).find(run)
    written, errors = report_all(folder)
    if as_json:
        print_json({"run": str(folder), "reports": [str(p) for p in written], "harness_errors": errors})
    elif not quiet:
        for path in written:
            click.echo(relative(path))
    if errors:
        raise HarnessError("; ".join(errors))
    return int(ExitCode.VALID)
