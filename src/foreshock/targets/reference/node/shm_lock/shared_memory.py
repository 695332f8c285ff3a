"""The real shared memory: one small file a cell, mapped into each process that has the cell's lock.

In a directory of a tmpfs (``/dev/shm``, or a volume that the containers of a run share) the files are memory of the
host and nothing else; in any other directory they are so too, while their host lives, for a mapping is of the page
cache that all processes share.

Who holds a cell is said by ``flock`` on its file, which the kernel frees when the holder dies, however it dies. A pid
in the cell would not do: processes in different namespaces do not agree on them, and they are used again.
``multiprocessing.shared_memory`` would not do either: up to Python 3.12 the resource tracker of each process that has
attached a segment unlinks it when that process ends, while others still use it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

from foreshock.targets.reference.node.shm_lock.memory import CELL_BYTES

_SUFFIX = ".cell"


class MappedFiles:
    """The :class:`SharedMemory` of a directory, which is created when missing. ``cells_max`` bounds its files."""

    def __init__(self, directory: str | Path, *, cells_max: int) -> None:
        self._directory = Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._cells_max = cells_max
        self._held: dict[str, tuple[int, mmap.mmap]] = {}

    def try_lock(self, name: str) -> bool:
        """Open the cell's file, making it when missing, and take its lock."""
        descriptor = os.open(self._path(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            # Whoever made it may have died before it had its length: only the holder of the lock gives it that.
            if os.fstat(descriptor).st_size < CELL_BYTES:
                _allocate(descriptor)
            self._held[name] = (descriptor, mmap.mmap(descriptor, CELL_BYTES))
        except OSError:
            os.close(descriptor)
            raise
        return True

    def unlock(self, name: str) -> None:
        """Unmap the cell and close its file, which frees the lock."""
        descriptor, mapped = self._held.pop(name)
        mapped.close()
        os.close(descriptor)

    def read(self, name: str) -> bytes:
        """What the mapping shows."""
        return self._held[name][1][:]

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Store into the mapping."""
        self._held[name][1][offset : offset + len(data)] = data

    def is_full(self, name: str) -> bool:
        """Count the files, unless the cell is there."""
        if self._path(name).exists():
            return False
        return sum(entry.name.endswith(_SUFFIX) for entry in os.scandir(self._directory)) >= self._cells_max

    def close(self) -> None:
        """Free every lock that is held."""
        for name in list(self._held):
            self.unlock(name)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{_SUFFIX}"


def _allocate(descriptor: int) -> None:
    """Give the file its length, and the room: a store into a hole of a full tmpfs would end the process by SIGBUS."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, CELL_BYTES)
    else:
        os.ftruncate(descriptor, CELL_BYTES)
