"""Processes of our own that do one task at a time each. One that hangs or dies costs its own task and no other.

A worker is a fresh interpreter (``spawn``) that imports once and is used again. It lives in a session of its own, so
that Ctrl-C at a terminal reaches the process that leads and no worker; and it does not outlive that process: it is
told when that one ends, be it by ``kill -9``, and where nobody tells it the end of its pipe does.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import IO, Any, Final, Generic, Self, TypeVar

import msgspec

from foreshock.harness.blame import describe

T = TypeVar("T")
Note = Callable[[Any], None]
"""Tells the process that leads something about the task under way."""
Work = Callable[[Any, Note], Any]
"""What a worker does with a task: a function of a module, for another process must find it."""

SET_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG (prctl(2))
ENDING_S: Final = 5.0
"""So long a worker whose pipe is closed may take to end by itself."""
BEGUN, NOTE, DONE = "begun", "note", "done"
"""What a worker says: that it has begun with a task, something about it, what came of it."""
SAID_BYTES_MAX: Final = 2_000
"""Of what a worker said before it died this much is told."""


class Ended(msgspec.Struct, Generic[T], frozen=True):
    """A task that ended: with a ``result``, or ``lost`` with its worker, and then how."""

    ticket: T
    seconds: float
    result: Any = None
    lost: str | None = None
    stillborn: bool = False
    """Whether its worker was lost before it had begun with anything: then it could not even be started."""


class Worker:
    """One process and the pipe to it. ``note`` is what it told last of its task."""

    def __init__(self, work: Work, niceness: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, far = context.Pipe()
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        said = Connection(
            os.dup(self._said.fileno()), readable=False
        )  # what a connection wraps can be inherited
        arguments = (far, said, work, niceness, os.getpid())
        self.process: SpawnProcess = context.Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        far.close()
        said.close()
        self.began = 0.0
        self.seconds_max = 0.0
        self.note: Any = None
        self.has_begun = False

    def start(self, task: Any, seconds_max: float) -> None:
        """Give it a task."""
        self.began, self.seconds_max, self.note = time.monotonic(), seconds_max, None
        self._said.seek(0)  # for the worker, too: both write where the same description says
        self._said.truncate()
        with contextlib.suppress(OSError):  # a worker that died says so when its result is asked for
            self.pipe.send(task)

    def end(self) -> None:
        """Kill it, and wait until it is gone."""
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def last_words(self) -> str:
        """How it ended, and what it said last; call it after :meth:`end`."""
        code = self.process.exitcode or 0
        how = f"exit code {code}" if code >= 0 else f"signal {_signal_name(-code)}"
        if -code == signal.SIGKILL:
            how += " (which the kernel sends where memory runs out)"
        self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, self._said.tell() - SAID_BYTES_MAX))
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        said = f"; the last that it said: {lines[-1]}" if lines else ""
        return f"the process that ran it ended with {how}{said}"


class ProcessPool(Generic[T]):
    """Workers for tasks with tickets of type ``T``, made when they are needed. Leaving it ends them all."""

    def __init__(self, work: Work, *, seconds_max: float, niceness: int = 0) -> None:
        self._work = work
        self._seconds_max = seconds_max
        self._niceness = niceness
        self._idle: list[Worker] = []
        self._busy: dict[Any, tuple[Worker, T]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in (*self._idle, *(worker for worker, _ in self._busy.values())):
            worker.end()
        self._idle.clear()
        self._busy.clear()

    def start(self, ticket: T, task: Any, *, seconds_max: float | None = None) -> Worker:
        """Start a task; its result comes with ``ticket``. After ``seconds_max`` it is given up, with its worker."""
        worker = self._idle.pop() if self._idle else Worker(self._work, self._niceness)
        worker.start(task, self._seconds_max if seconds_max is None else seconds_max)
        self._busy[worker.pipe] = worker, ticket
        return worker

    def under_way(self) -> Sequence[tuple[T, Worker]]:
        """The tickets of the tasks under way, each with its worker."""
        return [(ticket, worker) for worker, ticket in self._busy.values()]

    @property
    def pipes(self) -> Sequence[Any]:
        """What becomes readable when :meth:`ended` has something to say."""
        return list(self._busy)

    def ended(self, timeout_s: float) -> Iterator[Ended[T]]:
        """The tasks that ended, waiting for the first of them, or of those that are late, at most as long as given."""
        now = time.monotonic()
        left_s = [worker.began + worker.seconds_max - now for _, worker in self.under_way()]
        for pipe in wait(self.pipes, max(0.0, min(timeout_s, *left_s)) if left_s else timeout_s):
            ended = self._read(pipe)
            if ended is not None:
                yield ended
        for ticket, worker in self.under_way():
            if time.monotonic() - worker.began > worker.seconds_max:
                yield self.give_up(
                    ticket, worker, f"it took longer than {worker.seconds_max:g} s and was given up"
                )

    def give_up(self, ticket: T, worker: Worker, why: str) -> Ended[T]:
        """Kill the worker of a task under way; what comes of the task is that it was lost."""
        del self._busy[worker.pipe]
        worker.end()
        return Ended(ticket=ticket, seconds=time.monotonic() - worker.began, lost=why)

    def _read(self, pipe: Any) -> Ended[T] | None:
        """What a worker says: a note, or the end of its task, be it that of the worker as well."""
        worker, ticket = self._busy[pipe]
        try:
            word, value = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(ENDING_S)  # its pipe is closed before it is gone, and how it ends is news
            gone = self.give_up(ticket, worker, "")
            return msgspec.structs.replace(gone, lost=worker.last_words(), stillborn=not worker.has_begun)
        except Exception as error:  # noqa: BLE001 - such as after an upgrade under a running campaign
            return self.give_up(
                ticket, worker, f"what its process answered cannot be understood: {describe(error)}"
            )
        if word == BEGUN:
            worker.has_begun = True
            worker.began = time.monotonic()  # what it imported until now is no part of the task
            return None
        if word == NOTE:
            worker.note = value
            return None
        del self._busy[pipe]
        self._idle.append(worker)
        return Ended(ticket=ticket, seconds=time.monotonic() - worker.began, result=value)


def die_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when the thread that started it ends; only Linux does so."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, int(number))


def _serve(
    pipe: Connection[Any, Any], said: Connection[Any, Any], work: Work, niceness: int, parent: int
) -> None:
    """Do tasks until the other end of the pipe is gone, be it closed or killed: nothing is left behind then."""
    os.setsid()  # the signals of a terminal go to who leads
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        return  # it ended before that was set
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(said.fileno(), 1)  # what plug-ins print must not reach the terminal, nor a document on stdout
    os.dup2(said.fileno(), 2)
    said.close()
    os.nice(niceness)
    with contextlib.suppress(EOFError, OSError):
        while True:
            task = pipe.recv()
            pipe.send((BEGUN, None))
            pipe.send((DONE, work(task, lambda value: pipe.send((NOTE, value)))))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
