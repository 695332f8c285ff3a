"""``foreshock zoo``: every planted bug must be found, everything correct must survive."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

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
    say_resumed,
    set_up_logging,
    spare_stdout,
    store_option,
    verdict_text,
)
from foreshock.harness.errors import ForeshockError
from foreshock.harness.verdict import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from foreshock.harness.zoo.document import ZooDocument

TESTS = 50
TIME_LIMIT_S = 20.0
MISSED = "MISSED"


@click.command(epilog="\b\nTry: foreshock zoo 'raft/*' naive-lock --jobs 2")
@click.argument("names", nargs=-1)
@option(
    "--tests",
    type=click.IntRange(0, 1_000_000),
    default=TESTS,
    show_default=True,
    help="Tests of each correct target; 0 hunts bugs only.",
)
@option(
    "--time-limit",
    type=Seconds(1, 3600),
    default=TIME_LIMIT_S,
    show_default=True,
    help="Simulated seconds of each test of a correct target.",
)
@option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="The first seed of the correct targets' tests.",
)
@jobs_option
@option("--fresh", is_flag=True, help="Begin anew, where an earlier run of the same zoo did not end.")
@store_option
@output_options
def command(
    names: tuple[str, ...],
    tests: int,
    time_limit: float,
    seed: int,
    jobs: int,
    fresh: bool,
    store: Path,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Hunt every planted bug, and hold every correct target to what it promises, in the simulator.

    NAMES choose exhibits (raft/vote-not-persisted, naive-lock) and correct targets (raft); * stands for any. A run
    that was interrupted, or killed, goes on where it was when the same command is given again.
    """
    from foreshock.harness.interrupts import catch_interrupts
    from foreshock.harness.zoo.journal import DOCUMENT, open_journal
    from foreshock.harness.zoo.plan import plan_zoo
    from foreshock.harness.zoo.runner import Watcher, ZooRun
    from foreshock.harness.zoo.view import LineWatcher, LiveWatcher

    set_up_logging(verbose=verbose)
    with spare_stdout(as_json=as_json), contextlib.ExitStack() as stack:
        zoo = plan_zoo(names, tests=tests, time_limit=time_limit, first_seed=seed)
        for sentence in zoo.broken:
            click.echo(f"foreshock: left out: {sentence}", err=True)
        journal, resumed = open_journal(store, zoo.digest(), fresh=fresh)
        view = choose_view(Watcher, LineWatcher, LiveWatcher, quiet=quiet, as_json=as_json)
        watcher = stack.enter_context(view)
        if resumed and not quiet:
            say_resumed(journal.directory, len(journal.results))
        run = ZooRun(zoo, journal, watcher, jobs=jobs)
        stack.enter_context(catch_interrupts(run.stop))
        document = run.run()
    page, errors = _publish(journal.directory, document, DOCUMENT)
    if as_json:
        print_json(document)
    else:
        _show(document, page, quiet=quiet)
    for error in errors:
        click.echo(f"foreshock: {error}", err=True)
    return ExitCode.HARNESS_ERROR if errors and document.exit == ExitCode.VALID else document.exit


def _publish(directory: Path, document: ZooDocument, name: str) -> tuple[Path | None, list[str]]:
    """Write the document of a run that is complete, so that it is not gone on with, and the page of any."""
    from foreshock.harness.registry import Kind, load
    from foreshock.harness.store import write_json

    try:
        write_json(directory / (name if document.complete else f"incomplete-{name}"), document)
        return load(Kind.REPORTERS, "zoo")().report(directory), []
    except ForeshockError as error:
        return None, [str(error)]


def _show(document: ZooDocument, page: Path | None, *, quiet: bool) -> None:
    out = console()
    verdict = {ExitCode.VALID: "valid", ExitCode.INVALID: "invalid"}.get(ExitCode(document.exit), "unknown")
    if not quiet:
        _show_bugs(out, document)
        _show_correct(out, document)
    interrupted = "" if document.complete else " (interrupted: the same command goes on)"
    out.print(verdict_text(verdict), document.summary + interrupted, sep="  ", markup=False)
    if quiet:
        return
    simulated = f"{document.simulated_seconds:.0f} simulated seconds"
    rows = [
        ("tests", f"{document.tests} in {document.seconds:.0f} s, {simulated}"),
        ("run", relative(document.run)),
    ]
    if page is not None:
        rows.append(("report", relative(page)))
    print_rows(out, rows)


def _print_table(out: Console, rows: list[list[str]]) -> None:
    """Lines with columns; on a terminal the last column ends where the line does, in a pipe it is whole."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        style = "dim" if row is rows[0] else "bold red" if MISSED in row else None
        out.print(line[: out.width] if out.is_terminal else line, style=style, markup=False)
    out.print()


def _show_bugs(out: Console, document: ZooDocument) -> None:
    if not document.bugs:
        return
    rows = [["exhibit", "", "seed", "tests", "took", "what was seen"]]
    rows += [
        [
            row.name,
            "found" if row.found else MISSED,
            "" if row.seed is None else str(row.seed),
            f"{row.tests} of {row.budget}",
            f"{row.seconds:.1f} s",
            row.reason,
        ]
        for row in document.bugs
    ]
    _print_table(out, rows)


def _show_correct(out: Console, document: ZooDocument) -> None:
    if not document.correct:
        return
    rows = [["correct", "workload", "tests", "valid", "invalid", "unknown", "simulated"]]
    rows += [
        [
            row.target,
            row.workload or row.note,
            f"{row.tests} of {row.planned}",
            str(row.valid),
            str(row.invalid),
            str(row.unknown),
            f"{row.simulated_seconds:.0f} s",
        ]
        for row in document.correct
    ]
    _print_table(out, rows)
    for row in document.correct:
        for failure in row.failures:
            out.print(f"{failure.verdict}  {row.target}: {failure.reason}", markup=False)
            out.print(f"  again      {failure.replay}", markup=False)
