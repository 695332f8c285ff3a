"""Virtual time and the coroutines that live in it.

A heap of ``(time, sequence, function, first, second)`` tuples is all there is: whatever happens in the simulator
is a call ``function(first, second)`` at an integer number of nanoseconds, ties broken by the order in which the
calls were made. What is to happen *now* goes through a queue that is emptied before time moves on.

Coroutines are resumed by such calls too. A coroutine that suspends has a *ticket*; whoever wakes it presents that
ticket, and a wake-up with an old ticket does nothing. So nothing ever has to be taken out of the heap.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from heapq import heappop, heappush
from itertools import count
from pathlib import PurePath
from typing import Any, Final, Generic, TypeVar, cast

from foreshock.harness.errors import HarnessError
from foreshock.harness.runtime import Cancelled

T = TypeVar("T")
Action = Callable[[Any, Any], None]

CHUNK_EVENTS: Final = 4096
"""Limits and interruptions are looked at once in so many events."""

SHUTDOWN_EVENTS_MAX: Final = 1_000_000
"""How much may still happen while cancelled coroutines clean up after themselves."""


@types.coroutine
def suspend() -> Generator[None, Any, Any]:
    """Wait until somebody calls the current task's ``resume``; returns the value that it was given."""
    return (yield)


class RunEnds(BaseException):
    """Leaves the event loop: the main task has ended, or a task that nobody waits for has failed."""


class SimTask(Generic[T]):
    """A coroutine of the simulator."""

    __slots__ = (
        "_cancel_queued",
        "_cancel_self",
        "_coroutine",
        "_done",
        "_error",
        "_result",
        "_scheduler",
        "_send",
        "_waiters",
        "cancellations",
        "name",
        "ticket",
    )

    def __init__(self, scheduler: Scheduler, coroutine: Coroutine[Any, Any, T], name: str) -> None:
        self.name = name
        self.ticket = 0
        self.cancellations = 0
        """How often it has been asked to stop, by anybody but a time-out of its own."""
        self._scheduler = scheduler
        self._coroutine = coroutine
        self._send = coroutine.send
        self._done = False
        self._result: T | None = None
        self._error: BaseException | None = None
        self._waiters: list[tuple[SimTask[Any], int]] = []
        self._cancel_queued = False
        self._cancel_self = False

    def resume(self, ticket: int, value: Any) -> None:
        """Go on with the coroutine, unless the ticket is an old one."""
        if ticket != self.ticket:
            return
        self.ticket = ticket + 1
        self._scheduler.current = self
        try:
            self._send(value)
        except StopIteration as stop:
            self._end(stop.value, None)
        except BaseException as error:  # noqa: BLE001 - kept for whoever waits, or ends the run
            self._end(None, error)
        else:
            if self._cancel_self:
                self._queue_cancel()

    def throw(self, ticket: int, error: BaseException) -> None:
        """Raise the error inside the coroutine where it is suspended, unless the ticket is an old one."""
        if ticket != self.ticket or self._done:
            return
        self.ticket = ticket + 1
        self._cancel_queued = False
        self._scheduler.current = self
        try:
            self._coroutine.throw(error)
        except StopIteration as stop:
            self._end(stop.value, None)
        except BaseException as raised:  # noqa: BLE001 - kept for whoever waits, or ends the run
            self._end(None, raised)
        else:
            if self._cancel_self:
                self._queue_cancel()

    def cancel(self) -> None:
        """Ask the coroutine to stop: :class:`Cancelled` is raised at its present (or next) await."""
        if self._done or self._cancel_queued:
            return
        # Not ``scheduler.current``: that is still the task which ran last when a world's event or a signal cancels it.
        if cast("types.CoroutineType[Any, Any, T]", self._coroutine).cr_running:
            self._cancel_self = True
        else:
            self._queue_cancel()

    def done(self) -> bool:
        """Whether the coroutine has ended, in whatever way."""
        return self._done

    def succeeded(self) -> bool:
        """Whether the coroutine has ended without an exception."""
        return self._done and self._error is None

    async def wait(self) -> T:
        """The coroutine's result; re-raises its exception, or :class:`Cancelled` when it was cancelled.

        Cancelling the one who waits does not cancel the one who is waited for.
        """
        scheduler = self._scheduler
        while not self._done:
            task = scheduler.current
            entry = (task, task.ticket)
            self._waiters.append(entry)
            try:
                await suspend()
            except BaseException:
                if entry in self._waiters:
                    self._waiters.remove(entry)
                raise
        return self.outcome()

    def outcome(self) -> T:
        """The result or the exception of a task that has ended."""
        if self._error is None:
            return self._result  # type: ignore[return-value]  # T itself may be None
        if isinstance(self._error, Cancelled):
            raise Cancelled
        raise self._error

    def where(self) -> str:
        """Where the coroutine waits, for messages: the innermost place that is not the simulator's own."""
        place = "has not started yet"
        started = False
        awaited: Any = self._coroutine
        while awaited is not None:
            frame = getattr(awaited, "cr_frame", None)
            if frame is None:
                break
            path = PurePath(frame.f_code.co_filename)
            own = path.parent == PurePath(__file__).parent
            if frame.f_lasti >= 0 and not (own and started):
                started = True
                place = f"waits in {frame.f_code.co_qualname}, {path.name}:{frame.f_lineno}"
            awaited = awaited.cr_await
        return f"{self.name!r} {place}"

    def _queue_cancel(self) -> None:
        self._cancel_self = False
        self._cancel_queued = True
        self.cancellations += 1
        self.ticket += 1
        self._scheduler.ready.append((self.throw, self.ticket, Cancelled()))

    def _end(self, result: T | None, error: BaseException | None) -> None:
        self._done = True
        self._result, self._error = result, error
        scheduler = self._scheduler
        scheduler.tasks.pop(self, None)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error
        for task, ticket in self._waiters:
            scheduler.ready.append((task.resume, ticket, None))
        if scheduler.main is self:
            raise RunEnds
        awaited = any(task.ticket == ticket for task, ticket in self._waiters)
        if error is not None and not awaited and not isinstance(error, Cancelled):
            error.add_note(f"raised in the task {self.name!r}, for which nobody waited")
            scheduler.failures.append(error)
            raise RunEnds


