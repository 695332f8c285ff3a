"""Processes that run simulated tests, one at a time each. One that hangs or dies costs its own test and no other."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from foreshock.harness.blame import describe
from foreshock.harness.errors import ForeshockError
from foreshock.harness.process_pool import Note, ProcessPool
from foreshock.harness.request import Request
from foreshock.harness.verdict import ExitCode

T = TypeVar("T")

logger = logging.getLogger("foreshock")

TEST_SECONDS_MAX: Final = 300.0
"""A test that takes longer on the wall clock is given up, with its worker."""
NICENESS: Final = 5


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


class Workers(ProcessPool[T]):
    """A pool of worker processes for tests with tickets of type ``T``. Leaving it as a context ends them all."""

    def __init__(self, count: int, store: Path, *, seconds_max: float = TEST_SECONDS_MAX) -> None:
        super().__init__(_work, seconds_max=seconds_max, niceness=NICENESS)
        self._store = store
        self._room = count

    @property
    def free(self) -> int:
        """How many more tests can be started now."""
        return self._room - len(self.under_way())

    def start_test(self, ticket: T, request: Request) -> None:
        """Start a test; its result comes with ``ticket``."""
        self.start(ticket, (request, str(self._store)))

    def running(self) -> list[tuple[T, float]]:
        """The tickets of the tests under way, each with how many seconds it has been."""
        now = time.monotonic()
        return [(ticket, now - worker.began) for ticket, worker in self.under_way()]

    def results(self, timeout_s: float) -> Iterator[tuple[T, SimulatedTest]]:
        """The tests that ended, waiting for the first of them at most as long as given."""
        for ended in self.ended(timeout_s):
            if ended.lost is not None:
                yield ended.ticket, lost(ended.lost, time.monotonic() - ended.seconds)
            else:
                yield ended.ticket, ended.result


def lost(why: str, began: float) -> SimulatedTest:
    """The result of a test that has none."""
    return SimulatedTest(
        verdict="unknown",
        exit=int(ExitCode.HARNESS_ERROR),
        reason=why,
        seconds=time.monotonic() - began,
        harness_errors=(why,),
    )


def _work(task: tuple[Request, str], _note: Note) -> SimulatedTest:
    request, store = task
    return run_one(request, Path(store))


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
