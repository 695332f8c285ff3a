"""``foreshock report``: render a stored run again."""

from __future__ import annotations

from pathlib import Path

import click

from foreshock.harness.cli.common import (
    check_reporters,
    output_options,
    print_json,
    relative,
    reporter_option,
    set_up_logging,
    spare_stdout,
    store_option,
)
from foreshock.harness.verdict import ExitCode


@click.command(epilog="\b\nTry: foreshock report latest")
@click.argument("run", default="latest")
@reporter_option
@store_option
@output_options
def command(
    run: str, reporters: tuple[str, ...], store: Path, as_json: bool, verbose: bool, quiet: bool
) -> int:
    """Write the reports of RUN (a folder, or 'latest') again, or those of a campaign's folder.

    'foreshock analyze' decides a run again, too.
    """
    from foreshock.harness.campaign.document import CAMPAIGN
    from foreshock.harness.publish import report_all
    from foreshock.harness.store import Store

    set_up_logging(verbose=verbose)
    check_reporters(reporters)
    campaign = (Path(run) / CAMPAIGN).is_file()
    folder = Path(run).absolute() if campaign else Store(store).find(run)
    with spare_stdout(as_json=as_json):
        written, errors = report_all(folder, reporters)
    code = ExitCode.HARNESS_ERROR if errors else ExitCode.VALID
    if as_json:
        reports = [str(path) for path in written]
        print_json({"exit": int(code), "run": str(folder), "reports": reports, "harness_errors": errors})
    elif not quiet:
        for path in written:
            click.echo(relative(path))
    for error in errors:
        click.echo(f"foreshock: {error}", err=True)
    return int(code)
