"""Clients that stand still: the gate between a process of the harness and the world.

A client that a garbage collector or a suspended machine stops between the moment when it checks its lease and the
moment when it uses it is the classic enemy of locks (Kleppmann 2016). It needs no help from a backend: the harness
holds back its own coroutines. Every coroutine of a process's client, those that the client spawned included, is driven
through :meth:`Stalls.held`: at each await it goes on only while the process does not stand still. So nothing of the
client moves, whatever it awaits, while the world around it, and its clock, go on. What happens to it meanwhile (an
answer, a time-out) reaches it afterwards, all at once, as after SIGCONT.

A blocking call that is under way in a thread cannot be held; its result is.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from typing import Any, TypeVar

from foreshock.harness.runtime import Address, Cancelled, Channel, Connection, Runtime, Task

T = TypeVar("T")


class _Gate:
    """Whether one process may move, and who waits until it may."""

    __slots__ = ("ends_ns", "shut_since_ns", "steps", "stood_ns", "waiters")

    def __init__(self) -> None:
        self.shut_since_ns: int | None = None
        self.ends_ns = 0
        self.stood_ns = 0
        self.steps = 0
        """How often a coroutine of the process has gone on."""
        self.waiters: dict[int, Channel[None]] = {}


class Stalls:
    """The gates of a test's processes; offers ``Stall``. A process that never stood still has an open one."""

    def __init__(self, runtime: Runtime, threads: int) -> None:
        self._runtime = runtime
        self._threads = threads
        self._gates: dict[int, _Gate] = {}
        self._newest: dict[int, int] = {}
        self._waits = 0

    # --- what the nemesis does ----------------------------------------------------------------------------------

    def processes(self) -> tuple[int, ...]:
        """The processes that have a client now, in order."""
        return tuple(sorted(self._newest.values()))

    def living(self, processes: frozenset[int]) -> frozenset[int]:
        """The processes that have a client now on the threads of these."""
        newest = (self._newest.get(process % self._threads) for process in sorted(processes))
        return frozenset(process for process in newest if process is not None)

    def stall(self, processes: frozenset[int], duration_ns: int) -> None:
        """Let the processes stand still from now on, until :meth:`release` or the time is up."""
        now_ns = self._runtime.now()
        ends_ns = now_ns + duration_ns
        for process in sorted(processes):
            gate = self._gate(process)
            gate.ends_ns = ends_ns
            if gate.shut_since_ns is None:
                gate.shut_since_ns = now_ns
        self._runtime.spawn(self._release_at(processes, ends_ns), name="the end of a stall")

    def release(self, processes: frozenset[int]) -> None:
        """Let the processes go on; one that does not stand still is no error."""
        for process in sorted(processes):
            gate = self._gate(process)
            if gate.shut_since_ns is None:
                continue
            gate.stood_ns += self._runtime.now() - gate.shut_since_ns
            gate.shut_since_ns = None
            waiters, gate.waiters = gate.waiters, {}
            for waiter in waiters.values():
                waiter.put(None)

    def release_all(self) -> None:
        """Let every process go on."""
        self.release(frozenset(self._gates))

    def stalled(self, processes: frozenset[int]) -> Mapping[int, bool]:
        """Whether each process is held back."""
        return {process: self._gate(process).shut_since_ns is not None for process in sorted(processes)}

    def steps(self, processes: frozenset[int]) -> Mapping[int, int]:
        """An independent observation: how often each process's coroutines have gone on so far."""
        return {process: self._gate(process).steps for process in sorted(processes)}

    # --- what the harness asks ----------------------------------------------------------------------------------

    def is_stalled(self, process: int) -> bool:
        """Whether the process stands still now."""
        gate = self._gates.get(process)
        return gate is not None and gate.shut_since_ns is not None

    def stood_still_ns(self, process: int) -> int:
        """For how long the process has stood still so far, all in all."""
        gate = self._gates.get(process)
        if gate is None:
            return 0
        under_way_ns = 0 if gate.shut_since_ns is None else self._runtime.now() - gate.shut_since_ns
        return gate.stood_ns + under_way_ns

    def runtime(self, process: int) -> Runtime:
        """The runtime that the process's client is to use, under which all that it spawns is held as well."""
        self._newest[process % self._threads] = process
        return StallableRuntime(self._runtime, self, process)

    async def held(self, process: int, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await the coroutine, which moves only while the process does not stand still."""
        return await _held(self, self._gate(process), coroutine)

    async def passage(self, gate: _Gate) -> None:
        """Wait until the gate opens."""
        self._waits += 1
        number, waiter = self._waits, self._runtime.channel(1)
        gate.waiters[number] = waiter
        try:
            await waiter.get()
        finally:
            gate.waiters.pop(number, None)

    async def pause(self) -> None:
        """Yield to the other coroutines."""
        await self._runtime.sleep(0)

    def _gate(self, process: int) -> _Gate:
        gate = self._gates.get(process)
        if gate is None:
            gate = self._gates[process] = _Gate()
        return gate

    async def _release_at(self, processes: frozenset[int], ends_ns: int) -> None:
        while (left_ns := ends_ns - self._runtime.now()) > 0:
            await self._runtime.sleep(left_ns)
        self.release(frozenset(p for p in processes if self._gate(p).ends_ns == ends_ns))


@types.coroutine
def _held(stalls: Stalls, gate: _Gate, coroutine: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Drive the coroutine by hand, one await after the other, and through the gate before each."""
    value: Any = None
    errors: list[BaseException] = []
    try:
        while True:
            while gate.shut_since_ns is not None:
                try:
                    yield from stalls.passage(gate).__await__()
                except (Cancelled, asyncio.CancelledError) as error:
                    _keep(errors, error)
            gate.steps += 1
            try:
                due = _next(errors)
                awaited = coroutine.send(value) if due is None else coroutine.throw(due)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            value = None
            try:
                if (
                    errors
                ):  # another one is due at this await; the coroutine's wait is over, so suspend once between
                    yield from stalls.pause().__await__()
                else:
                    value = yield awaited
            except (Cancelled, asyncio.CancelledError) as error:
                _keep(errors, error)
    finally:
        coroutine.close()


def _keep(errors: list[BaseException], error: BaseException) -> None:
    """Keep what is to be raised in the coroutine once it goes on.

    Each bound of the simulator raises an error of its own. asyncio counts how often a task was asked to stop, and
    raises one error for all.
    """
    if not errors or isinstance(error, Cancelled):
        errors.append(error)


def _next(errors: list[BaseException]) -> BaseException | None:
    """The next error that still means something: a bound inside another is gone when the outer one has ended it."""
    while errors:
        error = errors.pop(0)
        if not getattr(error, "outdated", False):
            return error
    return None


class StallableRuntime:
    """A :class:`foreshock.harness.runtime.Runtime` for the client of one process, whose coroutines can be held."""

    def __init__(self, runtime: Runtime, stalls: Stalls, process: int) -> None:
        self._stalls = stalls
        self._process = process
        self._runtime = runtime
        self.simulated = runtime.simulated
        self.now = runtime.now
        self.sleep = runtime.sleep
        self.channel = runtime.channel
        self.select = runtime.select
        self.connect = runtime.connect
        self.random = runtime.random

    def spawn(self, coroutine: Coroutine[Any, Any, T], *, name: str) -> Task[T]:
        """Start a coroutine beside this one, which stands still whenever the process does."""
        return self._runtime.spawn(self._stalls.held(self._process, coroutine), name=name)

    async def timeout(self, awaitable: Coroutine[Any, Any, T], duration_ns: int) -> T:
        """Await with a bound, which goes on while the process stands still, and is noticed afterwards."""
        return await self._runtime.timeout(awaitable, duration_ns)

    async def listen(
        self, address: Address, serve: Callable[[Connection], Awaitable[None]]
    ) -> Callable[[], None]:
        """Serve connections; what serves them stands still whenever the process does."""

        async def served(connection: Connection) -> None:
            await serve(connection)

        return await self._runtime.listen(address, lambda c: self._stalls.held(self._process, served(c)))

    async def call(self, function: Callable[[], T]) -> T:
        """Run a blocking function off the loop; a stall holds back its result, not the function."""
        return await self._runtime.call(function)
