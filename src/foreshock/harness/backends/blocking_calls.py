"""Blocking calls of client libraries, made in threads and awaited by the harness."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from foreshock.harness.daemon_threads import DaemonThreads

T = TypeVar("T")


class BlockingCalls:
    """Runs blocking calls in threads, many at once, and remembers those whose caller no longer waits.

    A cancelled deployment must not leave anything that is made a moment after teardown looked.
    """

    def __init__(self, name: str, threads_max: int) -> None:
        self._name = name
        self._threads_max = threads_max
        self._threads = DaemonThreads(threads_max, name)
        self._in_flight: set[threading.Event] = set()

    async def call(self, function: Callable[[], T]) -> T:
        """The function's result, or its exception. Cancelled before it began, it never runs."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        ended = threading.Event()
        self._in_flight.add(ended)

        def work() -> T:
            if future.cancelled():
                raise asyncio.CancelledError
            return function()

        def settle(result: T, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def done(result: T, error: BaseException | None) -> None:
            ended.set()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, result, error)

        self._threads.submit(work, done)
        try:
            return await future
        finally:
            if ended.is_set():
                self._in_flight.discard(ended)

    async def all_ended(self, timeout_s: float) -> bool:
        """Wait until every call has ended, also those that were cancelled; false when the time is up."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while any(not ended.is_set() for ended in self._in_flight):
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(0.02)
        self._in_flight.clear()
        return True

    def close(self) -> None:
        """Let the threads end; a later call starts others."""
        self._threads.close()
        self._threads = DaemonThreads(self._threads_max, self._name)
