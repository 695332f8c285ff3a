"""A bounded pool of threads for blocking calls that may never return.

The threads are daemons: a client library that hangs for ever cannot keep the harness from ending, which
``concurrent.futures`` would, since it joins its threads when the interpreter exits.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
Done = Callable[[Any, BaseException | None], None]


class DaemonThreads:
    """At most ``limit`` threads, started as they are needed; calls past that wait for a free one."""

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._calls: SimpleQueue[tuple[Callable[[], Any], Done] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._waiting = 0

    def submit(self, function: Callable[[], Any], done: Done) -> bool:
        """Call ``function`` in a thread, and then, in the same thread, ``done(result, error)``.

        Returns whether there is a thread for it; when all are busy, and no more may be started, it waits.
        """
        self._calls.put((function, done))
        with self._lock:
            self._waiting += 1
            if self._waiting <= self._idle:
                return True
            if self._threads == self._limit:
                return False
            self._threads += 1
        threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return True

    def begin(
        self, function: Callable[[], T], ended: Callable[[], object] = lambda: None
    ) -> tuple[asyncio.Future[T], bool]:
        """Call ``function`` for the loop that runs: its future, and whether there is a thread for it already.

        Cancelled before it began, it is never called; later it is left to itself. ``ended`` is called in the thread
        when there is nothing more to come, whoever still waits.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def unless_given_up() -> T:
            if future.cancelled():
                raise asyncio.CancelledError
            return function()

        def settle(result: T, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            elif isinstance(error, StopIteration):
                future.set_exception(RuntimeError(f"the call raised {error!r}"))
            else:
                future.set_exception(error)

        def done(result: T, error: BaseException | None) -> None:
            ended()
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(settle, result, error)

        return future, self.submit(unless_given_up, done)

    def close(self) -> None:
        """Let the threads end once they have nothing to do; does not wait for them."""
        with self._lock:
            for _ in range(self._threads):
                self._calls.put(None)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            call = self._calls.get()
            with self._lock:
                self._idle -= 1
                if call is None:
                    self._threads -= 1
                    return
                self._waiting -= 1
            function, done = call
            result, raised = None, None
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - handed to whoever made the call
                raised = error
            done(result, raised)
