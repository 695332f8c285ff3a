"""``foreshock new-target``: a target of one's own that works as it stands, and its test."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from foreshock.harness.cli.common import option, output_options, print_json, relative, set_up_logging
from foreshock.harness.scaffold import SERVICES, services_of, write_target
from foreshock.harness.verdict import ExitCode


@click.command(name="new-target", epilog="\b\nTry: foreshock new-target mydb --service register,lock")
@click.argument("name")
@option(
    "--directory",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Folder for the two files.  [default: the current one]",
)
@option(
    "--service",
    default="register",
    show_default=True,
    help=f"What clients can do with it: {', '.join(SERVICES)}, several separated by commas.",
)
@output_options
def command(name: str, directory: Path, service: str, as_json: bool, verbose: bool, quiet: bool) -> int:
    """Write NAME.py, a target that works as it stands, and test_NAME.py, its test for pytest.

    The comments in the file say where your own system goes. What is there already is never overwritten.
    """
    set_up_logging(verbose=verbose)
    services = services_of(service)
    written = write_target(name, directory, services)
    target = f"{relative(written.target)}:{written.names.class_name}"
    words = (
        "test",
        "--target",
        target,
        "--workload",
        services[0],
        "--nemesis",
        "kill",
        "--backend",
        "process",
    )
    steps = [
        shlex.join(["foreshock", *words, "--time-limit", "10"]),
        shlex.join(["pytest", relative(written.test)]),
    ]
    if as_json:
        files = [str(written.target), str(written.test)]
        print_json({"files": files, "target": target, "services": services, "next": steps})
    elif quiet:
        click.echo(relative(written.target))
    else:
        click.echo(
            f"wrote {relative(written.target)} and {relative(written.test)}; they work as they stand:\n"
        )
        for step in steps:
            click.echo(f"  {step}")
        click.echo(f"\nNow put your own system into {relative(written.target)}, where it says 'yours'.")
    return int(ExitCode.VALID)
