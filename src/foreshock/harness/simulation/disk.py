"""The disk of one simulated node: what was not synced survives the program, but not a power cut."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from heapq import heappush
from typing import NamedTuple

from foreshock.harness.randomness import RandomStream
from foreshock.harness.simulation.knobs import SimKnobs
from foreshock.harness.simulation.network import TABLE_BITS, TABLE_MASK, delay_table, threshold
from foreshock.harness.simulation.scheduler import Scheduler


class Whole(NamedTuple):
    """A file's new content, which takes the place of the old one whole or not at all."""

    data: bytes


Change = bytes | int | Whole
"""Bytes were appended; a number is a length to which the file was cut; or the whole file was replaced."""


class SimFile:
    """One file: the durable chunks, and the changes that are not durable yet, in their order."""

    __slots__ = ("durable", "durable_bytes", "exists", "issued", "length", "pending")

    def __init__(self) -> None:
        self.exists = False
        """Whether the file would be there after a power cut that loses all that can be lost."""
        self.durable: list[bytes] = []
        self.durable_bytes = 0
        self.pending: deque[Change] = deque()
        self.issued = 0
        """How many changes there have ever been, the pending ones included."""
        self.length = 0

    def settle(self, upto: int) -> None:
        """Make every operation durable that was issued before there were ``upto`` of them."""
        self.exists = True
        pending = self.pending
        for _ in range(upto - (self.issued - len(pending))):
            self._apply(pending.popleft())

    def lose(self, kept: int, torn_bytes: int) -> None:
        """Power cut: the first ``kept`` pending operations and some bytes of the append after them stay, no more."""
        for _ in range(kept):
            self._apply(self.pending.popleft())
        if torn_bytes and self.pending and isinstance(torn := self.pending[0], bytes):
            self._apply(torn[:torn_bytes])
            kept += 1
        self.exists = self.exists or kept > 0
        self.pending.clear()
        self.length = self.durable_bytes

    def content(self) -> bytes:
        """What the node sees now."""
        if not self.pending:
            return b"".join(self.durable)
        data = bytearray(b"".join(self.durable))
        for operation in self.pending:
            if isinstance(operation, int):
                del data[operation:]
            elif isinstance(operation, Whole):
                data[:] = operation.data
            else:
                data += operation
        return bytes(data)

    def _apply(self, operation: Change) -> None:
        durable = self.durable
        if isinstance(operation, Whole):
            durable[:] = [operation.data]
            self.durable_bytes = len(operation.data)
            return
        if isinstance(operation, bytes):
            durable.append(operation)
            self.durable_bytes += len(operation)
            return
        excess = self.durable_bytes - operation
        while excess > 0:
            last = durable.pop()
            if len(last) > excess:
                durable.append(last[:-excess])
            excess -= len(last)
        self.durable_bytes = operation


