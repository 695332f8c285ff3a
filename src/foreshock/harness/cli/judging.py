"""The checker that a command line asks for, and what it says of one file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from foreshock.harness.blame import describe
from foreshock.harness.constructor_options import made, options_of, parameters_of
from foreshock.harness.errors import ForeshockError, PlugInError, UsageError
from foreshock.harness.formats.reading import read_history
from foreshock.harness.registry import NOT_IMPORTED, Kind, load
from foreshock.harness.verdict import ExitCode, Verdict

if TYPE_CHECKING:
    from foreshock.harness.checker import CheckContext, Checker, CheckResult
    from foreshock.harness.history import History

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "cas-register"
STANDARD_INPUT = Path("-")
EMPTY = "it holds no operation of a client, so there is nothing to decide"


class Checked(NamedTuple):
    """What became of one file. ``document`` is its entry in the JSON; ``error`` says why it could not be decided.

    ``code`` is the exit code of a command that checks nothing else.
    """

    verdict: Verdict
    document: dict[str, Any]
    code: ExitCode
    seconds: float = 0.0
    error: str | None = None


def checker_of(checker_name: str, model_name: str | None, given: Mapping[str, str]) -> Checker:
    """The checker of that name, with the model of that name where it takes one, and with the options given.

    Raises :class:`UsageError` for a name or an option that there is not, and :class:`PlugInError` for a class that
    cannot be made.
    """
    checker_class = load(Kind.CHECKERS, checker_name)
    who = f"the checker {checker_name!r}"
    if "model" not in parameters_of(checker_class):
        if model_name is not None:
            raise UsageError(f"{who} takes no model: leave out --model {model_name}")
        (options,) = made(given, (who, options_of(checker_class)))
        checker: Checker = _make(who, checker_class, options)
        return checker
    model_name = model_name or DEFAULT_MODEL
    model_class = load(Kind.MODELS, model_name)
    what = f"the model {model_name!r}"
    model_options, options = made(given, (what, options_of(model_class)), (who, options_of(checker_class)))
    model = _make(what, model_class, model_options) if isinstance(model_class, type) else model_class
    with_model: Checker = _make(who, checker_class, {"model": model, **options})
    return with_model


def _make(who: str, plug_in: Any, arguments: Mapping[str, Any]) -> Any:
    try:
        return plug_in(**arguments)
    except ForeshockError:
        raise
    except NOT_IMPORTED as error:
        raise PlugInError(f"{who} cannot be made: {describe(error)}") from error


def check_file(file: Path, format_name: str, checker: Checker, context: CheckContext) -> Checked:
    """Read a file and decide it; the time for reading it comes on top of that until the deadline.

    What is wrong with it, or goes wrong with it, is its own affair: the other files keep their verdicts.
    """
    started = time.monotonic()
    try:
        history = read(file, format_name)
        read_s = time.monotonic() - started
        if not len(history):
            return _empty(file)
        result = _judged(checker, history, context, read_s)
    except UsageError as error:
        return _failed(file, str(error), ExitCode.USAGE)
    except ForeshockError as error:
        return _failed(file, str(error), ExitCode.HARNESS_ERROR)
    except Exception as error:
        logger.debug("unexpected, in %s", file, exc_info=error)
        sentence = f"unexpected {describe(error)} (run with -v for the traceback)"
        return _failed(file, sentence, ExitCode.HARNESS_ERROR)
    return _checked(file, history, result, read_s, time.monotonic() - started - read_s)


def _judged(checker: Checker, history: History, context: CheckContext, read_s: float) -> CheckResult:
    later = msgspec.structs.replace(context, deadline_ns=context.deadline_ns + round(read_s * 1e9))
    try:
        return checker.check(history, later)
    except SystemExit as error:  # it would end the command with an exit code that is none of ours
        raise PlugInError(f"a model or the checker ended the program: {describe(error)}") from error


def read(file: Path, format_name: str) -> History:
    """The operations of the clients in a file, or in what comes on standard input (``-``)."""
    if file != STANDARD_INPUT:
        return read_history(file, format_name).clients()
    import tempfile  # only who reads standard input pays for it

    with tempfile.NamedTemporaryFile(prefix="foreshock-") as copy:
        while part := sys.stdin.buffer.read(1 << 20):
            copy.write(part)
        copy.flush()
        try:
            return read_history(Path(copy.name), format_name).clients()
        except UsageError as error:
            raise UsageError(str(error).replace(copy.name, "standard input")) from None


def _empty(file: Path) -> Checked:
    document = {
        "file": str(file),
        "verdict": Verdict.UNKNOWN.word,
        "reason": EMPTY,
        "operations": 0,
        "seconds": 0.0,
        "keys": [],
        "counterexample": None,
        "counterexamples": [],
    }
    return Checked(Verdict.UNKNOWN, document, ExitCode.UNKNOWN)


def _failed(file: Path, error: str, code: ExitCode) -> Checked:
    name = "standard input" if file == STANDARD_INPUT else str(file)
    # What is wrong with the file itself names it already; what a model says of its operations does not.
    error = error if name in error else f"{name}: {error}"
    document = {"file": str(file), "verdict": Verdict.UNKNOWN.word, "error": error}
    return Checked(Verdict.UNKNOWN, document, code, error=error)


def _checked(file: Path, history: History, result: CheckResult, read_s: float, checked_s: float) -> Checked:
    counterexamples = [msgspec.to_builtins(found, enc_hook=str) for found in result.counterexamples]
    seconds = float(result.details.get("decided_s", checked_s))
    document = {
        "file": str(file),
        "verdict": result.verdict.word,
        "reason": result.reason,
        "operations": len(history),
        "seconds": round(seconds, 6),
        "read_s": round(read_s, 6),
        "explained_s": round(max(checked_s - seconds, 0.0), 6),
        "method": result.method,
        "keys": [found["key"] for found in counterexamples],
        "counterexample": counterexamples[0] if counterexamples else None,
        "counterexamples": counterexamples,
    }
    return Checked(result.verdict, document, ExitCode.of(result.verdict), seconds)
