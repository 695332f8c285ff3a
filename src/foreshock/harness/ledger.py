"""The fault ledger: every fault, with its inverse, on disk before it is injected.

``faults.jsonl`` holds one JSON object a line, each fsynced before the call returns (but in the simulator). A fault
goes through ``planned`` -> ``verified`` or ``failed`` -> ``healed``. After a crash of the harness, ``foreshock heal``
reads the faults that were planned and not healed, undoes them by their inverse, and adds ``healed-later``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from foreshock.harness.errors import HarnessError
from foreshock.harness.store import read_plain

ENDS_WITH_HARNESS: Final[Mapping[str, Any]] = MappingProxyType({"backend": "harness"})
"""The inverse of a fault that a dead harness leaves nowhere, so that there is nothing for anybody to undo."""


_POLL_S: Final = 0.05


def ends_with_harness(inverse: Mapping[str, Any]) -> bool:
    """Whether the fault was over when its harness was."""
    return bool(inverse.get("backend") == ENDS_WITH_HARNESS["backend"])


class LedgerInUse(HarnessError):
    """Another process writes the ledger."""


class Fault(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One fault and what became of it. Times are ns since the start of the test."""

    id: int
    kind: str
    nodes: tuple[str, ...]
    value: Any = None
    inverse: Mapping[str, Any] = {}
    planned_ns: int
    verified_ns: int | None = None
    observation: Any = None
    failed_ns: int | None = None
    failure: str | None = None
    healed_ns: int | None = None
    healed_later: bool = False
    """Another process undid it after the run had ended, at a time that the clock of the run cannot say."""

    @property
    def is_open(self) -> bool:
        """Whether nobody has undone the fault yet."""
        return self.healed_ns is None and not self.healed_later


class FaultLedger:
    """Appends to ``faults.jsonl``; one writer. What a killed writer left of a last line is cut off first.

    Whoever has it open holds a lock on the file: the harness while it runs, then whoever heals. Another one waits for
    ``wait_s`` at most. Without ``durable`` lines are written and not synced: a simulated fault needs no healing after
    the machine of the harness has lost its power. ``guard`` is asked first whether a kind of fault may strike these
    nodes and be undone by this inverse, and raises ``FaultError`` when it may not.
    """

    def __init__(
        self,
        path: Path,
        now: Callable[[], int],
        *,
        durable: bool = True,
        wait_s: float = 0.0,
        guard: Callable[[str, frozenset[str], Mapping[str, Any]], None] | None = None,
    ) -> None:
        self._now = now
        self._guard = guard
        self._durable = durable
        self._faults: dict[int, Fault] = {}
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                _lock(self._fd, path, wait_s)
                self._length = _length_of_whole_lines(self._fd)
                os.ftruncate(self._fd, self._length)
            except BaseException:
                os.close(self._fd)
                raise
        except OSError as error:
            raise HarnessError(f"the fault ledger {path} cannot be written: {error.strerror}") from error

    def planned(
        self, kind: str, nodes: frozenset[str], *, value: Any = None, inverse: Mapping[str, Any]
    ) -> int:
        """Write down a fault before it is injected; returns its id."""
        if self._guard is not None:
            self._guard(kind, nodes, inverse)
        fault = Fault(
            id=len(self._faults),
            kind=kind,
            nodes=tuple(sorted(nodes)),
            value=value,
            inverse=dict(inverse),
            planned_ns=self._now(),
        )
        self._append({"event": "planned", **msgspec.to_builtins(fault)})
        self._faults[fault.id] = fault
        return fault.id

    def verified(self, fault: int, observation: Any) -> None:
        """The fault took: ``observation`` says what was seen."""
        record = self._faults[fault]
        record.verified_ns, record.observation = self._now(), observation
        self._append(
            {"event": "verified", "id": fault, "time_ns": record.verified_ns, "observation": observation}
        )

    def failed(self, fault: int, reason: str) -> None:
        """The fault did not take, or could not be healed."""
        record = self._faults[fault]
        record.failed_ns, record.failure = self._now(), reason
        self._append({"event": "failed", "id": fault, "time_ns": record.failed_ns, "failure": reason})

    def healed(self, fault: int) -> None:
        """The fault is undone, and that was observed."""
        record = self._faults[fault]
        record.healed_ns = self._now()
        self._append({"event": "healed", "id": fault, "time_ns": record.healed_ns})

    def note_healed_later(self, fault: int) -> None:
        """This process healed the fault of a dead run, whose clock is gone."""
        self._append({"event": "healed-later", "id": fault})

    def open_faults(self, kind: str | None = None) -> list[Fault]:
        """Faults that were planned and not healed, oldest first."""
        return [f for f in self._faults.values() if f.is_open and (kind is None or f.kind == kind)]

    def all(self) -> tuple[Fault, ...]:
        """Every fault so far."""
        return tuple(self._faults.values())

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, event: Mapping[str, Any]) -> None:
        line = msgspec.json.encode(event) + b"\n"
        try:
            written = os.write(self._fd, line)
            if written < len(line):
                os.write(self._fd, line[written:])  # says why the disk took only a part
            if self._durable:
                os.fsync(self._fd)
            self._length += len(line)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._length)  # no part of a line may stay before the next one
            raise HarnessError(
                f"the fault ledger {self._path} cannot be written: {error.strerror}"
            ) from error


def _lock(fd: int, path: Path, wait_s: float) -> None:
    """Become the one writer; the lock ends with its process. Where a file system has no locks, nobody is kept out."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LedgerInUse(
                    f"the fault ledger {path} is in use by another process: its run is under way, or being healed"
                ) from None
            time.sleep(_POLL_S)
        except OSError:
            return
        else:
            return


def _length_of_whole_lines(fd: int) -> int:
    size = os.fstat(fd).st_size
    content = os.pread(fd, size, 0)
    return content.rfind(b"\n") + 1


def read_ledger(path: Path) -> tuple[Fault, ...]:
    """The faults of a stored run; a torn last line is left out, a missing file means no faults."""
    try:
        lines = read_plain(path).split(b"\n")
    except FileNotFoundError:
        return ()
    faults: dict[int, Fault] = {}
    for number, line in enumerate(lines[:-1], start=1):
        try:
            event = msgspec.json.decode(line)
            if event["event"] == "planned":
                faults[event["id"]] = msgspec.convert(event, Fault)
            else:
                _note(faults[event["id"]], event)
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            raise HarnessError(f"{path}, line {number} is not a ledger entry: {error}") from error
    return tuple(faults.values())


def _note(fault: Fault, event: Mapping[str, Any]) -> None:
    """Take in what became of a fault; raises ``KeyError`` when the event lacks what its kind should have."""
    match event["event"]:
        case "verified":
            fault.verified_ns, fault.observation = event["time_ns"], event["observation"]
        case "failed":
            fault.failed_ns, fault.failure = event["time_ns"], event["failure"]
        case "healed":
            fault.healed_ns = event["time_ns"]
        case "healed-later":
            fault.healed_later = True
        case other:
            raise KeyError(f"there is no event {other!r}")
