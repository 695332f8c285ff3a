"""What a person sees while the zoo runs: lines in a pipe; on a terminal the same lines, and a live panel below them."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from foreshock.harness.live_panel import LivePanel, say_on_stderr
from foreshock.harness.request import Request
from foreshock.harness.zoo.document import BugRow
from foreshock.harness.zoo.plan import Survey
from foreshock.harness.zoo.runner import Standing, Watcher
from foreshock.harness.zoo.workers import SimulatedTest

LINES_EVERY_S = 10.0
REDRAW_S = 0.2
REASON_MAX = 160


class LineWatcher(Watcher):
    """Lines on stderr: each hunt that ended, each alarm, and where the run stands every few seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def show(self, standing: Standing) -> None:
        """Say where the run stands when enough time has passed."""
        if time.monotonic() - self._last >= LINES_EVERY_S:
            self._last = time.monotonic()
            self.say(one_line(standing))

    def hunted(self, row: BugRow) -> None:
        """Say how the hunt ended."""
        self.say(hunt_line(row))

    def alarmed(self, survey: Survey, request: Request, result: SimulatedTest) -> None:
        """Say what went wrong with something that is held to be correct."""
        self.say(alarm_line(survey, request, result))

    def say(self, line: str) -> None:
        """One line on stderr."""
        say_on_stderr(line)


class LiveWatcher(LivePanel, LineWatcher):
    """The same lines on a terminal, with a panel below them that shows where the run stands."""

    def __init__(self, console: Console | None = None) -> None:
        LivePanel.__init__(self, console, redraw_s=REDRAW_S)

    def show(self, standing: Standing) -> None:
        """Redraw the panel, a few times a second."""
        self.draw(lambda: _panel(standing))


def one_line(standing: Standing) -> str:
    """Where the run stands, in one line."""
    return (
        f"{standing.elapsed_s:.0f} s  found {standing.found} of {standing.hunts}"
        + (f", missed {standing.missed}" if standing.missed else "")
        + f"  correct {standing.tests} of {standing.planned} tests"
        + (f", {standing.alarms} not valid" if standing.alarms else "")
        + f"  {standing.simulated_s:.0f} simulated s"
    )


def hunt_line(row: BugRow) -> str:
    """How a hunt ended, in one line."""
    if row.found:
        return f"found   {row.name} with seed {row.seed} after {row.seconds:.1f} s: {row.reason[:REASON_MAX]}"
    return f"MISSED  {row.name}: {row.reason[:REASON_MAX]}"


def alarm_line(survey: Survey, request: Request, result: SimulatedTest) -> str:
    """A test of something correct that was not valid, in one line."""
    reason = "; ".join(result.harness_errors) or result.reason
    return (
        f"ALARM   {survey.target} with {request.workload} under {request.nemesis}, seed {request.seed}: "
        f"{result.verdict}: {reason[:REASON_MAX]}"
    )


def _panel(standing: Standing) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(width=40)
    grid.add_column()
    found = f"{standing.found} of {standing.hunts} found" + (
        f", {standing.missed} missed" if standing.missed else ""
    )
    tests = f"{standing.tests} of {standing.planned} tests" + (
        f", {standing.alarms} not valid" if standing.alarms else ", all valid"
    )
    if standing.hunts:
        grid.add_row("exhibits", _bar(standing.found + standing.missed, standing.hunts), found)
    if standing.planned:
        grid.add_row("correct", _bar(standing.tests, standing.planned), tests)
    running = "  ".join(f"{name} ({seconds:.0f} s)" for name, seconds in standing.running)
    grid.add_row("running", "", Text(running, overflow="ellipsis", no_wrap=True))
    grid.add_row("elapsed", "", f"{standing.elapsed_s:.0f} s for {standing.simulated_s:.0f} simulated s")
    return grid


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=total, completed=done, complete_style="cyan", finished_style="cyan")
