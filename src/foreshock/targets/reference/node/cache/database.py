"""The port of the origin's database, and the simplest one: a log on the node's own files.

The table has a row for every key that was ever written: its value (``None``: deleted) and the number of the change
that wrote it, which is its version. Changes are counted over all keys, so versions never come again.

A database works in batches: what is submitted is done, and durable, when the node's shell has synced; then the
results are taken. So writes of many clients share one commit.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple, Protocol

from foreshock.targets.reference.node.cache.messages import Key
from foreshock.targets.reference.node.consensus import Record
from foreshock.targets.reference.node.effects import NodeFailure
from foreshock.targets.reference.node.files import Files
from foreshock.targets.reference.node.storage import CorruptStorage, Storage

COMPACT_AFTER_CHANGES: Final = 2_000


class Begin(NamedTuple):
    """The origin starts, and will grant leases of so long a term at most. Answered by :class:`Begun`."""

    lease_ms_max: int


class Begun(NamedTuple):
    """How often the origin has started, and the longest lease that it may have granted before (0: none)."""

    epoch: int
    lease_ms_before: int


class Read(NamedTuple):
    """Answered by a :class:`Row`."""

    key: Key


class Write(NamedTuple):
    """Put a value, or delete the key (``None``). Answered by a :class:`Row`."""

    key: Key
    value: Any


class Row(NamedTuple):
    """What a key holds after ``as_of`` changes: its version (0: never written) and its value (``None``: absent)."""

    version: int
    as_of: int
    value: Any


class Done(NamedTuple):
    """A job's result. ``problem`` says why there is none, and ``certain`` whether it certainly had no effect."""

    number: int
    result: Begun | Row | None
    problem: str = ""
    certain: bool = False


Job = Begin | Read | Write


class OriginDatabase(Protocol):
    """A versioned table on stable storage."""

    def submit(self, number: int, job: Job, sync: int) -> bool:
        """Take on a job; whether the shell must sync, under the number ``sync`` or a later one, before it is done.

        Raises ``OSError`` when the disk refuses.
        """

    def take(self, synced: int) -> list[Done]:
        """The results that are there, in the order of their jobs, now that everything up to this sync is durable."""


class LogDatabase:
    """A table in memory over an append-only log (see ``storage.py``), which is written anew now and then."""

    def __init__(self, files: Files, *, cluster: str, node: str) -> None:
        self._storage = Storage(files, cluster=cluster, node=node, program="cache-origin", name="origin")
        self._rows: dict[Key, tuple[int, Any]] = {}
        self._durable = 0
        self._written = 0
        self._compacted = 0
        self._epoch = 0
        self._lease_ms = 0
        self._results: list[Done] = []
        self._pending: deque[tuple[int, int, Job]] = deque()
        try:
            for record in self._storage.load():
                self._replay(record)
        except CorruptStorage as problem:
            raise NodeFailure(str(problem)) from problem
        self._written = self._durable

    def submit(self, number: int, job: Job, sync: int) -> bool:
        """A read is done at once, from what is durable."""
        if isinstance(job, Read):
            self._results.append(Done(number, self._row(job.key)))
            return False
        if isinstance(job, Begin):
            state = [self._epoch + 1, max(job.lease_ms_max, self._lease_ms)]
            self._storage.append([Record(0, "state", state)])
        else:
            self._written += 1
            self._storage.append([Record(0, "entries", [[self._written, 0, [job.key, job.value]]])])
        self._pending.append((sync, number, job))
        return True

    def take(self, synced: int) -> list[Done]:
        """Apply what has become durable."""
        while self._pending and self._pending[0][0] <= synced:
            _, number, job = self._pending.popleft()
            if isinstance(job, Write):
                self._durable += 1
                self._rows[job.key] = (self._durable, job.value)
                self._results.append(Done(number, self._row(job.key)))
            elif isinstance(job, Begin):
                begun = Begun(self._epoch + 1, self._lease_ms)
                self._epoch, self._lease_ms = begun.epoch, max(job.lease_ms_max, self._lease_ms)
                self._results.append(Done(number, begun))
        if not self._pending and self._durable - self._compacted >= COMPACT_AFTER_CHANGES:
            self._compact()
        results, self._results = self._results, []
        return results

    def _row(self, key: Key) -> Row:
        version, value = self._rows.get(key, (0, None))
        return Row(version, self._durable, value)

    def _compact(self) -> None:
        rows = [[key, version, value] for key, (version, value) in self._rows.items()]
        self._storage.append([Record(0, "snapshot", [self._durable, 0, rows])])
        self._compacted = self._durable

    def _replay(self, record: Record) -> None:
        data = record.data
        if record.kind == "state":
            self._epoch, self._lease_ms = data
        elif record.kind == "snapshot":
            self._durable = self._compacted = data[0]
            self._rows = {key: (version, value) for key, version, value in data[2]}
        elif record.kind == "entries":
            for change, _, (key, value) in data:
                self._durable = change
                self._rows[key] = (change, value)
