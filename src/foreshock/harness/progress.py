"""Live progress: what a person sees while a test runs.

A terminal gets a live panel; a pipe, or ``--json``, gets a line every few seconds; ``--quiet`` gets nothing. The
runner hands over a :class:`Snapshot` twice a second of the runtime's time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from rich.console import RenderableType


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
    """What is wrong right now, such as ``partition`` or ``kill n3``."""
    nodes: Mapping[str, str]


class Progress(Protocol):
    """Where progress goes."""

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
        sys.stderr.write(f"foreshock: {text}\n")

    def show(self, snapshot: Snapshot) -> None:
        """Print a line when enough time has passed on the wall clock."""
        if time.monotonic() - self._last < self._every_s:
            return
        self._last = time.monotonic()
        sys.stderr.write(f"foreshock: {one_line(snapshot)}\n")


class TerminalProgress(SilentProgress):
    """A live panel on the terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._last = 0.0

    def __enter__(self) -> TerminalProgress:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def phase(self, text: str) -> None:
        """A lasting line above the panel."""
        self._live.console.print(f"[dim]foreshock:[/dim] {text}", highlight=False)

    def show(self, snapshot: Snapshot) -> None:
        """Redraw the panel, at most ten times a second."""
        if time.monotonic() - self._last < 0.1:
            return
        self._last = time.monotonic()
        self._live.update(_panel(snapshot), refresh=True)


def one_line(snapshot: Snapshot) -> str:
    """The snapshot as one line of text."""
    faults = ", ".join(snapshot.faults) or "none"
    return (
        f"{snapshot.phase} {_elapsed(snapshot)}  "
        f"ok {snapshot.ok} fail {snapshot.fail} info {snapshot.info}  {snapshot.rate:.0f}/s  "
        f"p50 {snapshot.p50_ms:.1f} ms p99 {snapshot.p99_ms:.1f} ms  faults: {faults}"
    )


def _panel(snapshot: Snapshot) -> RenderableType:
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    colors = {"running": "green", "paused": "yellow", "killed": "red", "lost": "red"}
    counts = Text.assemble(
        ("ok ", "dim"), (f"{snapshot.ok:<9}", "bright_blue"),
        ("fail ", "dim"), (f"{snapshot.fail:<9}", "magenta"),
        ("info ", "dim"), (f"{snapshot.info:<9}", "yellow"),
        ("rate ", "dim"), f"{snapshot.rate:.0f}/s   ",
        ("p50 ", "dim"), f"{snapshot.p50_ms:.1f} ms   ",
        ("p99 ", "dim"), f"{snapshot.p99_ms:.1f} ms",
    )  # fmt: skip
    nodes = Text()
    for name, state in snapshot.nodes.items():
        nodes.append(f"{name} ", style="dim").append(f"{state}   ", style=colors.get(state, "white"))
    faults = Text("faults ", style="dim")
    faults.append(", ".join(snapshot.faults) or "none", style="red" if snapshot.faults else "green")
    bar = ProgressBar(
        total=snapshot.time_limit_s, completed=snapshot.elapsed_s, pulse=snapshot.time_limit_s is None
    )
    title = f"{snapshot.phase}  {_elapsed(snapshot)}"
    return Panel(Group(bar, counts, nodes, faults), title=title, title_align="left")


def _elapsed(snapshot: Snapshot) -> str:
    limit = "" if snapshot.time_limit_s is None else f" of {snapshot.time_limit_s:.0f}"
    return f"{snapshot.elapsed_s:.0f}{limit} s"


def choose_progress(*, quiet: bool, as_json: bool) -> Progress:
    """The right progress for where stderr goes."""
    if quiet:
        return SilentProgress()
    return TerminalProgress() if sys.stderr.isatty() and not as_json else LineProgress()
