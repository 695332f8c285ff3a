"""The disk of one simulated node: what was not synced survives the program, but not a power cut."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from heapq import heappush
from typing import Final, NamedTuple

from foreshock.harness.backends.on_hosts.bit_flips import flipped
from foreshock.harness.capabilities import DiskFault
from foreshock.harness.randomness import RandomStream
from foreshock.harness.simulation.knobs import MILLISECOND, SimKnobs
from foreshock.harness.simulation.network import TABLE_BITS, TABLE_MASK, delay_table, threshold
from foreshock.harness.simulation.scheduler import Scheduler

SPARED_CHANGES: Final = 2
"""How many of the last writes to a file are spared by flipped bits; the last one may be lost with the power."""
TRIED: Final = bytes(range(256)) * 64
"""What the disk is tried with."""


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

    def settled_length(self) -> int:
        """How much of the file was written before the last two writes; all of it where it was cut or replaced since."""
        chunks = [*self.durable[-SPARED_CHANGES:], *self.pending][-SPARED_CHANGES:]
        return self.length - sum(len(chunk) for chunk in chunks if isinstance(chunk, bytes))

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
        "_draws",
        "_epoch",
        "_files",
        "_knobs",
        "_last_sync_ns",
        "_life",
        "_refused",
        "_scheduler",
        "_stall",
        "_synced",
        "capacity_bytes",
        "fault",
        "used_bytes",
    )

    def __init__(
        self,
        scheduler: Scheduler,
        knobs: SimKnobs,
        rng: RandomStream,
        synced: Callable[[object, None], None],
        refused: Callable[[object, None], None],
    ) -> None:
        """``synced`` is told of each sync that is done, ``refused`` of each that failed."""
        self._scheduler = scheduler
        self._knobs = knobs
        self._bits = rng.bits
        self._delays = delay_table(rng.stream("delays"), knobs.sync_min_ns, knobs.sync_mean_ns)
        self._stall = threshold(knobs.sync_stall_ppm)
        self._synced = synced
        self._refused = refused
        self._draws = rng.stream("no fault")
        self._files: dict[str, SimFile] = {}
        self._epoch = 0
        self._life = 0
        self._last_sync_ns = 0
        self.capacity_bytes = knobs.disk_capacity_bytes
        """The disk's size; a write past it raises ``OSError`` with ``ENOSPC``. ``None``: without limit."""
        self.used_bytes = 0
        self.fault: DiskFault | None = None
        """What is wrong with the disk; set by :meth:`break_down` and :meth:`mend`."""

    def break_down(self, fault: DiskFault) -> None:
        """Let this be wrong from now on, in place of what was wrong before."""
        self.mend()
        self.fault = fault
        self._draws = RandomStream(fault.seed, "disk fault")
        if fault.kind in ("full", "read-only"):
            self.capacity_bytes = 0

    def mend(self) -> None:
        """Let nothing be wrong."""
        self.fault = None
        self.capacity_bytes = self._knobs.disk_capacity_bytes

    def may_have_caused(self, error: BaseException) -> bool:
        """Whether what a program raised can come of what is wrong: a refusal, or whatever flipped bits lead to."""
        return self.fault is not None and (isinstance(error, OSError) or self.fault.kind == "bit-flip")

    def names(self) -> list[str]:
        """The names of the files there, sorted."""
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        """The whole file as the node sees it now; raises ``FileNotFoundError``."""
        file = self._file(name)
        content = file.content()
        if self.fault is None or self.fault.kind != "bit-flip":
            return content
        return flipped(content, 0, file.settled_length(), f"{self.fault.seed}/{name}", self.fault.percent)

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
        self._claim(name, 0)
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
        self._claim(name, 0)
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
        if self.fault is not None:
            done_ns += self.fault.delay_ms * MILLISECOND
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
            if self.fault is not None and life == self._life and self._fails():
                self._drop(file)
                self._refused(token, None)
                return
            file.settle(upto)
            if life == self._life:
                self._synced(token, None)

    def try_write(self) -> str:
        """What comes of writing: ``ok``, or the name of the error."""
        try:
            self._claim("a trial", len(TRIED))
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return "ok"

    def try_read(self) -> bool:
        """Whether what was written reads as it was."""
        fault = self.fault
        if fault is None or fault.kind != "bit-flip":
            return True
        return flipped(TRIED, 0, len(TRIED), f"{fault.seed}/a trial", fault.percent) == TRIED

    def try_sync(self, done: Callable[[str, None], None]) -> None:
        """Tell what comes of a sync when it has come: ``ok``, or the name of the error."""
        delay_ns = self._knobs.sync_min_ns + (self.fault.delay_ms * MILLISECOND if self.fault else 0)
        self._scheduler.after(delay_ns, lambda *_: done("EIO" if self._fails() else "ok", None), None, None)

    def _fails(self) -> bool:
        fault = self.fault
        return fault is not None and fault.kind == "failing-sync" and self._draws.below(100) < fault.percent

    def _drop(self, file: SimFile) -> None:
        """What could not be written is forgotten, as Linux does: the next sync would say that all is well."""
        file.lose(0, 0)
        if not file.exists:
            self._files = {name: each for name, each in self._files.items() if each is not file}
        self.used_bytes = sum(each.length for each in self._files.values())

    def _file(self, name: str) -> SimFile:
        try:
            return self._files[name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such file on the simulated disk", name) from None

    def _claim(self, name: str, growth_bytes: int) -> None:
        capacity = self.capacity_bytes
        if self.fault is not None and self.fault.kind == "read-only":
            raise OSError(errno.EROFS, "the simulated disk is read-only", name)
        if capacity is not None and growth_bytes > 0 and self.used_bytes + growth_bytes > capacity:
            raise OSError(errno.ENOSPC, f"the simulated disk of {capacity} bytes is full", name)
