"""What was written and not synced: kept so that it can be taken back, as a power cut takes it.

Runs on the host of a node, within ``disk_layer.py``, on the standard library alone. What is written goes to the medium
at once, and what stood there before is remembered until the next sync. So reading costs nothing, an append costs a
few bytes, and a layer that is killed loses nothing.
"""

from __future__ import annotations

import os
import random
from collections import OrderedDict
from typing import Final, NamedTuple

CHANGE_BYTES: Final = 128
"""What remembering one change takes beside the bytes that it replaced."""
FILES_MAX: Final = 256
KEEPS_PERCENT: Final = 50
"""How often a file keeps a part of what was not synced, when the power is cut."""
TEARS_PERCENT: Final = 50
"""How often the write after that part is torn."""

FALLOCATE_KEEP_SIZE: Final = 1
FALLOCATE_PUNCH_HOLE: Final = 2
FALLOCATE_ZERO_RANGE: Final = 16


class Change(NamedTuple):
    """One change of a file, and what takes it back."""

    offset: int
    written: int
    """How many bytes were written; -1 where the file was cut or lengthened."""
    old: bytes
    """What stood there, as far as there was anything."""
    size: int
    """How long the file was."""
    number: int
    """How many changes there had been before, of all files."""

    @property
    def cost(self) -> int:
        """How much memory it takes."""
        return CHANGE_BYTES + len(self.old)


class File:
    """The changes of one file since its last sync, and a descriptor of its own by which they are taken back."""

    def __init__(self, fd: int) -> None:
        self.fd = os.dup(fd)
        self.changes: list[Change] = []
        self.cost = 0

    def take_back(self, kept: int, torn: int = 0) -> None:
        """Take back all changes but the first ``kept``, and but the first ``torn`` bytes of the one after them."""
        for number in range(len(self.changes) - 1, kept - 1, -1):
            change = self.changes[number]
            spared = torn if number == kept else 0
            write_all(self.fd, change.old[spared:], change.offset + spared)
            os.ftruncate(self.fd, max(change.size, change.offset + spared if spared else 0))
        self.changes.clear()
        self.cost = 0


Key = tuple[int, int]
"""A file, by device and inode: names may change."""


class UnsyncedWrites:
    """The changes of all files that were not synced. Not for two threads at once.

    Beyond ``limit_bytes`` of memory, or too many files, the file that has waited longest counts as written back, as a
    kernel does that is short of memory.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._files: OrderedDict[Key, File] = OrderedDict()
        self.changes = 0
        """How many changes there have ever been."""
        self.bytes = 0
        """The memory that it takes."""
        self.written_back = 0
        """How many changes could not be taken back any more although nobody had synced them."""

    @property
    def files(self) -> int:
        """How many files have changes that were not synced."""
        return len(self._files)

    def write(self, fd: int, data: bytes, offset: int) -> int:
        """Write, and remember what stood there; returns how long the file was."""
        size = os.fstat(fd).st_size
        old = os.pread(fd, len(data), offset) if offset < size else b""
        self._note(fd, Change(offset, len(data), old, size, self.changes))
        write_all(fd, data, offset)
        return size

    def truncate(self, fd: int, length: int) -> None:
        """Cut or lengthen the file."""
        size = os.fstat(fd).st_size
        if length != size:
            old = read_all(fd, size - length, length) if length < size else b""
            self._note(fd, Change(length, -1, old, size, self.changes))
            os.ftruncate(fd, length)

    def allocate(self, fd: int, mode: int, offset: int, length: int) -> None:
        """What ``fallocate(2)`` does in the modes that fill with zeros; raises ``ValueError`` for another."""
        size = os.fstat(fd).st_size
        if mode & ~(FALLOCATE_KEEP_SIZE | FALLOCATE_PUNCH_HOLE | FALLOCATE_ZERO_RANGE):
            raise ValueError(f"fallocate mode {mode} is not carried out here")
        end = offset + length
        if mode & (FALLOCATE_PUNCH_HOLE | FALLOCATE_ZERO_RANGE) and offset < size:
            self.write(fd, bytes(min(end, size) - offset), offset)
        if not mode & FALLOCATE_KEEP_SIZE and end > size:
            self.truncate(fd, end)

    def synced(self, fd: int, before: int | None = None) -> None:
        """A sync has ended: the changes that there were when ``changes`` was ``before`` (now) are durable."""
        key = _key(fd)
        file = self._files.get(key)
        if file is None:
            return
        left = [] if before is None else [change for change in file.changes if change.number >= before]
        if not left:
            self._forget(key)
            return
        self.bytes -= file.cost
        file.changes, file.cost = left, sum(change.cost for change in left)
        self.bytes += file.cost

    def sync_failed(self, fd: int) -> None:
        """What was written to the file since its last sync is lost, and nothing of it will be tried again."""
        file = self._files.pop(_key(fd), None)
        if file is not None:
            self.bytes -= file.cost
            file.take_back(0)
            os.close(file.fd)

    def removed(self, key: Key) -> None:
        """The file has lost its last name."""
        self._forget(key)

    def lose(self, seed: str, wholly: Key | None = None) -> int:
        """The power is cut: each file keeps, by the seed, a prefix of its changes, the last perhaps torn, or none.

        The file ``wholly`` keeps nothing. Returns how many changes were taken back, wholly or in part.
        """
        draws = random.Random(seed)
        lost = 0
        for key, file in self._files.items():
            count = len(file.changes)
            kept = torn = 0
            if key != wholly and draws.randrange(100) < KEEPS_PERCENT:
                kept = draws.randrange(count + 1)
                if kept < count and file.changes[kept].written > 1 and draws.randrange(100) < TEARS_PERCENT:
                    torn = draws.randrange(file.changes[kept].written)
            file.take_back(kept, torn)
            os.close(file.fd)
            lost += count - kept
        self._files.clear()
        self.bytes = 0
        return lost

    def _note(self, fd: int, change: Change) -> None:
        key = _key(fd)
        file = self._files.get(key)
        if file is None:
            file = self._files[key] = File(fd)
        self.changes += 1
        file.changes.append(change)
        file.cost += change.cost
        self.bytes += change.cost
        while self.bytes > self._limit or len(self._files) > FILES_MAX:
            oldest = next(iter(self._files))
            self.written_back += len(self._files[oldest].changes)
            self._forget(oldest)

    def _forget(self, key: Key) -> None:
        file = self._files.pop(key, None)
        if file is not None:
            self.bytes -= file.cost
            os.close(file.fd)


def _key(fd: int) -> Key:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def read_all(fd: int, count: int, offset: int) -> bytes:
    """Exactly so many bytes, or as many as there are."""
    parts = []
    while count > 0 and (part := os.pread(fd, count, offset)):
        parts.append(part)
        count -= len(part)
        offset += len(part)
    return b"".join(parts)


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write all of it; raises ``OSError``."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
