"""Bounded FIFO queues between coroutines of the simulator."""

from __future__ import annotations

from collections import deque
from heapq import heappush
from typing import Any, Final, Generic, TypeVar

from foreshock.harness.simulation.scheduler import Scheduler, SimTask, suspend

T = TypeVar("T")

EXPIRED: Final = object()
"""What a coroutine is woken with when its time is up."""


class SimChannel(Generic[T]):
    """A queue with a limit. An item goes to whoever takes it first; none is lost when a taker is cancelled."""

    __slots__ = ("_capacity", "_scheduler", "items", "waiters")

    def __init__(self, scheduler: Scheduler, capacity: int) -> None:
        self._scheduler = scheduler
        self._capacity = capacity
        self.items: deque[T] = deque()
        self.waiters: dict[SimTask[Any], int] = {}
        """Who waits, in order of arrival, each with the ticket to wake it by."""

    def put(self, item: T) -> None:
        """Add an item without waiting; raises :class:`OverflowError` when the channel is full."""
        items = self.items
        if len(items) >= self._capacity:
            raise OverflowError(f"the channel is full: it holds {self._capacity} items")
        items.append(item)
        if self.waiters:
            self.wake()

    async def get(self) -> T:
        """The next item, waiting for one."""
        items = self.items
        while not items:
            task = self._scheduler.current
            self.waiters[task] = task.ticket
            try:
                await suspend()
            except BaseException:
                self.leave(task)
                raise
        return items.popleft()

    def __len__(self) -> int:
        """How many items wait."""
        return len(self.items)

    def wake(self) -> None:
        """Wake the first who waits; it looks for itself whether an item is left."""
        task = next(iter(self.waiters))
        self._scheduler.ready.append((task.resume, self.waiters.pop(task), None))

    def leave(self, task: SimTask[Any]) -> None:
        """The task waits no longer; a wake-up that was meant for it goes to the next one."""
        if self.waiters.pop(task, None) is None and self.items and self.waiters:
            self.wake()


async def select(
    scheduler: Scheduler, channels: list[SimChannel[Any]], duration_ns: int | None
) -> tuple[int, Any] | None:
    """The index of the first channel with an item, and the item; ``None`` when the time is up."""
    found = _take(channels)
    deadline_ns = None if duration_ns is None else scheduler.now + max(duration_ns, 0)
    task = scheduler.current
    woken: object = None
    while found is None and woken is not EXPIRED:
        ticket = task.ticket
        for channel in channels:
            channel.waiters[task] = ticket
        if deadline_ns is not None:
            heappush(scheduler.heap, (deadline_ns, scheduler.sequence(), task.resume, ticket, EXPIRED))
        try:
            woken = await suspend()
            found = _take(channels)
        finally:
            for channel in channels:
                channel.leave(task)
    return found


def _take(channels: list[SimChannel[Any]]) -> tuple[int, Any] | None:
    for index, channel in enumerate(channels):
        if channel.items:
            return index, channel.items.popleft()
    return None
