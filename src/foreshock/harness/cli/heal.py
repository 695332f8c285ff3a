"""``foreshock heal``: undo the faults that a dead run left."""

from __future__ import annotations

import click

from foreshock.harness.cli.common import dry_run_option, output_options, print_json, set_up_logging
from foreshock.harness.verdict import ExitCode


@click.command(epilog="\b\nTry: foreshock heal")
@click.argument("run", required=False)
@dry_run_option
@output_options
def command(run: str | None, dry_run: bool, as_json: bool, verbose: bool, quiet: bool) -> int:
    """Undo every fault that dead runs (or RUN, a name or a folder) left in force.

    Idempotent; touches only what is ours, and never a run that is still under way.
    """
    from foreshock.harness.recovery import heal_dead_runs

    set_up_logging(verbose=verbose)
    if dry_run:
        from foreshock.harness.cli.dry_run import show_recovery
        from foreshock.harness.rehearsal.recovering import rehearse_healing

        return show_recovery(*rehearse_healing(run), nothing="nothing to heal", as_json=as_json)
    done, errors = heal_dead_runs(run)
    if as_json:
        print_json({"healed": done, "errors": errors})
    elif not quiet:
        for line in done or ["nothing to heal"]:
            click.echo(line)
    for error in errors:
        click.echo(f"foreshock: {error}", err=True)
    return int(ExitCode.HARNESS_ERROR if errors else ExitCode.VALID)
