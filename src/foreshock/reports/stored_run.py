"""What a run left on disk, read back for a report; whatever is missing is absent, never invented."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from foreshock.harness.checker import Counterexample
from foreshock.harness.errors import HarnessError, UsageError
from foreshock.harness.history import History
from foreshock.harness.ledger import Fault, read_ledger
from foreshock.harness.nemesis import Shade
from foreshock.harness.store import (
    FAULTS,
    HARNESS_LOG,
    HISTORY,
    HISTORY_PARQUET,
    NODES,
    RESULTS,
    TEST,
    read_json,
)
from foreshock.harness.verdict import Verdict

LOGS_MAX = 200
"""More log files than this are not listed one by one."""


class StoredTest(msgspec.Struct, frozen=True, kw_only=True):
    """``test.json``: the plan and what is needed to run it again."""

    run: str = ""
    plan: Mapping[str, Any] = {}
    versions: Mapping[str, Any] = {}
    argv: tuple[str, ...] = ()
    started: str = ""
    shades: tuple[Shade, ...] = ()
    replay: str = ""


class StoredCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What one checker found, as ``results.json`` holds it; the verdict is a word."""

    verdict: str
    reason: str = ""
    method: str = ""
    seconds: float = 0.0
    details: Mapping[str, Any] = {}
    counterexamples: tuple[Counterexample, ...] = ()


class StoredResults(msgspec.Struct, frozen=True, kw_only=True):
    """``results.json``: the verdict and everything that led to it."""

    verdict: str
    reason: str = ""
    operations: Mapping[str, int] = {}
    faults: Mapping[str, int] = {}
    checkers: Mapping[str, StoredCheck] = {}
    harness_errors: tuple[str, ...] = ()
    duration_s: float | None = None
    interrupted: bool = False
    replay: str = ""
    figures: Mapping[str, Any] = {}


class LogFile(NamedTuple):
    """One log in the run's folder. ``href`` is relative to the report; ``node`` is empty for the harness' own."""

    node: str
    name: str
    path: Path
    href: str
    size_bytes: int


class StoredRun(NamedTuple):
    """A run as a report reads it. ``results`` is ``None`` when the harness never wrote a verdict."""

    path: Path
    test: StoredTest
    results: StoredResults | None
    history: History
    faults: tuple[Fault, ...]
    logs: tuple[LogFile, ...]

    @property
    def verdict(self) -> Verdict:
        """The composed verdict; without results nothing was decided."""
        return Verdict.UNKNOWN if self.results is None else Verdict.of_word(self.results.verdict)

    @property
    def started(self) -> datetime | None:
        """When time 0 of the history was on the wall clock, where that was written down."""
        try:
            return datetime.fromisoformat(self.test.started)
        except ValueError:
            return None

    @property
    def replay(self) -> str:
        """The command that runs this test again, or nothing where it was not stored."""
        return (self.results.replay if self.results else "") or self.test.replay


def read_run(path: Path) -> StoredRun:
    """Read a run's folder. Raises :class:`HarnessError` naming the file that cannot be understood."""
    if not (path / TEST).is_file():
        raise HarnessError(f"{path} is not a stored run: it holds no {TEST}")
    results = _typed(path / RESULTS, StoredResults) if (path / RESULTS).is_file() else None
    if results is not None:
        _check_verdicts(path / RESULTS, results)
    return StoredRun(
        path=path,
        test=_typed(path / TEST, StoredTest),
        results=results,
        history=_history(path),
        faults=read_ledger(path / FAULTS),
        logs=tuple(_logs(path)),
    )


RecordT = TypeVar("RecordT", StoredTest, StoredResults)


def _typed(path: Path, shape: type[RecordT]) -> RecordT:
    document = {name: value for name, value in read_json(path).items() if value is not None}
    try:
        return msgspec.convert(document, shape, strict=False)
    except msgspec.ValidationError as error:
        raise HarnessError(f"{path} is not what a run leaves there: {error}") from None


def _check_verdicts(path: Path, results: StoredResults) -> None:
    for word in (results.verdict, *(check.verdict for check in results.checkers.values())):
        try:
            Verdict.of_word(word)
        except KeyError:
            raise HarnessError(
                f"{path} holds the verdict {word!r}, which is none of valid, unknown and invalid"
            ) from None


def _history(path: Path) -> History:
    """The history by whichever of its two files is read sooner; raises :class:`HarnessError` that names the other."""
    lines, table = path / HISTORY, path / HISTORY_PARQUET
    if _holds_it_all(table, lines):
        with suppress(UsageError):
            # A harness that was killed may leave half of it. The lines are there from the first operation on.
            return History.read(table)
    # A copied run may hold only the smaller file.
    for file in (lines, table):
        if file.is_file():
            try:
                return History.read(file)
            except UsageError as error:
                # What the user gave is a run; that its history is broken is no wrong usage.
                raise HarnessError(str(error)) from None
    return History.of([])


def _holds_it_all(table: Path, lines: Path) -> bool:
    """Whether the table, read ten times as fast, was written after the last line was."""
    try:
        return table.stat().st_mtime_ns >= lines.stat().st_mtime_ns
    except FileNotFoundError:
        return False


def _logs(path: Path) -> list[LogFile]:
    found = [path / HARNESS_LOG] if (path / HARNESS_LOG).is_file() else []
    found += sorted(log for log in (path / NODES).glob("*/*") if log.is_file() and not log.is_symlink())
    logs = []
    for log in found[:LOGS_MAX]:
        relative = log.relative_to(path)
        node = relative.parts[1] if len(relative.parts) == 3 else ""
        href = quote(relative.as_posix())
        logs.append(LogFile(node, log.name, log, href, log.stat().st_size))
    return logs
