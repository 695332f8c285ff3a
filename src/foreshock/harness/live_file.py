"""Where a running test stands, in a file of its run's folder: ``live.json``, for whoever looks on from outside.

It is written whole or not at all, at most twice a second, and gone when the test has ended. A reader must take its
absence for "not running, or not yet": a harness that was killed leaves it behind, and ``harness`` says which process
it was. A test in the simulator writes it only once it has taken long enough for somebody to look.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from types import TracebackType

import msgspec

from foreshock.harness.backends.process_identity import ProcessIdentity, identify
from foreshock.harness.progress import Progress, Snapshot

LIVE = "live.json"
WRITE_EVERY_S = 0.5
BYTES_MAX = 1 << 20
"""A file that is larger is not one of ours."""


class LiveState(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds. ``written`` is in seconds since the epoch."""

    phase: str
    written: float
    pid: int
    snapshot: Snapshot | None = None
    harness: ProcessIdentity | None = None
    """The process ``pid`` for good, where it could be told."""


class RecordedProgress:
    """Passes progress on, and keeps the file; a disk that does not take it costs the file and nothing else.

    Nothing is written in the first ``after_s`` seconds: most simulated tests are over by then, and cost nothing.
    """

    def __init__(self, inner: Progress, run: Path, *, after_s: float = 0.0) -> None:
        self._inner = inner
        self._path = run / LIVE
        self._scratch = run / f".{LIVE}.{os.getpid()}"
        self._phase = ""
        self._snapshot: Snapshot | None = None
        self._begin_s = time.monotonic() + after_s
        self._written_s = 0.0
        self._harness = identify(os.getpid())

    def __enter__(self) -> RecordedProgress:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for path in (self._scratch, self._path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        self._inner.__exit__(kind, error, trace)

    def phase(self, text: str) -> None:
        """A step in the life of the test has begun."""
        self._phase = text
        if time.monotonic() >= self._begin_s:
            self._write()
        self._inner.phase(text)

    def show(self, snapshot: Snapshot) -> None:
        """Something may have changed."""
        self._snapshot = (
            snapshot  # what was counted last holds in the phases after, in which nothing is counted
        )
        now_s = time.monotonic()
        if now_s >= self._begin_s and now_s - self._written_s >= WRITE_EVERY_S:
            self._write()
        self._inner.show(snapshot)

    def _write(self) -> None:
        self._written_s = time.monotonic()
        state = LiveState(
            phase=self._phase,
            written=time.time(),
            pid=os.getpid(),
            snapshot=self._snapshot,
            harness=self._harness,
        )
        with contextlib.suppress(OSError):
            self._scratch.write_bytes(msgspec.json.encode(state))
            self._scratch.replace(self._path)


def read_live(run: Path) -> LiveState | None:
    """Where a run stands, or ``None`` when it does not say."""
    try:
        fd = os.open(run / LIVE, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        data = os.read(fd, BYTES_MAX + 1)
        return msgspec.json.decode(data, type=LiveState) if len(data) <= BYTES_MAX else None
    except (OSError, msgspec.MsgspecError, RecursionError):
        return None
    finally:
        os.close(fd)
