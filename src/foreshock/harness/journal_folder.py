"""A folder with a journal, for work of many parts that goes on where it was when it was ended, or killed.

``plan.json`` says by a digest what the work is, and is locked while a process works on it; the journal has a line for
each part that is done. The lock is the system's: it is gone with the process, however that went.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import msgspec

from foreshock.harness.errors import HarnessError
from foreshock.harness.store import read_json, write_json

PLAN: Final = "plan.json"
SYNC_EVERY_S: Final = 1.0
"""So much of a journal, at most, is lost when the machine itself goes down; nothing is when the process is killed."""
T = TypeVar("T")


class InUse(HarnessError):
    """Another process works in the folder at this moment."""


class JournalFolder:
    """The folder ``directory``, claimed. Raises :class:`InUse` when another process has it, unless ``lock`` is ours."""

    def __init__(self, directory: Path, journal: str, lock: int | None = None) -> None:
        self.directory = directory
        self._path = directory / journal
        self._lock = _claim(directory) if lock is None else lock
        self._file: IO[bytes] | None = None
        self._synced_s = 0.0

    def read(self, kind: type[T]) -> Iterator[T]:
        """The lines of the journal; one that was being written when its process was killed is left out."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for line in file:
                with contextlib.suppress(msgspec.MsgspecError):
                    yield msgspec.json.decode(line, type=kind)

    def add(self, line: msgspec.Struct) -> None:
        """Write a line; raises :class:`HarnessError` when the disk does not take it."""
        try:
            if self._file is None:
                self._file = self._path.open("ab", buffering=0)
                if self._file.tell():
                    self._file.write(b"\n")  # ends what a killed process may have left half written
            self._write(self._file, msgspec.json.encode(line) + b"\n")
        except OSError as error:
            if (
                self._file is not None
            ):  # of this line a part may be there: the next one must not go on with it
                self._file.close()
                self._file = None
            raise HarnessError(f"{self._path} cannot be written: {error.strerror}") from error

    def _write(self, file: IO[bytes], data: bytes) -> None:
        while data:
            data = data[file.write(data) :]
        now = time.monotonic()
        if now - self._synced_s >= SYNC_EVERY_S:
            self._synced_s = now
            os.fsync(file.fileno())

    def close(self) -> None:
        """Close the journal, and let others have the folder; idempotent."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def claim_newest(
    root: Path,
    digest: str,
    journal: str,
    is_done: Callable[[Path], bool],
    in_use: Callable[[Path], object] = lambda _: None,
) -> JournalFolder | None:
    """The newest folder below ``root`` of the same work that is not done, claimed; ``None``: there is none.

    ``in_use`` is told of those that another process has.
    """
    if not root.is_dir():
        return None
    known = (path for path in root.iterdir() if not path.name.startswith(".") and (path / PLAN).is_file())
    for directory in sorted(known, reverse=True):
        if _digest_in(directory) == digest and not is_done(directory):
            try:
                return JournalFolder(directory, journal)
            except InUse:
                in_use(directory)
    return None


def make_folder(
    root: Path, digest: str, journal: str, what: str, more: Mapping[str, Any] | None = None
) -> JournalFolder:
    """A new folder below ``root``, claimed. Raises :class:`HarnessError`, which speaks of ``what`` it is for."""
    directory = root / f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(3)}"
    aside = directory.with_name(f".{directory.name}")
    try:
        aside.mkdir(parents=True)
    except OSError as error:
        raise HarnessError(
            f"{what} {directory} cannot be made: {error.strerror} (choose another store with --store)"
        ) from error
    try:
        write_json(aside / PLAN, {"digest": digest, **(more or {})})
        # Nobody else sees the folder before it is claimed: a second command of the same work would go on with it.
        lock = _claim(aside)
        aside.rename(directory)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return JournalFolder(directory, journal, lock)


def _claim(directory: Path) -> int:
    try:
        descriptor = os.open(directory / PLAN, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise InUse(f"another process works in {directory}") from None
    except OSError as error:
        raise HarnessError(f"{directory / PLAN} cannot be opened: {error.strerror}") from error
    return descriptor


def _digest_in(directory: Path) -> object:
    """What the folder's plan says; nothing where it cannot be understood: such work is not gone on with."""
    try:
        return read_json(directory / PLAN).get("digest")
    except HarnessError:
        return None
