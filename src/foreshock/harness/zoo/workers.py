"""Processes that run simulated tests, one at a time each. One that hangs or dies costs its own test and no other."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

import msgspec

from foreshock.harness.blame import describe
from foreshock.harness.errors import ForeshockError
from foreshock.harness.request import Request
from foreshock.harness.verdict import ExitCode

T = TypeVar("T")

logger = logging.getLogger("foreshock")

TEST_SECONDS_MAX = 300.0
"""A test that takes longer on the wall clock is given up, with its worker."""


class SimulatedTest(msgspec.Struct, frozen=True, kw_only=True):
    """How one test ended. ``run`` is its folder where it was kept: that of a valid test is not."""

    verdict: str
    exit: int
    reason: str
    seconds: float
    operations: int = 0
    harness_errors: tuple[str, ...] = ()
    run: str | None = None
    replay: str = ""


class Workers(Generic[T]):
    """A pool of worker processes for tests with tickets of type ``T``. Leaving it as a context ends them all."""

    def __init__(self, count: int, store: Path, *, seconds_max: float = TEST_SECONDS_MAX) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._store = store
        self._seconds_max = seconds_max
        self._idle: list[_Worker] = []
        self._busy: dict[Any, tuple[_Worker, T]] = {}
        self._room = count

    def __enter__(self) -> Workers[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in (*self._idle, *(worker for worker, _ in self._busy.values())):
            worker.end()

    @property
    def free(self) -> int:
        """How many more tests can be started now."""
        return self._room - len(self._busy)

    def start(self, ticket: T, request: Request) -> None:
        """Start a test; its result comes with ``ticket``."""
        worker = self._idle.pop() if self._idle else _Worker(self._context, self._store)
        worker.start(request)
        self._busy[worker.pipe] = worker, ticket

    def running(self) -> list[tuple[T, float]]:
        """The tickets of the tests under way, each with how many seconds it has been."""
        now = time.monotonic()
        return [(ticket, now - worker.began) for worker, ticket in self._busy.values()]

    def results(self, timeout_s: float) -> Iterator[tuple[T, SimulatedTest]]:
        """The tests that ended, waiting for the first of them at most as long as given."""
        for pipe in wait(list(self._busy), timeout_s):
            worker, ticket = self._busy.pop(pipe)
            try:
                result: SimulatedTest = worker.pipe.recv()
            except (EOFError, OSError):
                worker.end()
                code = worker.process.exitcode
                yield ticket, lost(f"the process that ran it ended with exit code {code}", worker.began)
                continue
            self._idle.append(worker)
            yield ticket, result
        for worker, ticket in list(self._busy.values()):
            if time.monotonic() - worker.began > self._seconds_max:
                del self._busy[worker.pipe]
                worker.end()
                text = f"it took longer than {self._seconds_max:g} s and was given up"
                yield ticket, lost(text, worker.began)


def lost(why: str, began: float) -> SimulatedTest:
    """The result of a test that has none."""
    return SimulatedTest(
        verdict="unknown",
        exit=int(ExitCode.HARNESS_ERROR),
        reason=why,
        seconds=time.monotonic() - began,
        harness_errors=(why,),
    )


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, context: multiprocessing.context.SpawnContext, store: Path) -> None:
        self.pipe, far = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_work, args=(far, str(store)), daemon=True)
        self.process.start()
        far.close()
        self.began = 0.0

    def start(self, request: Request) -> None:
        self.began = time.monotonic()
        with contextlib.suppress(OSError):  # a worker that died says so when its result is asked for
            self.pipe.send(request)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _work(pipe: Connection[Any, Any], store: str) -> None:
    """Run tests until the other end is gone, be it closed or killed: nothing is left behind then."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN if number is signal.SIGINT else signal.SIG_DFL)
    os.nice(5)
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(run_one(pipe.recv(), Path(store)))


def run_one(request: Request, store: Path) -> SimulatedTest:
    """Run one simulated test. What is not valid keeps its folder, with its report."""
    from foreshock.harness.plan import resolve
    from foreshock.harness.progress import SilentProgress
    from foreshock.harness.publish import report_all
    from foreshock.harness.runner import run_test
    from foreshock.harness.store import Store

    began = time.monotonic()
    try:
        outcome = run_test(resolve(request), Store(store), SilentProgress(), report=False)
    except Exception as error:
        logger.debug("a test of the zoo could not be run", exc_info=True)
        return lost(str(error) if isinstance(error, ForeshockError) else describe(error), began)
    judgement = outcome.judgement
    seconds = time.monotonic() - began
    errors = judgement.harness_errors
    kept = judgement.exit != ExitCode.VALID
    if kept:
        errors += tuple(report_all(outcome.run)[1])
    else:
        shutil.rmtree(outcome.run, ignore_errors=True)
    return SimulatedTest(
        verdict=judgement.verdict,
        exit=judgement.exit,
        reason=judgement.reason,
        seconds=seconds,
        operations=sum(judgement.operations.values()),
        harness_errors=errors,
        run=str(outcome.run) if kept else None,
        replay=judgement.replay,
    )
