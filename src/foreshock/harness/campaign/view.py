"""What a person sees while a campaign runs: lines in a pipe; on a terminal the same lines, and a live panel below."""

from __future__ import annotations

import time
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from foreshock.harness.campaign.document import CampaignRow, CampaignTest
from foreshock.harness.campaign.executor import Running
from foreshock.harness.campaign.rows import judged, name_of
from foreshock.harness.campaign.runner import Standing, Watcher
from foreshock.harness.live_panel import LivePanel, say_on_stderr

LINES_EVERY_S: Final = 10.0
REDRAW_S: Final = 0.2
REASON_MAX: Final = 160
RUNNING_SHOWN_MAX: Final = 16
STYLES: Final = {
    "passed": "green",
    "failed": "bold red",
    "flaky": "magenta",
    "error": "yellow",
    "unknown": "yellow",
}


class LineWatcher(Watcher):
    """Lines on stderr: each test that did not pass, and where the campaign stands every few seconds."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def show(self, standing: Standing) -> None:
        """Say where the campaign stands when enough time has passed."""
        if time.monotonic() - self._last_s >= LINES_EVERY_S:
            self._last_s = time.monotonic()
            self.say(one_line(standing))

    def ended(self, row: CampaignRow, test: CampaignTest) -> None:
        """Say what did not pass."""
        if row.outcome != "passed":
            self.say(row_line(row, test))

    def say(self, line: str) -> None:
        """One line on stderr."""
        say_on_stderr(line)


class LiveWatcher(LivePanel, LineWatcher):
    """The same lines on a terminal, with a panel below them that shows where the campaign stands."""

    def __init__(self, console: Console | None = None) -> None:
        LivePanel.__init__(self, console, redraw_s=REDRAW_S)

    def show(self, standing: Standing) -> None:
        """Redraw the panel, a few times a second."""
        self.draw(lambda: panel(standing))


def one_line(standing: Standing) -> str:
    """Where the campaign stands, in one line."""
    of = "" if standing.planned is None else f" of {standing.planned}"
    counts = "  ".join(f"{count} {outcome}" for outcome, count in standing.counts.items())
    left = "" if standing.left_s is None else f", {standing.left_s:.0f} s left"
    running = ", ".join(f"{name_of(one.job.test)} ({one.seconds:.0f} s)" for one in standing.running[:2])
    more = f" and {len(standing.running) - 2} more" if len(standing.running) > 2 else ""
    return (
        f"{standing.elapsed_s:.0f} s{left}  {standing.done}{of} tests done"
        + (f"  {counts}" if counts else "")
        + (f"  running: {running}{more}" if running else "")
        + (f"  ({standing.stopping})" if standing.stopping else "")
    )


def row_line(row: CampaignRow, test: CampaignTest) -> str:
    """What became of a test, in one line."""
    ends = judged(row.attempts)
    worst = max(ends, key=lambda end: end.verdict == row.verdict, default=None)
    reason = row.attempts[-1].error if worst is None else "; ".join(worst.harness_errors) or worst.reason
    if worst is not None and worst.verdict == "invalid":
        reason = worst.reason
    times = f" ({len(row.attempts)} attempts)" if len(row.attempts) > 1 else ""
    reason = reason if len(reason) <= REASON_MAX else f"{reason[: REASON_MAX - 1]}…"
    return f"{row.outcome.upper():<8}{name_of(test)}{times}: {reason}"


def panel(standing: Standing) -> RenderableType:
    """The live panel: how far it is, the outcomes, and each test that runs."""
    head = Table.grid(padding=(0, 2))
    head.add_column(no_wrap=True)
    head.add_column(width=40)
    head.add_column(no_wrap=True)
    total = standing.planned
    of = f"{standing.done} tests" if total is None else f"{standing.done} of {total} tests"
    if standing.left_s is not None:
        total_s = standing.elapsed_s + standing.left_s
        bar = ProgressBar(
            total=total_s, completed=standing.elapsed_s, complete_style="cyan", finished_style="cyan"
        )
        of += f", {standing.left_s:.0f} s left"
    else:
        bar = ProgressBar(
            total=total or 1, completed=standing.done, complete_style="cyan", finished_style="cyan"
        )
    head.add_row(Text("campaign", style="dim"), bar, of)
    counts = Text("  ").join(
        Text(f"{count} {outcome}", style=STYLES.get(outcome, ""))
        for outcome, count in standing.counts.items()
    )
    head.add_row(Text("outcomes", style="dim"), counts, f"{standing.elapsed_s:.0f} s")
    if standing.stopping:
        head.add_row("", Text(f"{standing.stopping}: ending what is under way", style="yellow"), "")
    rows = Table.grid(padding=(0, 2))
    for column in range(6):
        rows.add_column(no_wrap=True, overflow="ellipsis", justify="right" if column in (2, 4) else "left")
    for one in standing.running[:RUNNING_SHOWN_MAX]:
        rows.add_row(*_cells(one))
    if len(standing.running) > RUNNING_SHOWN_MAX:
        rows.add_row("", Text(f"and {len(standing.running) - RUNNING_SHOWN_MAX} more", style="dim"))
    return Group(head, rows)


def _cells(one: Running) -> tuple[RenderableType, ...]:
    again = f" (attempt {one.job.number})" if one.job.number > 1 else ""
    shot = one.snapshot
    operations = faults = ""
    phase = one.phase
    if shot is not None:
        phase = shot.phase
        operations = f"{shot.ok + shot.fail + shot.info} operations  {shot.rate:.0f}/s"
        faults = ", ".join(shot.faults)
    return (
        Text(one.worker, style="dim"),
        Text(name_of(one.job.test) + again),
        f"{one.seconds:.0f} s",
        Text(phase, style="cyan"),
        operations,
        Text(faults, style="red"),
    )
