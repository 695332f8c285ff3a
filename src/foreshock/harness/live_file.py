"""Where a running test stands, in a file of its run's folder: ``live.json``, for whoever looks on from outside.

It is written whole or not at all, at most twice a second, and gone when the test has ended. A reader must take its
absence for "not running, or not yet": a harness that was killed leaves it behind, and its ``pid`` says whose it was.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from types import TracebackType

import msgspec

from foreshock.harness.progress import Progress, Snapshot

LIVE = "live.json"
WRITE_EVERY_S = 0.5


class LiveState(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds. ``written`` is in seconds since the epoch."""

    phase: str
    written: float
    pid: int
    snapshot: Snapshot | None = None


class RecordedProgress:
    """Passes progress on, and keeps the file; a disk that does not take it costs the file and nothing else."""

    def __init__(self, inner: Progress, run: Path) -> None:
        self._inner = inner
        self._path = run / LIVE
        self._phase = ""
        self._written_s = 0.0

    def __enter__(self) -> RecordedProgress:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._inner.__exit__(kind, error, trace)

    def phase(self, text: str) -> None:
        """A step in the life of the test has begun."""
        self._phase = text
        self._write(None)
        self._inner.phase(text)

    def show(self, snapshot: Snapshot) -> None:
        """Something may have changed."""
        if time.monotonic() - self._written_s >= WRITE_EVERY_S:
            self._write(snapshot)
        self._inner.show(snapshot)

    def _write(self, snapshot: Snapshot | None) -> None:
        self._written_s = time.monotonic()
        state = LiveState(phase=self._phase, written=time.time(), pid=os.getpid(), snapshot=snapshot)
        scratch = self._path.with_name(f".{LIVE}.{os.getpid()}")
        with contextlib.suppress(OSError):
            scratch.write_bytes(msgspec.json.encode(state))
            scratch.replace(self._path)


def read_live(run: Path) -> LiveState | None:
    """Where a run stands, or ``None`` when it does not say."""
    try:
        return msgspec.json.decode((run / LIVE).read_bytes(), type=LiveState)
    except (OSError, msgspec.MsgspecError):
        return None
