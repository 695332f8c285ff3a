"""The runtime in virtual time: one seed and one program give one course of events, on any machine."""

from __future__ import annotations

import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine
from heapq import heappush
from types import FrameType
from typing import Any, Final, TypeVar, cast

from foreshock.harness.interrupts import interrupt_signals
from foreshock.harness.randomness import RandomStream
from foreshock.harness.runtime import Address, Cancelled, Channel, Connection, TimeoutExpired
from foreshock.harness.simulation.channel import SimChannel, select
from foreshock.harness.simulation.knobs import SECOND, SimKnobs
from foreshock.harness.simulation.scheduler import Scheduler, SimTask, suspend
from foreshock.harness.simulation.world import SimWorld

T = TypeVar("T")

EVENTS_MAX: Final = 1_000_000_000
TIME_MAX_NS: Final = 30 * 24 * 3600 * SECOND


class SimRuntime:
    """Implements :class:`foreshock.harness.runtime.Runtime` in virtual time, over a :class:`SimWorld`.

    ``knobs`` are drawn from the seed when they are not given. A run that passes ``events_max`` events or
    ``time_max_ns`` of virtual time ends with a ``HarnessError`` that says who waits for what.
    """

    simulated = True

    def __init__(
        self,
        seed: int,
        knobs: SimKnobs | None = None,
        *,
        events_max: int = EVENTS_MAX,
        time_max_ns: int = TIME_MAX_NS,
    ) -> None:
        self.seed = seed
        self._streams: dict[str, RandomStream] = {}
        self.knobs = SimKnobs.draw(self.random("simulation/knobs")) if knobs is None else knobs
        self._scheduler = Scheduler(events_max=events_max, time_max_ns=time_max_ns)
        self.world = SimWorld(
            self._scheduler, self.knobs, lambda name: self.random(f"simulation/{name}"), self.spawn
        )
        self._callbacks: list[Callable[[], None]] = []
        self._handlers: dict[signal.Signals, Any] = {}
        self._signals_caught = 0
        self._running = False

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, then cancel all others; returns its result or raises its exception.

        Also raises the exception of a task that nobody waited for, and ``HarnessError`` on a deadlock.
        """
        if self._running:
            return self._scheduler.run(coroutine)  # which refuses; this run keeps its signal handlers
        self._running = True
        if self._callbacks:
            self._catch_signals()
        try:
            return self._scheduler.run(coroutine)
        finally:
            self._running = False
            self._release_signals()

    def on_interrupt(self, callback: Callable[[], None]) -> None:
        """Call back, between two events, for each signal that interrupts and comes while :meth:`run` runs."""
        self._callbacks.append(callback)
        if self._running:
            self._catch_signals()

    def now(self) -> int:
        """Virtual nanoseconds since the start."""
        return self._scheduler.now

    async def sleep(self, duration_ns: int) -> None:
        """Let virtual time pass; zero yields to what else is to happen now."""
        scheduler = self._scheduler
        task = scheduler.current
        if duration_ns > 0:
            heappush(
                scheduler.heap,
                (scheduler.now + duration_ns, scheduler.sequence(), task.resume, task.ticket, None),
            )
        else:
            scheduler.ready.append((task.resume, task.ticket, None))
        await suspend()

    def spawn(self, coroutine: Coroutine[Any, Any, T], *, name: str) -> SimTask[T]:
        """Start a coroutine beside this one. One that fails while nobody waits for it ends the run."""
        return self._scheduler.spawn(coroutine, name)

    def channel(self, capacity: int) -> SimChannel[Any]:
        """A new channel of at most ``capacity`` items."""
        return SimChannel(self._scheduler, capacity)

    async def timeout(self, awaitable: Coroutine[Any, Any, T], duration_ns: int) -> T:
        """Await with a bound; cancels it and raises :class:`TimeoutExpired` when the bound passes first."""
        scheduler = self._scheduler
        task = scheduler.current
        cancellations = task.cancellations
        expiry = Cancelled()
        alarm: list[SimTask[Any] | None] = [task]
        heappush(
            scheduler.heap,
            (scheduler.now + max(duration_ns, 0), scheduler.sequence(), _ring, alarm, expiry),
        )
        try:
            return await awaitable
        except Cancelled as cancelled:
            # A task that was cancelled, too, must not go on only because its clean-up outlasted the bound.
            if cancelled is expiry and task.cancellations == cancellations:
                raise TimeoutExpired(f"not done within {duration_ns} ns") from None
            raise
        finally:
            alarm[0] = None
            expiry.outdated = True

    async def select(
        self, channels: list[Channel[Any]], duration_ns: int | None = None
    ) -> tuple[int, Any] | None:
        """The index of the first channel with an item, and the item; ``None`` when the time is up."""
        return await select(self._scheduler, cast("list[SimChannel[Any]]", channels), duration_ns)

    async def connect(self, address: Address) -> Connection:
        """Open a connection to a node (its host is the node's name) or to a listener of the harness."""
        return await self.world.connect(address)

    async def listen(
        self, address: Address, serve: Callable[[Connection], Awaitable[None]]
    ) -> Callable[[], None]:
        """Serve connections at an address that is no node's; returns what closes the listener."""
        return self.world.listen(address, serve)

    def random(self, name: str) -> RandomStream:
        """The named stream of seeded randomness; the same name gives the same stream."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = RandomStream(self.seed, name)
        return stream

    async def call(self, function: Callable[[], T]) -> T:
        """Run a blocking function; here it takes no time at all."""
        return function()

    def _catch_signals(self) -> None:
        if self._handlers or threading.current_thread() is not threading.main_thread():
            return
        self._handlers = {number: signal.signal(number, self._caught) for number in interrupt_signals()}
        self._scheduler.interrupted = self._interrupted

    def _release_signals(self) -> None:
        self._scheduler.interrupted = None
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _caught(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a signal handler
        self._signals_caught += 1

    def _interrupted(self) -> None:
        while self._signals_caught:
            self._signals_caught -= 1
            for callback in self._callbacks:
                callback()


def _ring(alarm: list[SimTask[Any] | None], expiry: Cancelled) -> None:
    task = alarm[0]
    if task is not None:
        task.throw(task.ticket, expiry)
