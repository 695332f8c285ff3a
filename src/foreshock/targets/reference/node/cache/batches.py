"""What real databases have in common: jobs wait for the shell's syncing thread, which does all that have come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Protocol

from foreshock.targets.reference.node.cache.database import Done, Job


class SyncingFiles(Protocol):
    """The part of a node's files that a database needs (``disk.DirectoryFiles``)."""

    def at_next_sync(self, work: Callable[[], None]) -> None:
        """Have work done by the next sync, in its thread, before it is reported."""


class BatchDatabase(ABC):
    """Jobs that have come since the last sync are one transaction of the next one.

    The two queues are all that the node's thread and the syncing thread share.
    """

    def __init__(self, files: SyncingFiles) -> None:
        self._files = files
        self._jobs: deque[tuple[int, Job]] = deque()
        self._finished: deque[Done] = deque()
        self._asked = False

    def submit(self, number: int, job: Job, sync: int) -> bool:  # noqa: ARG002
        """Leave the job to the next sync."""
        self._jobs.append((number, job))
        if not self._asked:
            self._asked = True
            self._files.at_next_sync(self._work)
        return True

    def take(self, synced: int) -> list[Done]:  # noqa: ARG002
        """What the thread has finished."""
        results = []
        while self._finished:
            results.append(self._finished.popleft())
        return results

    def _work(self) -> None:
        self._asked = False
        batch = []
        while self._jobs:
            batch.append(self._jobs.popleft())
        if batch:
            self._finished.extend(self.carry_out(batch))

    @abstractmethod
    def carry_out(self, batch: list[tuple[int, Job]]) -> list[Done]:
        """Do all of it in one transaction, in the syncing thread, and have it durable. Raises ``OSError``."""
