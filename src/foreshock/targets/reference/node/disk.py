"""A directory of real files, as a node's storage and its server want them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from foreshock.targets.reference.node.effects import NodeFailure

_sync_data = getattr(os, "fdatasync", os.fsync)
_TEMPORARY = ".new"


class FileSync(NamedTuple):
    """What a sync does for one file: writes to its descriptor, and then gives a new file the name of the old one."""

    descriptor: int
    data: bytes
    rename: tuple[Path, Path] | None = None


class SyncBatch(NamedTuple):
    """One sync: the files, and the descriptors of replaced ones, whose closing frees space and so takes time.

    ``work`` is what a program wants done in the syncing thread.
    """

    files: list[FileSync]
    replaced: list[int]
    work: list[Callable[[], None]]


class DirectoryFiles:
    """The :class:`Files` of a directory, which is created when missing and locked for this process alone.

    What is appended, or a file that takes the place of another, stays in memory until the next sync, which writes all
    of it at once and makes it durable: :meth:`begin_sync` says what to do, and :func:`sync_files` does it in any
    thread, one at a time. So a killed process loses what was not synced, as a machine does that loses its power.
    While a sync is under way nothing may be read or truncated (a node does both only when it starts), and no file
    removed that the sync is to put in another's place. What is found at first is synced before anything is read: a
    process that was killed in the middle of a sync leaves what the kernel has and the disk has not. Raises ``OSError``
    when the disk refuses, and :class:`NodeFailure` when another process has the directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._directory_descriptor = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(self._directory_descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._directory_descriptor)
            raise NodeFailure(f"the data directory {directory} is in use by another node") from None
        self._open: dict[str, int] = {}
        self._appended: dict[str, list[bytes]] = {}
        self._replaced: list[int] = []
        self._created = False
        self._renames: dict[str, tuple[Path, Path]] = {}
        self._replacements = 0
        self._work: list[Callable[[], None]] = []
        self.directory = directory
        for left_over in directory.glob(f"*{_TEMPORARY}"):
            left_over.unlink()
        self._sync_what_is_found()

    def _sync_what_is_found(self) -> None:
        for path in sorted(self._directory.iterdir()):
            if path.is_file():
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        os.fsync(self._directory_descriptor)

    def names(self) -> list[str]:
        """The names of the files there, sorted."""
        written = {
            entry.name
            for entry in self._directory.iterdir()
            if entry.is_file() and entry.suffix != _TEMPORARY
        }
        return sorted(written | self._appended.keys())

    def read(self, name: str) -> bytes:
        """The whole file; raises ``FileNotFoundError``."""
        appended = b"".join(self._appended.get(name, ()))
        if name in self._renames:
            return appended
        try:
            return (self._directory / name).read_bytes() + appended
        except FileNotFoundError:
            if name in self._appended:
                return appended
            raise

    def append(self, name: str, data: bytes) -> None:
        """Have the data written at the end of the file by the next sync."""
        self._appended.setdefault(name, []).append(data)

    def truncate(self, name: str, length: int) -> None:
        """Cut the file."""
        descriptor = self._descriptor(name)
        appended = self._appended.setdefault(name, [])
        _write_all(descriptor, b"".join(appended))
        appended.clear()
        os.ftruncate(descriptor, length)

    def replace(self, name: str, data: bytes) -> None:
        """Have a new file written beside the old one by the next sync, and renamed over it once it is durable."""
        self._replacements += 1
        temporary = self._directory / f"{name}.{self._replacements}{_TEMPORARY}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._forget(name)
        self._open[name] = descriptor
        self._appended[name] = [data]
        self._renames[name] = (temporary, self._directory / name)
        self._created = True

    def remove(self, name: str) -> None:
        """Remove the file and sync the directory."""
        self._forget(name)
        with contextlib.suppress(FileNotFoundError):
            (self._directory / name).unlink()
        os.fsync(self._directory_descriptor)

    def at_next_sync(self, work: Callable[[], None]) -> None:
        """Have work done by the next sync, in its thread, before it is reported: what a database must wait for."""
        self._work.append(work)

    def begin_sync(self) -> SyncBatch:
        """All that was appended, cut or replaced since the last time, for :func:`sync_files`."""
        files = [
            FileSync(os.dup(self._descriptor(name)), b"".join(appended), self._renames.get(name))
            for name, appended in sorted(self._appended.items())
        ]
        if self._created:
            files.append(FileSync(os.dup(self._directory_descriptor), b""))
        batch = SyncBatch(files, self._replaced, self._work)
        self._work = []
        self._appended.clear()
        self._renames.clear()
        self._created = False
        self._replaced = []
        return batch

    def close(self) -> None:
        """Close every file and give the directory free; what was not synced is lost."""
        for name in list(self._open):
            self._forget(name)
        for descriptor in (*self._replaced, self._directory_descriptor):
            os.close(descriptor)

    def _descriptor(self, name: str) -> int:
        descriptor = self._open.get(name)
        if descriptor is None:
            path = self._directory / name
            self._created = self._created or not path.exists()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            self._open[name] = descriptor
        return descriptor

    def _forget(self, name: str) -> None:
        self._appended.pop(name, None)
        overtaken = self._renames.pop(name, None)
        if overtaken is not None:
            overtaken[0].unlink()
        descriptor = self._open.pop(name, None)
        if descriptor is not None:
            self._replaced.append(descriptor)


def sync_files(batch: SyncBatch) -> None:
    """Write and make durable what the batch holds, and close its descriptors. Raises ``OSError``."""
    try:
        for descriptor, data, rename in batch.files:
            _write_all(descriptor, data)
            _sync_data(descriptor)
            if rename is not None:
                rename[0].replace(rename[1])
        for work in batch.work:
            work()
    finally:
        for descriptor in (*(file.descriptor for file in batch.files), *batch.replaced):
            os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
