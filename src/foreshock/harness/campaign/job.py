"""One attempt at one test, wherever it is run: in a worker process of this machine, or of a cluster."""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec

from foreshock.harness import publish
from foreshock.harness.blame import describe
from foreshock.harness.campaign.document import Attempt
from foreshock.harness.campaign.specification import Kept, Reported
from foreshock.harness.errors import ForeshockError
from foreshock.harness.plan import Resolved, resolve
from foreshock.harness.process_pool import Note, die_with_parent
from foreshock.harness.progress import SilentProgress, Snapshot
from foreshock.harness.request import Request
from foreshock.harness.runner import run_test
from foreshock.harness.store import RESULTS, TEST, Store, read_json
from foreshock.harness.summary import summarize
from foreshock.harness.verdict import ExitCode

NOTE_EVERY_S: Final = 0.5
RESOLVED_MAX: Final = 256
ERROR_MAX: Final = 1_000

logger = logging.getLogger("foreshock")


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told to do: the ``number``-th attempt at a test."""

    request: Request
    number: int
    store: str
    report: Reported = "failures"
    keep: Kept = "all"


class Standing(msgspec.Struct, frozen=True):
    """What a worker tells of the test that it runs."""

    phase: str
    snapshot: Snapshot | None = None
    run: str = ""
    """The folder of its run, as soon as there is one."""


def run_task(task: Task, note: Note | None = None) -> Attempt:
    """Run one test to its end; raises nothing that a test can bring about."""
    began = time.monotonic()
    try:
        resolved = resolved_of(task.request)
        progress = SilentProgress() if note is None else NotedProgress(note)
        store = _NotedStore(Path(task.store), progress)
        with _outliving(resolved):
            outcome = run_test(resolved, store, progress, report=_report(task, resolved))
        return _done(task, outcome, began)
    except Exception as error:
        logger.debug("a test of the campaign could not be run", exc_info=True)
        text = str(error) if isinstance(error, ForeshockError) else describe(error)
        return Attempt(number=task.number, seconds=_since(began), error=text[:ERROR_MAX])


@lru_cache(maxsize=RESOLVED_MAX)
def _resolved_by_key(key: bytes) -> Resolved:
    return resolve(msgspec.json.decode(key, type=Request))


def resolved_of(request: Request) -> Resolved:
    """The plan of a test, made once for all its seeds. Raises what :func:`resolve` does."""
    resolved = _resolved_by_key(msgspec.json.encode(msgspec.structs.replace(request, seed=None)))
    return resolved if request.seed is None else resolved.with_seed(request.seed)


def _report(task: Task, resolved: Resolved) -> publish.Reported:
    """Whether pages are written: of real clusters also when they were valid, for no seed brings them back.

    A simulated test that is run again has them from the first time, unless all are wanted.
    """
    if task.report != "failures":
        return task.report == "all"
    if not resolved.backend.simulated:
        return True
    return "failures" if task.number == 1 else False


def _done(task: Task, outcome: publish.Outcome, began: float) -> Attempt:
    # Not what is on disk: where that is full, the judgement says so, and the file is not there.
    started = str(read_json(outcome.run / TEST).get("started", ""))
    summary = summarize(outcome.judgement, started)
    if task.keep == "failures" and summary.exit == ExitCode.VALID:
        Store(Path(task.store)).forget(outcome.run)
        summary = msgspec.structs.replace(summary, run="")
    return Attempt(number=task.number, seconds=_since(began), summary=summary)


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)


@contextlib.contextmanager
def _outliving(resolved: Resolved) -> Any:
    """A real cluster must be healed and torn down when the campaign is killed: its process is told, not killed."""
    if resolved.backend.simulated:
        yield
        return
    die_with_parent(signal.SIGTERM)
    try:
        yield
    finally:
        die_with_parent(signal.SIGKILL)


class NotedProgress(SilentProgress):
    """Tells who leads where the test stands, at most twice a second."""

    def __init__(self, note: Callable[[Standing], None]) -> None:
        self._note = note
        self._phase, self._run = "starting", ""
        self._noted_s = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def phase(self, text: str) -> None:
        """A step has begun."""
        self._phase = text
        self._tell(None)

    def show(self, snapshot: Snapshot) -> None:
        """Something may have changed."""
        self._tell(snapshot)

    def began_in(self, run: Path) -> None:
        """The test has a folder from now on; told at once, for whoever ends it must know what it leaves."""
        self._run = str(run)
        self._noted_s = 0.0
        self._tell(None)

    def _tell(self, snapshot: Snapshot | None) -> None:
        if time.monotonic() - self._noted_s >= NOTE_EVERY_S:
            self._noted_s = time.monotonic()
            with contextlib.suppress(OSError):  # who leads is gone: the test is told so by a signal
                self._note(Standing(self._phase, snapshot, self._run))


class _NotedStore(Store):
    """The store of a worker, which tells where the run is that it makes."""

    def __init__(self, root: Path, progress: SilentProgress) -> None:
        super().__init__(root)
        self._progress = progress

    def create(self, test: str) -> Path:
        """Make the folder of a new run, and tell of it."""
        run = super().create(test)
        if isinstance(self._progress, NotedProgress):
            self._progress.began_in(run)
        return run


def forget_unfinished(note: object, store: Path) -> None:
    """Remove the folder of a test that was ended on purpose, and whose seed brings it back; ``note`` tells of it."""
    run = Path(note.run) if isinstance(note, Standing) and note.run else None
    if run is not None and not (run / RESULTS).exists():
        Store(store).forget(run)
