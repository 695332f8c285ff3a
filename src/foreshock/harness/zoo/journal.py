"""What a run of the zoo has done so far, kept line by line, so that a run that was ended goes on where it was."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import time
from pathlib import Path
from typing import IO

import msgspec

from foreshock.harness.errors import HarnessError
from foreshock.harness.request import Request
from foreshock.harness.store import read_json, write_json
from foreshock.harness.zoo.workers import SimulatedTest

PLAN = "plan.json"
JOURNAL = "results.jsonl"
DOCUMENT = "zoo.json"


class _Line(msgspec.Struct, frozen=True):
    test: str
    result: SimulatedTest


def key_of(request: Request) -> str:
    """A test's name in the journal."""
    return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).hexdigest()[:24]


class Journal:
    """The results of one run of the zoo by test, in the folder ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = _claim(directory)
        self.results: dict[str, SimulatedTest] = {}
        self._file: IO[bytes] | None = None
        path = directory / JOURNAL
        if path.exists():
            for line in path.read_bytes().splitlines():
                try:
                    known = msgspec.json.decode(line, type=_Line)
                except (msgspec.DecodeError, msgspec.ValidationError):
                    continue  # the line that was being written when the run was killed: its test runs again
                self.results[known.test] = known.result

    def add(self, request: Request, result: SimulatedTest) -> None:
        """Keep a result; raises :class:`HarnessError` when the disk does not take it."""
        key = key_of(request)
        self.results[key] = result
        try:
            if self._file is None:
                self._file = (self.directory / JOURNAL).open("ab")
                if self._file.tell():
                    self._file.write(b"\n")  # ends what a killed run may have left half written
            self._file.write(msgspec.json.encode(_Line(key, result)) + b"\n")
            self._file.flush()
        except OSError as error:
            raise HarnessError(f"{self.directory / JOURNAL} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; another run may go on with it from now on."""
        if self._file is not None:
            self._file.close()
        os.close(self._lock)


class InUse(HarnessError):
    """Another process runs this very zoo at this moment."""


def _claim(directory: Path) -> int:
    """A lock on the folder that the system gives back when the process is gone, however it went."""
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


def open_journal(store: Path, digest: str, *, fresh: bool) -> tuple[Journal, bool]:
    """The journal of the newest run of the same zoo that did not end, or else of a new one; says whether it goes on."""
    root = store / "zoo"
    if not fresh and root.is_dir():
        for directory in sorted((path for path in root.iterdir() if (path / PLAN).is_file()), reverse=True):
            if not (directory / DOCUMENT).exists() and _digest_in(directory) == digest:
                with contextlib.suppress(InUse):
                    return Journal(directory), True
    directory = root / f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(3)}"
    try:
        directory.mkdir(parents=True)
    except OSError as error:
        raise HarnessError(
            f"the zoo's folder {directory} cannot be made: {error.strerror} (choose another store with --store)"
        ) from error
    write_json(directory / PLAN, {"digest": digest})
    return Journal(directory), False


def _digest_in(directory: Path) -> object:
    """What the folder's plan says; nothing where it cannot be understood: such a run is not gone on with."""
    try:
        return read_json(directory / PLAN).get("digest")
    except HarnessError:
        return None
