"""The runtime on the wall clock: asyncio (on uvloop where present), real sockets, threads for blocking calls."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Final, Generic, TypeVar, cast

from foreshock.harness.asyncio_channel import AsyncioChannel, take_first
from foreshock.harness.asyncio_connection import JsonLines
from foreshock.harness.daemon_threads import DaemonThreads
from foreshock.harness.errors import HarnessError
from foreshock.harness.interrupts import interrupt_signals
from foreshock.harness.randomness import RandomStream
from foreshock.harness.runtime import (
    Address,
    Channel,
    Connection,
    ConnectionClosed,
    ConnectionRefused,
    TimeoutExpired,
)

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:  # no uvloop on this platform: asyncio's own loop does the same, slower
    from asyncio import new_event_loop

T = TypeVar("T")

THREADS_MAX: Final = 64
SHUTDOWN_SECONDS_MAX: Final = 10

logger = logging.getLogger("foreshock")


class AsyncioTask(Generic[T]):
    """A spawned coroutine; remembers whether anybody waits for it."""

    __slots__ = ("_fail", "_task", "_waiters")

    def __init__(self, task: asyncio.Task[T], fail: Callable[[BaseException], None]) -> None:
        self._task = task
        self._fail = fail
        self._waiters = 0
        task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """Ask it to stop at its next await; idempotent."""
        self._task.cancel()

    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._task.done()

    async def wait(self) -> T:
        """Its result; re-raises its exception, or ``CancelledError``. Cancelling the waiter leaves it running."""
        if not self._task.done():
            self._waiters += 1
            try:
                await asyncio.wait((self._task,))
            except BaseException:
                self._waiters -= 1
                if self._task.done():
                    self._ended(self._task)  # it counted on being waited for
                raise
            self._waiters -= 1
        return self._task.result()

    def _ended(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self._waiters:
            error.add_note(f"raised in the task {task.get_name()!r}, for which nobody waited")
            self._fail(error)


class AsyncioRuntime:
    """Implements :class:`foreshock.harness.runtime.Runtime` on asyncio; only the named streams come from the seed.

    ``clock_ns`` and ``new_loop`` are there for whoever needs another clock than the machine's: a rehearsal.
    """

    simulated = False

    def __init__(
        self,
        seed: int,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        new_loop: Callable[[], asyncio.AbstractEventLoop] = new_event_loop,
    ) -> None:
        self.seed = seed
        self._clock_ns = clock_ns
        self._new_loop = new_loop
        self._start_ns = clock_ns()
        self._streams: dict[str, RandomStream] = {}
        self._loop: asyncio.AbstractEventLoop = cast("asyncio.AbstractEventLoop", None)
        self._main: asyncio.Task[Any] | None = None
        self._failures: list[BaseException] = []
        self._connections: dict[JsonLines, None] = {}
        self._servers: dict[asyncio.Server, None] = {}
        self._threads: DaemonThreads | None = None
        self._told_of_threads = False
        self._callbacks: list[Callable[[], None]] = []
        self._handlers: dict[signal.Signals, Any] = {}

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, then cancel all others; returns its result or raises its exception.

        Also raises the exception of a task that nobody waited for.
        """
        if self._main is not None:
            coroutine.close()
            raise HarnessError("the runtime is already running; await the coroutine instead")
        self._loop = loop = self._new_loop()
        self._failures.clear()
        main: asyncio.Task[T] = loop.create_task(coroutine, name="main")
        self._main = main
        try:
            if self._callbacks:
                self._catch_signals()
            loop.run_until_complete(asyncio.wait((main,)))
            failed_before_the_end = bool(self._failures)
        finally:
            if main.done() and not main.cancelled():
                main.exception()  # whoever called has it: asyncio need not tell that nobody asked for it
            try:
                self._stop()
            finally:
                self._main = None
                loop.close()
                self._release_signals()
        succeeded = not main.cancelled() and main.exception() is None
        if self._failures and (succeeded or failed_before_the_end):
            raise self._failures[0]
        return main.result()

    def on_interrupt(self, callback: Callable[[], None]) -> None:
        """Call back, in the loop's thread, for each signal that interrupts and comes while :meth:`run` runs."""
        self._callbacks.append(callback)
        if self._main is not None:
            self._catch_signals()

    def now(self) -> int:
        """Nanoseconds since the runtime was made, monotonic."""
        return self._clock_ns() - self._start_ns

    async def sleep(self, duration_ns: int) -> None:
        """Let the given time pass, never less; zero yields to the other coroutines."""
        if duration_ns <= 0:
            await _yield_once()
            return
        deadline_ns = self._clock_ns() + duration_ns
        while duration_ns > 0:
            await asyncio.sleep(_seconds(duration_ns))
            duration_ns = deadline_ns - self._clock_ns()

    def spawn(self, coroutine: Coroutine[Any, Any, T], *, name: str) -> AsyncioTask[T]:
        """Start a coroutine beside this one. One that fails while nobody waits for it ends the run."""
        return AsyncioTask(self._loop.create_task(coroutine, name=name), self._fail)

    def channel(self, capacity: int) -> AsyncioChannel[Any]:
        """A new channel of at most ``capacity`` items."""
        return AsyncioChannel(capacity)

    async def timeout(self, awaitable: Coroutine[Any, Any, T], duration_ns: int) -> T:
        """Await with a bound; cancels it and raises :class:`TimeoutExpired` when the bound passes first."""
        task = asyncio.current_task()
        if task is None:
            raise HarnessError("timeout() is for coroutines of the runtime only")
        cancelling = task.cancelling()
        expired = False
        handle: asyncio.TimerHandle
        deadline_ns = self._clock_ns() + duration_ns

        def ring() -> None:
            nonlocal expired, handle
            # The loop counts from when it last woke up, so it may ring a little early.
            if (rest_ns := deadline_ns - self._clock_ns()) > 0:
                handle = self._loop.call_later(_seconds(rest_ns), ring)
                return
            expired = True
            task.cancel()

        handle = self._loop.call_later(_seconds(duration_ns), ring)
        try:
            result = await awaitable
        except asyncio.CancelledError:
            if expired and task.uncancel() <= cancelling:
                raise TimeoutExpired(f"not done within {duration_ns} ns") from None
            raise
        except BaseException:
            if expired:
                task.uncancel()
            raise
        finally:
            handle.cancel()
        if expired:
            task.uncancel()
        return result

    async def select(
        self, channels: list[Channel[Any]], duration_ns: int | None = None
    ) -> tuple[int, Any] | None:
        """The index of the first channel with an item, and the item; ``None`` when the time is up."""
        queues = cast("list[AsyncioChannel[Any]]", channels)
        found = take_first(queues)
        deadline_ns = None if duration_ns is None else self._clock_ns() + duration_ns
        woken = True
        while found is None and woken:
            future: asyncio.Future[bool] = self._loop.create_future()
            for queue in queues:
                queue.waiters[future] = None
            handle = None if deadline_ns is None else self._ring_at(future, deadline_ns)
            try:
                woken = await future
                found = take_first(queues)
            finally:
                if handle is not None:
                    handle.cancel()
                for queue in queues:
                    queue.leave(future)
            if not woken and deadline_ns is not None and self._clock_ns() < deadline_ns:
                woken = True  # the loop's timers have whole milliseconds and may ring early
        return found

    async def connect(self, address: Address) -> Connection:
        """Open a TCP connection; raises :class:`ConnectionRefused` whenever none was made. Bound it with a timeout."""
        try:
            _, connection = await self._loop.create_connection(self._protocol, address.host, address.port)
        except OSError as error:
            reason = error.strerror or error
            raise ConnectionRefused(f"no connection to {address.host}:{address.port}: {reason}") from error
        if connection.meets_itself():
            connection.abort()
            raise ConnectionRefused(f"no connection to {address.host}:{address.port}: nobody listens there")
        return connection

    async def listen(
        self, address: Address, serve: Callable[[Connection], Awaitable[None]]
    ) -> Callable[[], None]:
        """Serve TCP connections at an address; returns what closes the listener. ``HarnessError`` if it is taken."""

        def accepted(connection: JsonLines) -> None:
            self._connections[connection] = None
            self.spawn(_served(connection, serve), name=f"connection at {address.host}:{address.port}")

        def protocol() -> JsonLines:
            return JsonLines(self._loop, accepted, self._forget)

        try:
            server = await self._loop.create_server(protocol, address.host, address.port)
        except OSError as error:
            raise HarnessError(
                f"cannot listen on {address.host}:{address.port}: {error.strerror or error}"
            ) from error
        self._servers[server] = None

        def close() -> None:
            self._servers.pop(server, None)
            server.close()

        return close

    def random(self, name: str) -> RandomStream:
        """The named stream of seeded randomness; the same name gives the same stream."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = RandomStream(self.seed, name)
        return stream

    async def call(self, function: Callable[[], T]) -> T:
        """Run a blocking function in a thread, one of 64 at most.

        Cancelling leaves the thread to itself; a function that still waited for a thread is then never called.
        """
        if self._threads is None:
            self._threads = DaemonThreads(THREADS_MAX, "blocking call")
        future, has_thread = self._threads.begin(function)
        if not has_thread and not self._told_of_threads:
            self._told_of_threads = True
            logger.warning(
                "%d blocking calls are under way at once and further ones wait: give the client's library a "
                "time-out, use fewer processes, or make the client's methods async",
                THREADS_MAX,
            )
        return await future

    def _protocol(self) -> JsonLines:
        return JsonLines(self._loop, self._remember, self._forget)

    def _remember(self, connection: JsonLines) -> None:
        self._connections[connection] = None

    def _forget(self, connection: JsonLines) -> None:
        self._connections.pop(connection, None)

    def _fail(self, error: BaseException) -> None:
        self._failures.append(error)
        if self._main is not None:
            self._main.cancel()

    def _ring_at(self, future: asyncio.Future[bool], deadline_ns: int) -> asyncio.TimerHandle:
        def ring() -> None:
            if not future.done():
                future.set_result(False)

        return self._loop.call_later(_seconds(max(deadline_ns - self._clock_ns(), 0)), ring)

    def _stop(self) -> None:
        """Cancel what still runs and close what is still open, within a bound."""
        loop = self._loop
        for server in list(self._servers):
            server.close()
        self._servers.clear()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            _, late = loop.run_until_complete(asyncio.wait(tasks, timeout=SHUTDOWN_SECONDS_MAX))
            if late:
                names = ", ".join(sorted(task.get_name() for task in late))
                self._failures.append(HarnessError(f"these did not stop when they were cancelled: {names}"))
        for connection in list(self._connections):
            connection.abort()
        self._connections.clear()
        if self._threads is not None:
            self._threads.close()
            self._threads = None
        loop.run_until_complete(loop.shutdown_asyncgens())

    def _catch_signals(self) -> None:
        if self._handlers or threading.current_thread() is not threading.main_thread():
            return
        self._handlers = {number: signal.getsignal(number) for number in interrupt_signals()}
        for number in self._handlers:
            self._loop.add_signal_handler(number, self._interrupted)

    def _release_signals(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _interrupted(self) -> None:
        for callback in self._callbacks:
            callback()


@types.coroutine
def _yield_once() -> Generator[None, None, None]:
    yield


def _seconds(duration_ns: int) -> float:
    """Whole milliseconds, rounded up: uvloop's timers have no finer grain and would round down."""
    return (duration_ns + 999_999) // 1_000_000 / 1000


async def _served(connection: JsonLines, serve: Callable[[Connection], Awaitable[None]]) -> None:
    try:
        with contextlib.suppress(ConnectionClosed):  # the usual end of a conversation
            await serve(connection)
    finally:
        connection.close()
