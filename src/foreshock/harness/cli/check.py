"""``foreshock check``: decide histories that any tool recorded."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foreshock.harness.broken_pipe import reader_may_leave
from foreshock.harness.cli.common import (
    SIGNS,
    Seconds,
    option,
    output_options,
    parse_assignments,
    print_json,
    relative,
    set_up_logging,
    spare_stdout,
)
from foreshock.harness.cli.completion import complete
from foreshock.harness.cli.outputs import file_to_write
from foreshock.harness.errors import HarnessError, UsageError
from foreshock.harness.registry import Kind, load
from foreshock.harness.verdict import ExitCode, Verdict

if TYPE_CHECKING:
    from foreshock.harness.cli.judging import Checked

PAGE_REPORTER = "check"
_COLORS = {"valid": "green", "unknown": "yellow", "invalid": "red"}
EXPLAINED_KEYS_MAX = 3
"""Of a history with more illegal keys, the others are listed by ``--explain`` without their counterexamples."""
OPERATION_BYTES = 100
"""About what an operation takes in a history, in any of the formats that are text."""
DEADLINE_S_MAX = 1e9
"""Some thirty years; its nanoseconds, added to the clock's, still fit 64 bits."""


@click.command(epilog="\b\nTry: foreshock check store/latest/history.jsonl --model cas-register --explain")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@option(
    "--model",
    default=None,
    shell_complete=complete(Kind.MODELS),
    help="What the history must be a history of: a name, or file.py:Model.  [default: cas-register]",
)
@option(
    "--checker",
    "checker_name",
    default="linearizable",
    show_default=True,
    shell_complete=complete(Kind.CHECKERS),
    help="What it is held to.",
)
@click.option(
    "-o",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    envvar="FORESHOCK_OPTIONS",
    help="An option of the model or the checker; 'foreshock list models semaphore' shows them.",
)
@option(
    "--format",
    "format_name",
    default="auto",
    show_default=True,
    shell_complete=complete(Kind.FORMATS, "auto"),
    help="auto looks at the content.",
)
@option(
    "--deadline",
    type=Seconds(min=0, min_open=True, max=DEADLINE_S_MAX),
    default=60.0,
    show_default=True,
    help="Seconds to decide each file, once it is read.",
)
@option("--memory", default="2GiB", show_default=True, help="Memory for the search.")
@option("--explain", "explained", is_flag=True, help="Show the minimal counterexample of every illegal key.")
@option(
    "--html",
    "page",
    type=click.Path(),
    default=None,
    help="Write a page with all that was found to this file.",
)
@output_options
def command(
    files: tuple[Path, ...],
    model: str | None,
    checker_name: str,
    assignments: tuple[str, ...],
    format_name: str,
    deadline: float,
    memory: str,
    explained: bool,
    page: str | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Decide whether the histories in FILES are linearizable, or what else --checker asks of them.

    A FILE that is - is standard input.
    """
    from foreshock.harness.checker import CheckContext
    from foreshock.harness.cli.judging import STANDARD_INPUT, check_file, checker_of
    from foreshock.harness.sizes import parse_bytes

    set_up_logging(verbose=verbose, warns=not quiet)
    target = None if page is None else file_to_write(page, "--html", files)
    if STANDARD_INPUT in files and sys.stdin is None:
        raise UsageError("standard input (-) is closed: there is nothing to read")
    memory_bytes = parse_bytes(memory)
    with spare_stdout(as_json=as_json):
        checker = checker_of(checker_name, model, parse_assignments(assignments))
        checked = []
        if len(files) > 1 and hasattr(checker, "announce"):
            checker.announce(_operations_in(files), len(files))
        for file in files:
            context = CheckContext(
                deadline_ns=time.monotonic_ns() + round(deadline * 1e9),
                memory_limit_bytes=memory_bytes,
                explains=explained or as_json or target is not None,
            )
            checked.append(check_file(file, format_name, checker, context))
            if not as_json:
                _show(checked[-1], explained=explained, quiet=quiet)
    return _conclude(checked, target, as_json=as_json, quiet=quiet)


def _operations_in(files: tuple[Path, ...]) -> int:
    """About how many operations the files hold, from their sizes."""
    return sum(file.stat().st_size for file in files if file.is_file()) // OPERATION_BYTES


def _show(checked: Checked, *, explained: bool, quiet: bool) -> None:
    document = checked.document
    if checked.error is not None:
        _say(f"foreshock: {checked.error}", to_stderr=True)
        return
    if quiet and checked.verdict is Verdict.VALID:
        return
    found = document["counterexamples"] if explained else ()
    number = len(document["keys"])
    reason = "" if found else document["reason"]
    word = checked.verdict.word
    sign = click.style(f"{SIGNS[word]} {word.upper()}", fg=_COLORS[word], bold=word == "invalid")
    _say(f"{printable(document['file'])}  {printable(reason)}".rstrip(), before=f"{sign}  ")
    if not found:
        return
    from foreshock.harness.cli.explain import explain, index_of

    if number > 1:
        _say("\n" + printable(index_of(found)))
    for place, counterexample in enumerate(found[:EXPLAINED_KEYS_MAX]):
        _say("\n" + printable(explain(counterexample, is_first=place == 0)))
    if (left := number - EXPLAINED_KEYS_MAX) > 0:
        _say(f"{left} more keys are illegal: --html PAGE draws them all, --json tells all of them as data.\n")


def _say(text: str, *, before: str = "", to_stderr: bool = False) -> None:
    """A line for people: colours only where they are wanted, and a reader may leave."""
    color = False if os.environ.get("NO_COLOR") else None
    if to_stderr:
        click.echo(printable(text), err=True, color=color)
        return
    with reader_may_leave():
        click.echo(before + text, color=color)


def _conclude(checked: list[Checked], page: Path | None, *, as_json: bool, quiet: bool) -> int:
    verdict = Verdict.worst(each.verdict for each in checked)
    errors = [each.error for each in checked if each.error is not None]
    code = ExitCode.worst(each.code for each in checked)
    document: dict[str, Any] = {
        "verdict": verdict.word,
        "exit": int(code),
        "seconds": round(sum(each.seconds for each in checked), 6),
        "histories": [each.document for each in checked],
    }
    if errors:
        document["error"] = errors[0]
    if page is not None:
        try:
            load(Kind.REPORTERS, PAGE_REPORTER)().write(document, page)
            if not (as_json or quiet):
                _say(f"page  {printable(relative(page))}")
        except HarnessError as error:  # the verdict stands
            errors.append(str(error))
            code = ExitCode.worst([code, ExitCode.HARNESS_ERROR])
            document |= {"exit": int(code), "error": errors[0]}
            if not as_json:
                _say(f"foreshock: {error}", to_stderr=True)
    if as_json:
        print_json(document)
        for message in errors:
            _say(f"foreshock: {message}", to_stderr=True)
    return int(code)


def printable(text: str) -> str:
    """A text that does nothing to the terminal: what is no character that one sees is shown as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
