"""What runs in a worker of a Dask cluster: one test at a time in each of its threads, in a process of its own.

A test cannot run in the worker itself: it takes the signals of its process, may not come to an end, and may take its
process with it. So each worker keeps processes for tests, as a campaign on one machine does, which are used again and
end with it: what simulates is killed, and a real test is told to heal and to tear down. They are made and watched by
one thread that lives as long as the worker, for the kernel takes the end of the thread that started a process for the
end of its parent.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import queue
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import cache
from multiprocessing import Pipe, current_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Final

import msgspec

import foreshock
from foreshock.harness.backends.process_identity import ProcessIdentity, identify
from foreshock.harness.campaign.delivery import TooLarge, lay_out, pack
from foreshock.harness.campaign.document import Attempt
from foreshock.harness.campaign.job import Standing, Task, forget_unfinished, run_task
from foreshock.harness.campaign.leftovers import recover
from foreshock.harness.campaign.specification import Kept, Reported
from foreshock.harness.process_pool import Ended, Note, ProcessPool, Worker
from foreshock.harness.request import Request
from foreshock.harness.verdict import ExitCode
from foreshock.harness.zoo.plan import SOURCES, sources_digest

LOOK_EVERY_S: Final = 0.5
GRACE_S: Final = 300.0
"""So long a real test that was told to end may heal and tear down before it is killed."""
NICENESS: Final = 5
ENDING: Final = ("closing", "closed", "failed")
"""The states of a worker that will run nothing more."""
REFUSED_MAX: Final = 10_000

logger = logging.getLogger("foreshock")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is sent. ``version`` is that of the sender's Foreshock; ``topic`` hears how it stands."""

    token: str
    request: Request
    number: int
    report: Reported
    keep: Kept
    files: Mapping[str, bytes]
    simulated: bool
    bound_s: float
    packed_bytes_max: int
    version: str
    topic: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What comes back, beside the packed folder. ``test`` is the name of the folder above the run's."""

    attempt: Attempt
    test: str = ""
    lost: bool = False
    unfit: str = ""
    """Why this worker can run nothing of the sender's."""


def facts() -> dict[str, str]:
    """What the sender wants to know of a worker before it sends anything."""
    return {"version": foreshock.__version__, "sources": own_sources()}


@cache
def own_sources() -> str:
    """A digest of the sources of the Foreshock that is installed here."""
    return sources_digest(SOURCES).hex()[:16]


def run_order(data: bytes) -> tuple[bytes, bytes]:
    """Run a test to its end; returns the :class:`Answer`, encoded, and the run's folder, packed. Runs in a thread."""
    from distributed import get_worker

    order = msgspec.msgpack.decode(data, type=Order)
    worker = get_worker()
    name = _name_of(worker)
    if order.version != foreshock.__version__:
        unfit = f"the worker {name} has Foreshock {foreshock.__version__}"
        return _answer(Answer(attempt=_lost(order, name, unfit, 0.0), lost=True, unfit=unfit))
    began = time.monotonic()
    side = _side(str(worker.local_directory))
    ended = side.run(order, _Listener(worker, order))
    if ended.lost is not None:
        attempt = _lost(order, name, ended.lost, time.monotonic() - began)
        return _answer(Answer(attempt=attempt, lost=True))
    return _packed(order, msgspec.structs.replace(ended.result, worker=name))


def interrupt_orders(tokens: list[str]) -> None:
    """End the tests of these orders early, and begin none of them that has not begun. Runs in the worker's loop."""
    for side in list(_SIDES.values()):
        for token in tokens:
            side.interrupt(token)


def _packed(order: Order, attempt: Attempt) -> tuple[bytes, bytes]:
    summary = attempt.summary
    if summary is None or not summary.run:
        return _answer(Answer(attempt=attempt))
    run = Path(summary.run)
    try:
        packed = pack(run, order.packed_bytes_max)
    except TooLarge as error:
        why = f"{error}: it stays on the worker {attempt.worker} as long as that lives"
        code = summary.exit if summary.exit == ExitCode.INVALID else int(ExitCode.HARNESS_ERROR)
        summary = msgspec.structs.replace(
            summary, run="", exit=code, harness_errors=(*summary.harness_errors, why)
        )
        return _answer(Answer(attempt=msgspec.structs.replace(attempt, summary=summary)))
    except OSError as error:
        why = f"the run's folder on the worker {attempt.worker} cannot be read: {error.strerror}"
        return _answer(Answer(attempt=_lost(order, attempt.worker, why, attempt.seconds), lost=True))
    shutil.rmtree(run, ignore_errors=True)
    return msgspec.msgpack.encode(Answer(attempt=attempt, test=run.parent.name)), packed


def _answer(answer: Answer) -> tuple[bytes, bytes]:
    return msgspec.msgpack.encode(answer), b""


def _lost(order: Order, worker: str, why: str, seconds: float) -> Attempt:
    return Attempt(number=order.number, worker=worker, seconds=round(seconds, 3), error=why)


def _name_of(worker: Any) -> str:
    """A worker's address, with the name that somebody gave it."""
    named = isinstance(worker.name, str) and worker.name != worker.address
    return f"{worker.name} ({worker.address})" if named else str(worker.address)


class _Listener:
    """What a test's thread looks after while it waits: whether anybody still wants the test, and who wants to hear."""

    def __init__(self, worker: Any, order: Order) -> None:
        self._worker = worker
        self._order = order
        self._told: Standing | None = None

    def abandoned(self) -> bool:
        """Whether whoever asked for the test has gone, or takes it back; or the worker ends, and waits for us."""
        if self._worker.status.name in ENDING:
            return True
        task = self._worker.state.tasks.get(self._order.token)
        return task is None or task.state == "cancelled"

    def tell(self, standing: object) -> None:
        """Pass on where the test stands."""
        if isinstance(standing, Standing) and standing is not self._told:
            self._told = standing
            self._worker.log_event(
                self._order.topic, {"token": self._order.token, **msgspec.to_builtins(standing)}
            )