class Scheduler:
    """The heap of events, the present instant, and the loop over them."""

    __slots__ = (
        "current",
        "events",
        "events_max",
        "failures",
        "heap",
        "interrupted",
        "main",
        "now",
        "ready",
        "sequence",
        "tasks",
        "time_max_ns",
    )

    def __init__(self, *, events_max: int, time_max_ns: int) -> None:
        self.now = 0
        self.events = 0
        """How many events have been; brought up to date every few thousand events and at the end of a run."""
        self.events_max = events_max
        self.time_max_ns = time_max_ns
        self.heap: list[tuple[int, int, Action, Any, Any]] = []
        self.ready: deque[tuple[Action, Any, Any]] = deque()
        self.sequence: Callable[[], int] = count().__next__
        self.current: SimTask[Any] = None  # type: ignore[assignment]  # only coroutines ask for it
        self.main: SimTask[Any] | None = None
        self.tasks: dict[SimTask[Any], None] = {}
        self.failures: list[BaseException] = []
        self.interrupted: Callable[[], None] | None = None
        """Called between chunks of events, where interruptions are noticed."""

    def after(self, delay_ns: int, function: Action, first: Any, second: Any) -> None:
        """Let ``function(first, second)`` happen after the delay."""
        heappush(self.heap, (self.now + delay_ns, self.sequence(), function, first, second))

    def soon(self, function: Action, first: Any, second: Any) -> None:
        """Let ``function(first, second)`` happen now, after all that is already to happen now."""
        self.ready.append((function, first, second))

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> SimTask[T]:
        """A new task that starts now."""
        task = SimTask(self, coroutine, name)
        self.tasks[task] = None
        self.ready.append((task.resume, 0, None))
        return task

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, then cancel every other one; returns its result or raises its exception."""
        if self.main is not None:
            coroutine.close()
            raise HarnessError("the simulator is already running; await the coroutine instead")
        main = self.main = self.spawn(coroutine, "main")
        self.failures.clear()
        try:
            self._drive()
        except RunEnds:
            pass
        except BaseException:
            self._cancel_all()
            raise
        failed_before_the_end = bool(self.failures)
        self._cancel_all()
        if self.failures and (failed_before_the_end or main.succeeded()):
            raise self.failures[0]
        return cast("T", main.outcome())

    def waiting(self, limit: int = 12) -> str:
        """Who waits for what, in a few words, for the messages of errors."""
        tasks = list(self.tasks)
        places = "; ".join(task.where() for task in tasks[:limit])
        return f"{places}; and {len(tasks) - limit} more" if len(tasks) > limit else places

    def _drive(self) -> None:
        heap, ready, take, pop = self.heap, self.ready, self.ready.popleft, heappop
        done = 0
        try:
            while True:
                for done in range(1, CHUNK_EVENTS + 1):  # noqa: B007 - read when the loop is left
                    if ready:
                        function, first, second = take()
                    elif heap:
                        self.now, _, function, first, second = pop(heap)
                    else:
                        raise HarnessError(f"deadlock in the simulation at {self.now} ns: {self.waiting()}")
                    function(first, second)
                self.events += CHUNK_EVENTS
                done = 0
                self._look_up()
        finally:
            self.events += done

    def _look_up(self) -> None:
        if self.interrupted is not None:
            self.interrupted()
        if self.events >= self.events_max:
            raise HarnessError(
                f"the simulation reached its limit of {self.events_max} events at {self.now} ns: {self.waiting()}"
            )
        if self.now > self.time_max_ns:
            raise HarnessError(
                f"the simulation passed its limit of {self.time_max_ns} ns of virtual time: {self.waiting()}"
            )

    def _cancel_all(self) -> None:
        self.main = None
        for task in list(self.tasks):
            task.cancel()
        for _ in range(SHUTDOWN_EVENTS_MAX):
            if not self.tasks:
                return
            if self.ready:
                function, first, second = self.ready.popleft()
            elif self.heap:
                self.now, _sequence, function, first, second = heappop(self.heap)
            else:
                break
            self.events += 1
            try:
                function(first, second)
            except RunEnds:
                continue  # the failure is kept; the others still have to be stopped
        if self.tasks:
            stuck = HarnessError(f"these did not stop when they were cancelled: {self.waiting()}")
            self.tasks.clear()
            self.failures.append(stuck)
