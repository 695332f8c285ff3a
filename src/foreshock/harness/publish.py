"""What is written once a run is judged: ``results.json``, ``history.parquet``, the reports."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from foreshock.harness.blame import describe
from foreshock.harness.errors import ForeshockError, HarnessError
from foreshock.harness.history import History
from foreshock.harness.judge import Judgement
from foreshock.harness.plug_in_contract import load_class
from foreshock.harness.registry import Kind, names
from foreshock.harness.reporter import Reporter
from foreshock.harness.store import HISTORY_PARQUET, RESULTS, TEST, read_json, write_json
from foreshock.harness.summary import SUMMARY, summarize
from foreshock.harness.verdict import ExitCode

KEPT_BY_ERRORS = (ExitCode.INVALID, ExitCode.INTERRUPTED)
Reported = bool | Literal["failures"]
"""Whether pages and tables of a test are written: never, always, or when its exit code is not 0."""

logger = logging.getLogger("foreshock")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A finished test."""

    run: Path
    judgement: Judgement
    reports: tuple[Path, ...]


def publish(
    run: Path, judgement: Judgement, history: History, *, report: Reported, reporters: Sequence[str] = ()
) -> Outcome:
    """Write all that people and tools read. What fails here is a harness error beside the verdict, never a verdict.

    Where ``report`` says that nothing is written, those ``reporters`` still write that are asked for by name.
    """
    errors = _written(run, judgement)
    usual = report is True or (report == "failures" and judgement.exit != ExitCode.VALID)
    if usual:
        errors += _parquet_written(run, history)
    reports, report_errors = report_all(run, reporters, defaults=usual)
    errors += report_errors
    if errors:
        judgement = _with_errors(judgement, errors)
        _written(run, judgement)
    return Outcome(run=run, judgement=judgement, reports=tuple(reports))


def report_all(
    folder: Path, asked: Sequence[str] = (), *, defaults: bool = True
) -> tuple[list[Path], list[str]]:
    """Have every reporter write its files; a reporter that fails is a sentence and never a verdict.

    Those that write on request alone do so when they are in ``asked``: names, or ``file.py:Class``. Without
    ``defaults`` nobody else does.
    """
    written, errors = [], []
    usual = [name for name in names(Kind.REPORTERS) if name not in asked] if defaults else []
    for name in (*usual, *dict.fromkeys(asked)):
        try:
            reporter = load_reporter(name)
            path = None if reporter.on_request and name not in asked else reporter().report(folder)
        except ForeshockError as error:
            errors.append(f"the reporter {name!r} failed: {error}")
        except (Exception, SystemExit) as error:
            logger.exception("the reporter %s raised", name)
            errors.append(f"the reporter {name!r} raised {describe(error)}")
        else:
            if path is not None:
                written.append(path)
            elif name in asked:
                errors.append(f"the reporter {name!r} wrote nothing: it has no use for {folder}")
    return written, errors


def load_reporter(name: str) -> type[Reporter]:
    """The reporter of that name, or of ``file.py:Class``.

    Raises :class:`UsageError` when there is none and :class:`PlugInError` when it does not keep its contract.
    """
    return load_class(Kind.REPORTERS, name, Reporter)


def of_publishing(sentence: str) -> bool:
    """Whether a harness error stems from judging or publishing, and so may be gone when that is done again."""
    of_checkers = ": checkers() " in sentence or ": the checker " in sentence
    beginnings = ("the checker ", "the reporter ", "the list of checkers ", HISTORY_PARQUET)
    return of_checkers or sentence.startswith(beginnings)


def _written(run: Path, judgement: Judgement) -> list[str]:
    try:
        (run / SUMMARY).unlink(missing_ok=True)  # it is never of other results than those that lie beside it
        write_json(run / RESULTS, judgement)
        write_json(run / SUMMARY, summarize(judgement, str(read_json(run / TEST).get("started", ""))))
    except (HarnessError, OSError) as error:
        logger.error("%s", error)
        return [str(error)]
    return []


def _parquet_written(run: Path, history: History) -> list[str]:
    try:
        history.write_parquet(run / HISTORY_PARQUET)
    except Exception as error:
        logger.exception("history.parquet was not written")
        return [f"{HISTORY_PARQUET} was not written: {describe(error)}"]
    return []


def _with_errors(judgement: Judgement, errors: list[str]) -> Judgement:
    code = judgement.exit if judgement.exit in KEPT_BY_ERRORS else ExitCode.HARNESS_ERROR
    return msgspec.structs.replace(
        judgement, harness_errors=(*judgement.harness_errors, *errors), exit=int(code)
    )
