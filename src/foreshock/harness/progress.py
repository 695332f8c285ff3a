"""Live progress: what a person sees while a test runs.

A terminal gets a live panel; a pipe, or ``--json``, gets a line every few seconds; ``--quiet`` gets nothing. All of
it goes to stderr. The conductor hands over a :class:`Snapshot` twice a second of the runtime's time.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol

import msgspec

from foreshock.harness.ledger import Fault

SECOND_NS = 1_000_000_000


class Snapshot(msgspec.Struct, frozen=True):
    """Where a test stands."""

    phase: str
    elapsed_s: float
    """Seconds since the phase began."""
    time_limit_s: float | None
    """How long the phase lasts, where that is known."""
    ok: int
    fail: int
    info: int
    rate: float
    """Completions a second since the last snapshot."""
    p50_ms: float
    p99_ms: float
    faults: tuple[str, ...]
    """What is wrong right now, such as ``partition ring (3 s)`` or ``kill n3 (1 s)``."""
    nodes: Mapping[str, str]


class Progress(Protocol):
    """Where progress goes. What it raises would end the test, so it raises nothing."""

    def __enter__(self) -> Progress:
        """Start showing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing; leaves the terminal clean."""

    def phase(self, text: str) -> None:
        """A step in the life of the test has begun."""

    def show(self, snapshot: Snapshot) -> None:
        """Something may have changed."""


class SilentProgress:
    """Shows nothing."""

    def __enter__(self) -> SilentProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def phase(self, text: str) -> None:
        """Say nothing."""

    def show(self, snapshot: Snapshot) -> None:
        """Show nothing."""


class LineProgress(SilentProgress):
    """A line on stderr every few seconds, for pipes and logs."""

    def __init__(self, every_s: float = 5.0) -> None:
        self._every_s = every_s
        self._last = time.monotonic()

    def phase(self, text: str) -> None:
        """Say at once which step has begun."""
        _say(text)

    def show(self, snapshot: Snapshot) -> None:
        """Print a line when enough time has passed on the wall clock."""
        if time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            _say(one_line(snapshot))


def _say(text: str) -> None:
    # Whoever read our stderr may have gone away: that is no reason to stop a test.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"foreshock: {text}\n")
        sys.stderr.flush()


def one_line(snapshot: Snapshot) -> str:
    """The snapshot as one line of text."""
    if not snapshot.ok + snapshot.fail + snapshot.info:
        return f"{snapshot.phase} {elapsed(snapshot)}"
    faults = ", ".join(snapshot.faults) or "none"
    return (
        f"{snapshot.phase} {elapsed(snapshot)}  "
        f"ok {snapshot.ok} fail {snapshot.fail} info {snapshot.info}  {snapshot.rate:.0f}/s  "
        f"p50 {snapshot.p50_ms:.1f} ms p99 {snapshot.p99_ms:.1f} ms  faults: {faults}"
    )


def elapsed(snapshot: Snapshot) -> str:
    """Such as ``12 of 60 s``; past its limit a phase waits for what is still in flight."""
    limit, now = snapshot.time_limit_s, snapshot.elapsed_s
    if limit is None:
        return f"{now:.0f} s"
    return f"{min(now, limit):.0f} of {limit:g} s" + (", last operations ending" if now > limit else "")


def fault_text(fault: Fault, now_ns: int) -> str:
    """What is wrong right now and since when, in a few words."""
    value = fault.value if isinstance(fault.value, Mapping) else {}
    if "kind" in value:
        where = str(value["kind"])
    elif "processes" in value:
        where = "of " + ",".join(f"p{process}" for process in value["processes"])
    else:
        where = ",".join(fault.nodes)
    return f"{fault.kind} {where} ({max(0, now_ns - fault.planned_ns) // SECOND_NS} s)"


def choose_progress(*, quiet: bool, as_json: bool) -> Progress:
    """The right progress for where stderr goes."""
    if quiet:
        return SilentProgress()
    if as_json or not sys.stderr.isatty():
        return LineProgress()
    from foreshock.harness.terminal_view import TerminalView

    return TerminalView()
