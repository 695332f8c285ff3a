"""A background task of a lock's client that renews what the client holds, as Redisson's lock watchdog does.

It renews at a third of the time to live and lets the client believe that it holds its locks until it releases them.
That is a convenience, and no safety: when no renewal gets through for a whole time to live, or the client stands
still that long, the lock is somebody else's and nobody tells the client (Redisson's documentation speaks of the
``lockWatchdogTimeout`` as the bound after which a dead client's lock is released).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from foreshock.harness.errors import OperationError
from foreshock.harness.runtime import Runtime, Task
from foreshock.harness.services import Key

_MS = 1_000_000


class Watchdog:
    """Calls ``renew(key, owner)`` every third of ``ttl_ms`` for every lock that is watched.

    ``renew`` says whether the lock is still the owner's; one that is not is watched no more. What it raises is a
    renewal that may not have happened: the next one is due a third later.
    """

    def __init__(
        self, runtime: Runtime, renew: Callable[[Key, str], Awaitable[bool]], *, ttl_ms: int, name: str
    ) -> None:
        self._runtime = runtime
        self._renew = renew
        self._interval_ns = ttl_ms * _MS // 3
        self._name = name
        self._watched: dict[Key, str] = {}
        self._task: Task[None] | None = None
        self.failures = 0
        """How many renewals got no answer."""

    def watch(self, key: Key, owner: str) -> None:
        """Renew this lock from now on."""
        self._watched[key] = owner
        if self._task is None or self._task.done():
            self._task = self._runtime.spawn(self._run(), name=f"watchdog of {self._name}")

    def forget(self, key: Key) -> None:
        """Renew it no more; one that is not watched is no error."""
        self._watched.pop(key, None)

    def stop(self) -> None:
        """Renew nothing any more; idempotent."""
        self._watched.clear()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while self._watched:
            await self._runtime.sleep(self._interval_ns)
            for key, owner in list(self._watched.items()):
                if self._watched.get(key) != owner:  # released meanwhile
                    continue
                try:
                    is_ours = await self._renew(key, owner)
                except OperationError:
                    self.failures += 1
                    continue
                if not is_ours and self._watched.get(key) == owner:
                    del self._watched[key]
