"""A directory of real files, as a node's storage and its server want them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import NamedTuple

from foreshock.targets.reference.node.effects import NodeFailure

_sync_data = getattr(os, "fdatasync", os.fsync)
_TEMPORARY = ".new"


class SyncBatch(NamedTuple):
    """Descriptors of one sync: files to sync, and replaced ones, whose closing frees their space and so takes time."""

    files: list[int]
    replaced: list[int]


class DirectoryFiles:
    """The :class:`Files` of a directory, which is created when missing and locked for this process alone.

    What is appended is written to the system at once and made durable by a sync: :meth:`begin_sync` says what to
    sync, and :func:`sync_files` does it, in any thread. Raises ``OSError`` when the disk refuses, and
    :class:`NodeFailure` when another process has the directory.
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
        self._replaced: list[int] = []
        self._touched: set[str] = set()
        self._created = False
        for left_over in directory.glob(f"*{_TEMPORARY}"):
            left_over.unlink()

    def names(self) -> list[str]:
        """The names of the files there, sorted."""
        return sorted(entry.name for entry in self._directory.iterdir() if entry.is_file())

    def read(self, name: str) -> bytes:
        """The whole file; raises ``FileNotFoundError``."""
        return (self._directory / name).read_bytes()

    def append(self, name: str, data: bytes) -> None:
        """Write at the end of the file, creating it."""
        descriptor = self._descriptor(name)
        self._touched.add(name)
        _write_all(descriptor, data)

    def truncate(self, name: str, length: int) -> None:
        """Cut the file."""
        self._touched.add(name)
        os.ftruncate(self._descriptor(name), length)

    def replace(self, name: str, data: bytes) -> None:
        """Write a new file beside the old one, sync it, and rename it over the old one."""
        temporary = self._directory / (name + _TEMPORARY)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(self._directory / name)
        self._forget(name)
        os.fsync(self._directory_descriptor)

    def remove(self, name: str) -> None:
        """Remove the file and sync the directory."""
        self._forget(name)
        with contextlib.suppress(FileNotFoundError):
            (self._directory / name).unlink()
        os.fsync(self._directory_descriptor)

    def begin_sync(self) -> SyncBatch:
        """All that was touched since the last time, for :func:`sync_files`."""
        batch = SyncBatch([os.dup(self._open[name]) for name in sorted(self._touched)], self._replaced)
        if self._created:
            batch.files.append(os.dup(self._directory_descriptor))
        self._touched.clear()
        self._created = False
        self._replaced = []
        return batch

    def close(self) -> None:
        """Close every file and give the directory free; what was not synced is not durable."""
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
        self._touched.discard(name)
        descriptor = self._open.pop(name, None)
        if descriptor is not None:
            self._replaced.append(descriptor)


def sync_files(batch: SyncBatch) -> None:
    """Make the files durable, and close all descriptors of the batch. Raises ``OSError``."""
    try:
        for descriptor in batch.files:
            _sync_data(descriptor)
    finally:
        for descriptor in (*batch.files, *batch.replaced):
            os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