class SimDisk:
    """Byte files. A sync becomes durable after the disk's latency, syncs in the order in which they were asked for."""

    __slots__ = (
        "_bits",
        "_delays",
        "_epoch",
        "_files",
        "_knobs",
        "_last_sync_ns",
        "_life",
        "_scheduler",
        "_stall",
        "_synced",
        "capacity_bytes",
        "used_bytes",
    )

    def __init__(
        self,
        scheduler: Scheduler,
        knobs: SimKnobs,
        rng: RandomStream,
        synced: Callable[[object, None], None],
    ) -> None:
        self._scheduler = scheduler
        self._knobs = knobs
        self._bits = rng.bits
        self._delays = delay_table(rng.stream("delays"), knobs.sync_min_ns, knobs.sync_mean_ns)
        self._stall = threshold(knobs.sync_stall_ppm)
        self._synced = synced
        self._files: dict[str, SimFile] = {}
        self._epoch = 0
        self._life = 0
        self._last_sync_ns = 0
        self.capacity_bytes = knobs.disk_capacity_bytes
        """The disk's size; a write past it raises ``OSError`` with ``ENOSPC``. ``None``: without limit."""
        self.used_bytes = 0

    def names(self) -> list[str]:
        """The names of the files there, sorted."""
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        """The whole file as the node sees it now; raises ``FileNotFoundError``."""
        return self._file(name).content()

    def append(self, name: str, data: bytes) -> None:
        """Add to the end of the file, creating it; raises ``OSError`` (``ENOSPC``) when the disk is full."""
        size = len(data)
        if self.capacity_bytes is not None:
            self._claim(name, size)
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = SimFile()
        file.pending.append(bytes(data))
        file.issued += 1
        file.length += size
        self.used_bytes += size

    def truncate(self, name: str, length: int) -> None:
        """Cut the file to ``length`` bytes; one that is shorter, or a negative length, is a ``ValueError``."""
        file = self._file(name)
        if not 0 <= length <= file.length:
            raise ValueError(f"cannot cut {name!r} to {length} bytes: it has {file.length}")
        file.pending.append(length)
        file.issued += 1
        self.used_bytes -= file.length - length
        file.length = length

    def replace(self, name: str, data: bytes) -> None:
        """Put a whole new file in place of the old one, atomically: a power cut before a sync may leave either."""
        file = self._files.get(name)
        growth = len(data) - (file.length if file else 0)
        self._claim(name, growth)
        if file is None:
            file = self._files[name] = SimFile()
        file.pending.append(Whole(bytes(data)))
        file.issued += 1
        file.length = len(data)
        self.used_bytes += growth

    def remove(self, name: str) -> None:
        """Remove the file durably; a missing one is no error."""
        file = self._files.pop(name, None)
        if file is not None:
            self.used_bytes -= file.length

    def sync(self, name: str, token: object) -> None:
        """Make the file as it is now durable; ``on_synced(token)`` follows after the disk's latency."""
        file = self._file(name)
        draw = self._bits(32)
        scheduler = self._scheduler
        done_ns = scheduler.now + self._delays[draw & TABLE_MASK]
        if draw >> TABLE_BITS < self._stall:
            done_ns += self._knobs.sync_stall_ns
        if done_ns < self._last_sync_ns:
            done_ns = self._last_sync_ns
        self._last_sync_ns = done_ns
        request = (self._epoch, self._life, file, file.issued)
        heappush(scheduler.heap, (done_ns, scheduler.sequence(), self._complete, request, token))

    def is_durable(self, name: str) -> bool:
        """Whether the file would be there as it is after a power cut."""
        file = self._file(name)
        return file.exists and not file.pending

    def detach(self) -> None:
        """The program is gone: what it had asked for becomes durable all the same, and nobody is told."""
        self._life += 1

    def crash(self, rng: RandomStream) -> None:
        """The power is cut: each file loses its unsynced tail, or keeps a prefix of it as the seed decides."""
        self._epoch += 1
        self._life += 1
        self._last_sync_ns = 0
        for name in self.names():
            file = self._files[name]
            count = len(file.pending)
            if count and rng.below(100) < self._knobs.crash_keeps_percent:
                kept = rng.below(count + 1)
                torn_bytes = 0
                if kept < count and rng.below(100) < self._knobs.crash_tears_percent:
                    operation = file.pending[kept]
                    torn_bytes = (
                        rng.below(len(operation)) if isinstance(operation, bytes) and operation else 0
                    )
                file.lose(kept, torn_bytes)
            else:
                file.lose(0, 0)
            if not file.exists:
                del self._files[name]
        self.used_bytes = sum(file.length for file in self._files.values())

    def _complete(self, request: tuple[int, int, SimFile, int], token: object) -> None:
        epoch, life, file, upto = request
        if epoch == self._epoch:
            file.settle(upto)
            if life == self._life:
                self._synced(token, None)

    def _file(self, name: str) -> SimFile:
        try:
            return self._files[name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such file on the simulated disk", name) from None

    def _claim(self, name: str, growth_bytes: int) -> None:
        capacity = self.capacity_bytes
        if capacity is not None and growth_bytes > 0 and self.used_bytes + growth_bytes > capacity:
            raise OSError(errno.ENOSPC, f"the simulated disk of {capacity} bytes is full", name)
