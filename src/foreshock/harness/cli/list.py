"""``foreshock list``: what there is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from foreshock.harness.cli.common import option, output_options, set_up_logging, store_option
from foreshock.harness.errors import UsageError
from foreshock.harness.verdict import ExitCode

STORED = ("runs", "campaigns")
"""What is listed from the store; every other kind is a kind of plug-in."""
VERDICTS = ("valid", "invalid", "unknown", "running", "killed", "unfinished")


@click.command(
    name="list", epilog="\b\nTry: foreshock list targets raft\n     foreshock list runs --verdict invalid"
)
@click.argument("kind", required=False)
@click.argument("name", required=False)
@option(
    "--verdict",
    type=click.Choice(VERDICTS),
    default=None,
    help="Only runs of that verdict, or with that state. (runs)",
)
@option("--target", default=None, help="Only runs of that target. (runs)")
@option(
    "--limit",
    type=click.IntRange(0, 1_000_000_000),
    default=None,
    help="As many of the newest at most; 0 for all.  [default: 50, with --json all]",
)
@store_option
@output_options
def command(
    kind: str | None,
    name: str | None,
    verdict: str | None,
    target: str | None,
    limit: int | None,
    store: Path,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Show what there is of a KIND (targets, workloads, nemeses, checkers, backends, bugs, runs, campaigns, ...).

    With a NAME: its options, their defaults and units.
    """
    set_up_logging(verbose=verbose)
    filters = {"--verdict": verdict, "--target": target, "--limit": limit}
    if kind == "runs" and name is None:
        from foreshock.harness.cli.list_store import show_runs

        show_runs(store, verdict, target, limit, as_json=as_json)
    elif kind == "campaigns" and name is None:
        from foreshock.harness.cli.list_store import show_campaigns

        _refuse("list campaigns", filters, but="--limit")
        show_campaigns(store, limit, as_json=as_json)
    elif kind in STORED:
        raise UsageError(
            f"'list {kind}' takes no name, but {name!r} was given: 'foreshock report {name}' renders a run again"
        )
    else:
        from foreshock.harness.cli.list_plug_ins import show_plug_ins

        _refuse(f"list {kind}" if kind else "list", filters)
        show_plug_ins(kind, name, as_json=as_json, quiet=quiet)
    return int(ExitCode.VALID)


def _refuse(what: str, filters: Mapping[str, object], but: str = "") -> None:
    """A filter that would be without effect is said, for whoever gave it expects one."""
    for option_name, value in filters.items():
        if value is not None and option_name != but:
            raise UsageError(
                f"{option_name} filters runs, and not '{what}': try 'foreshock list runs {option_name} {value}'"
            )
