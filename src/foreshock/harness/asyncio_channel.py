"""Bounded FIFO queues between coroutines on asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class AsyncioChannel(Generic[T]):
    """A bounded queue. An item goes to whoever takes it first; none is lost when a taker is cancelled."""

    __slots__ = ("_capacity", "items", "waiters")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.items: deque[T] = deque()
        self.waiters: dict[asyncio.Future[bool], None] = {}
        """Who waits, in order of arrival; a future becomes true when there is an item, false when time is up."""

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
            future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self.waiters[future] = None
            try:
                await future
            except BaseException:
                self.leave(future)
                raise
        return items.popleft()

    def __len__(self) -> int:
        """How many items wait."""
        return len(self.items)

    def wake(self) -> None:
        """Wake the first who waits; it looks for itself whether an item is left."""
        while self.waiters:
            future = next(iter(self.waiters))
            del self.waiters[future]
            if not future.done():
                future.set_result(True)
                return

    def leave(self, future: asyncio.Future[bool]) -> None:
        """It waits no longer; a wake-up that was meant for it goes to the next one."""
        if self.waiters.pop(future, self) is self and self.items and self.waiters:
            self.wake()


def take_first(queues: list[AsyncioChannel[Any]]) -> tuple[int, Any] | None:
    """The index of the first queue with an item, and the item, which is taken out of it."""
    for index, queue in enumerate(queues):
        if queue.items:
            return index, queue.items.popleft()
    return None
