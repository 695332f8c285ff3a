"""``foreshock convert``: a history from one format into another."""

from __future__ import annotations

from pathlib import Path

import click

from foreshock.harness.cli.common import option, output_options, print_json, set_up_logging
from foreshock.harness.cli.completion import complete
from foreshock.harness.cli.outputs import file_to_write
from foreshock.harness.formats.reading import read_history
from foreshock.harness.formats.writing import format_to_write, write_history
from foreshock.harness.registry import Kind
from foreshock.harness.verdict import ExitCode


@click.command(epilog="\b\nTry: foreshock convert store/latest/history.jsonl history.edn.gz")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path())
@option(
    "--from",
    "source_format",
    default="auto",
    show_default=True,
    shell_complete=complete(Kind.FORMATS, "auto"),
    help="Format of IN; auto looks at the content.",
)
@option(
    "--to",
    "target_format",
    shell_complete=complete(Kind.FORMATS),
    help="Format of OUT. [default: as its name ends, such as .csv or .edn.gz]",
)
@output_options
def command(
    source: Path,
    target: str,
    source_format: str,
    target_format: str | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Write the history in the file IN to the file OUT, in another format or compressed."""
    set_up_logging(verbose=verbose)
    file_to_write(target, "OUT", (source,))
    known = format_to_write(Path(target), target_format)
    history = read_history(source, source_format)
    write_history(history, Path(target), known.name)
    if as_json:
        print_json(
            {
                "verdict": "valid",
                "exit": int(ExitCode.VALID),
                "file": target,
                "format": known.name,
                "operations": len(history),
            }
        )
    elif not quiet:
        click.echo(f"{target}: {len(history)} operations ({known.name})")
    return int(ExitCode.VALID)
