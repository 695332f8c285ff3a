"""``foreshock check``: decide histories that any tool recorded."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from foreshock.harness.cli.common import (
    console,
    option,
    output_options,
    print_json,
    set_up_logging,
    verdict_text,
)
from foreshock.harness.cli.completion import complete
from foreshock.harness.errors import UsageError
from foreshock.harness.formats.reading import read_history
from foreshock.harness.registry import Kind, load
from foreshock.harness.verdict import ExitCode, Verdict

if TYPE_CHECKING:
    from foreshock.harness.checker import CheckContext, Checker


class Checked(NamedTuple):
    """What became of one file. ``document`` is its entry in the JSON; ``error`` says why it could not be read."""

    verdict: Verdict
    document: dict[str, Any]
    seconds: float = 0.0
    error: str | None = None


@click.command(epilog="\b\nTry: foreshock check store/latest/history.jsonl --model cas-register --explain")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@option(
    "--model",
    default="cas-register",
    show_default=True,
    shell_complete=complete(Kind.MODELS),
    help="What the history must be a history of: a name, or file.py:Model.",
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
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds for each file.",
)
@option("--memory", default="2GiB", show_default=True, help="Memory for the search.")
@click.option(
    "--explain", "explained", is_flag=True, help="Show the minimal counterexample of every illegal key."
)
@output_options
def command(
    files: tuple[Path, ...],
    model: str,
    format_name: str,
    deadline: float,
    memory: str,
    explained: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Decide whether the histories in FILES are linearizable."""
    from foreshock.harness.checker import CheckContext
    from foreshock.harness.plan import parse_bytes

    set_up_logging(verbose=verbose)
    checker: Checker = load(Kind.CHECKERS, "linearizable")(load(Kind.MODELS, model)())
    limit = parse_bytes(memory)
    checked = []
    for file in files:
        end_ns = time.monotonic_ns() + round(deadline * 1e9)
        checked.append(
            _check(file, format_name, checker, CheckContext(deadline_ns=end_ns, memory_limit_bytes=limit))
        )
        if not as_json:
            _show(file, checked[-1], explained=explained, quiet=quiet)
    return _conclude(checked, as_json=as_json)


def _check(file: Path, format_name: str, checker: Checker, context: CheckContext) -> Checked:
    try:
        history = read_history(file, format_name).clients()
    except UsageError as error:
        unread = {"file": str(file), "verdict": Verdict.UNKNOWN.word, "error": str(error)}
        return Checked(Verdict.UNKNOWN, unread, error=str(error))
    start = time.monotonic()
    result = checker.check(history, context)
    seconds = time.monotonic() - start
    counterexamples = [msgspec.to_builtins(c, enc_hook=str) for c in result.counterexamples]
    document = {
        "file": str(file),
        "verdict": result.verdict.word,
        "reason": result.reason,
        "operations": len(history),
        "seconds": round(seconds, 6),
        "method": result.method,
        "keys": [c["key"] for c in counterexamples],
        "counterexample": counterexamples[0] if counterexamples else None,
        "counterexamples": counterexamples,
    }
    return Checked(result.verdict, document, seconds)


def _show(file: Path, checked: Checked, *, explained: bool, quiet: bool) -> None:
    from foreshock.harness.cli.explain import explain

    if checked.error is not None:
        click.echo(f"foreshock: {checked.error}", err=True)
    elif not (quiet and checked.verdict is Verdict.VALID):
        out = console()
        reason = checked.document["reason"]
        out.print(verdict_text(checked.verdict.word), file, reason, sep="  ", markup=False)
        for counterexample in checked.document["counterexamples"] if explained else ():
            out.print(explain(counterexample), markup=False)


def _conclude(checked: list[Checked], *, as_json: bool) -> int:
    verdict = Verdict.worst(each.verdict for each in checked)
    errors = [each.error for each in checked if each.error is not None]
    code = ExitCode.worst([ExitCode.of(verdict), *[ExitCode.USAGE] * len(errors)])
    if as_json:
        document = {
            "verdict": verdict.word,
            "exit": int(code),
            "seconds": round(sum(each.seconds for each in checked), 6),
            "histories": [each.document for each in checked],
        }
        print_json({**document, "error": errors[0]} if errors else document)
        for error in errors:
            click.echo(f"foreshock: {error}", err=True)
    return int(code)
