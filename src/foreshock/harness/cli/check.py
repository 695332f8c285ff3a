"""``foreshock check``: decide histories that any tool recorded."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import msgspec

from foreshock.harness.checker import CheckContext, Checker, CheckResult
from foreshock.harness.cli.common import (
    console,
    option,
    output_options,
    print_json,
    set_up_logging,
    verdict_text,
)
from foreshock.harness.cli.completion import complete
from foreshock.harness.cli.explain import explain
from foreshock.harness.errors import UsageError
from foreshock.harness.history import History
from foreshock.harness.plan import parse_bytes
from foreshock.harness.registry import Kind, load, names
from foreshock.harness.verdict import ExitCode, Verdict

HEAD_BYTES = 4096


@click.command(epilog="Try: foreshock check store/latest/history.jsonl --model cas-register --explain")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@option(
    "--model",
    default="cas-register",
    show_default=True,
    shell_complete=complete(Kind.MODELS),
    help="What the history must be a history of: a name, or file.py:Model.",
)
@option("--format", "format_name", default="auto", show_default=True, help="auto looks at the content.")
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
    set_up_logging(verbose=verbose)
    checker: Checker = load(Kind.CHECKERS, "linearizable")(load(Kind.MODELS, model)())
    limit = parse_bytes(memory)
    out, documents, verdicts, seconds = console(), [], [], 0.0
    for file in files:
        history = read_history(file, format_name).clients()
        start = time.monotonic()
        result = checker.check(
            history,
            CheckContext(deadline_ns=time.monotonic_ns() + round(deadline * 1e9), memory_limit_bytes=limit),
        )
        took = time.monotonic() - start
        seconds += took
        verdicts.append(result.verdict)
        documents.append(_document(file, history, result, took))
        if not as_json and not (quiet and result.verdict is Verdict.VALID):
            out.print(verdict_text(result.verdict.word), file, result.reason, sep="  ", markup=False)
            for counterexample in result.counterexamples if explained else ():
                out.print(explain(msgspec.to_builtins(counterexample, enc_hook=str)), markup=False)
    verdict = Verdict.worst(verdicts)
    code = ExitCode.of(verdict)
    if as_json:
        print_json(
            {"verdict": verdict.word, "exit": int(code), "seconds": round(seconds, 6), "histories": documents}
        )
    return int(code)


def read_history(file: Path, format_name: str) -> History:
    """Read a history in a registered format; ``auto`` asks each whether it knows the content."""
    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise UsageError(f"the history {str(file)!r} cannot be read: {error.strerror}") from None
    if format_name != "auto":
        history: History = load(Kind.FORMATS, format_name)().read(file)
        return history
    for name in names(Kind.FORMATS):
        known = load(Kind.FORMATS, name)()
        if known.detect(file, head):
            found: History = known.read(file)
            return found
    raise UsageError(
        f"{file} is in none of the known formats ({', '.join(names(Kind.FORMATS))}): say --format"
    )


def _document(file: Path, history: History, result: CheckResult, seconds: float) -> dict[str, Any]:
    counterexamples = [msgspec.to_builtins(c, enc_hook=str) for c in result.counterexamples]
    return {
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
