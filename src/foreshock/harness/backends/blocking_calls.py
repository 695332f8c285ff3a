"""Blocking calls of client libraries, made in threads and awaited by the harness."""

from __future__ import annotations

import asyncio
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
        ended = threading.Event()
        self._in_flight = {other for other in self._in_flight if not other.is_set()} | {ended}
        future, _ = self._threads.begin(function, ended.set)
        return await future

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