class _Side:
    """The processes of one worker. Everything about them is done by one thread; the others leave it a message."""

    def __init__(self, directory: str) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="foreshock-", dir=directory))
        atexit.register(shutil.rmtree, self.scratch, ignore_errors=True)
        self._messages: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._bell, self._ringing = Pipe(duplex=False)
        bound_s = GRACE_S  # each task comes with its own
        self._pools = {
            True: ProcessPool[str](run_shipped, seconds_max=bound_s, niceness=NICENESS),
            False: ProcessPool[str](run_shipped, seconds_max=bound_s),
        }
        self._waiting: dict[str, Future[Ended[str]]] = {}
        self._workers: dict[str, Worker] = {}
        self._identities: dict[str, ProcessIdentity | None] = {}
        self._refused: dict[str, None] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._drive, name="foreshock", daemon=True).start()

    def run(self, order: Order, listener: _Listener) -> Ended[str]:
        """Run a test in one of the processes, and wait for its end."""
        lay_out(order.files, self.scratch)
        task = Task(
            request=order.request,
            number=order.number,
            store=str(self.scratch / "store"),
            report=order.report,
            keep=order.keep,
        )
        future: Future[Ended[str]] = Future()
        self._say(lambda: self._start(order, task, future))
        began, told = time.monotonic(), False
        while True:
            with contextlib.suppress(TimeoutError):
                return future.result(LOOK_EVERY_S)
            late = not order.simulated and time.monotonic() - began > order.bound_s
            if not told and (late or listener.abandoned()):
                told = True
                self.interrupt(order.token)
            if time.monotonic() - began > order.bound_s + 3 * GRACE_S:
                return Ended(order.token, time.monotonic() - began, lost="nobody could say how it ended")
            process = self._workers.get(order.token)
            if process is not None:
                listener.tell(process.note)

    def interrupt(self, token: str) -> None:
        """End a test early: one that is simulated at once, a real one as by Ctrl-C."""
        self._say(lambda: self._interrupt(token))

    def _say(self, message: Callable[[], None]) -> None:
        self._messages.put(message)
        with self._lock:
            self._ringing.send_bytes(b"!")

    def _drive(self) -> None:
        while True:
            try:
                self._turn()
            except Exception:  # what goes wrong with one test must not hold up all others for ever
                logger.exception("something went wrong with the processes of a worker")

    def _turn(self) -> None:
        pipes = [pipe for pool in self._pools.values() for pipe in pool.pipes]
        if self._bell in wait([self._bell, *pipes], LOOK_EVERY_S):
            self._bell.recv_bytes()
            self._messages.get()()
        for pool in self._pools.values():
            for ended in pool.ended(0):
                self._end(ended)

    def _start(self, order: Order, task: Task, future: Future[Ended[str]]) -> None:
        if order.token in self._refused:
            future.set_result(Ended(order.token, 0.0, lost="it was interrupted before it began"))
            return
        seconds_max = order.bound_s + (0.0 if order.simulated else 2 * GRACE_S)
        try:
            with _may_have_children():
                worker = self._pools[order.simulated].start(order.token, task, seconds_max=seconds_max)
        except (OSError, RuntimeError) as error:  # no memory, no processes, no descriptors left
            future.set_result(Ended(order.token, 0.0, lost=f"no process could be started for it: {error}"))
            return
        self._waiting[order.token], self._workers[order.token] = future, worker
        self._identities[order.token] = identify(worker.process.pid or 0)

    def _interrupt(self, token: str) -> None:
        if token not in self._workers:
            self._refused[token] = None
            while len(self._refused) > REFUSED_MAX:
                del self._refused[next(iter(self._refused))]
            return
        worker, simulating = self._workers[token], self._pools[True]
        if any(ticket == token for ticket, _ in simulating.under_way()):
            self._end(simulating.give_up(token, worker, "it was interrupted"))
            forget_unfinished(worker.note, self.scratch / "store")
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.process.pid or 0, signal.SIGINT)

    def _end(self, ended: Ended[str]) -> None:
        del self._workers[ended.ticket]
        identity = self._identities.pop(ended.ticket)
        waiting = self._waiting.pop(ended.ticket)
        try:
            if ended.lost is not None and identity is not None:
                left = recover([identity]).errors  # what was simulated has nothing to undo
                ended = msgspec.structs.replace(ended, lost="; ".join((ended.lost, *left)))
        finally:
            waiting.set_result(ended)


_SIDES: dict[str, _Side] = {}
_SIDES_LOCK = threading.Lock()


def _side(directory: str) -> _Side:
    """The processes of the worker that has this folder; a test has several workers in one process."""
    with _SIDES_LOCK:
        if directory not in _SIDES:
            _SIDES[directory] = _Side(directory)
        return _SIDES[directory]


def run_shipped(task: Task, note: Note) -> Attempt:
    """Run a test whose files were shipped: their names are relative to the folder that holds its store."""
    os.chdir(Path(task.store).parent)
    return run_task(task, note)


@contextlib.contextmanager
def _may_have_children() -> Iterator[None]:
    """A nanny makes its worker a daemon, which multiprocessing lets start no process; ours end with it all the same."""
    config: dict[str, Any] = getattr(current_process(), "_config")  # noqa: B009
    before = config.get("daemon", False)
    config["daemon"] = False
    try:
        yield
    finally:
        config["daemon"] = before
