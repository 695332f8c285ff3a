"""The live panel on a terminal: where the test stands, its operations, the faults in force, the nodes."""

from __future__ import annotations

from collections import deque
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from foreshock.harness.live_panel import LivePanel
from foreshock.harness.progress import SilentProgress, Snapshot, elapsed

REDRAW_S: Final = 0.1
RATES_SHOWN: Final = 40
BARS: Final = "▁▂▃▄▅▆▇█"
STATE_STYLES: Final = {"running": "green", "paused": "yellow", "killed": "red", "lost": "bold red"}
STATE_SIGNS: Final = {"running": "●", "paused": "‖", "killed": "✗", "lost": "!"}


class TerminalView(LivePanel, SilentProgress):
    """A live panel; the phases stay above it as lines. The panel is gone when the test is over."""

    def __init__(self, console: Console | None = None) -> None:
        LivePanel.__init__(self, console, redraw_s=REDRAW_S)
        self._rates: deque[float] = deque(maxlen=RATES_SHOWN)

    def phase(self, text: str) -> None:
        """A lasting line above the panel."""
        self.say(text)

    def show(self, snapshot: Snapshot) -> None:
        """Redraw the panel, at most ten times a second."""
        self._rates.append(snapshot.rate)
        self.draw(lambda: panel(snapshot, tuple(self._rates)))


def panel(snapshot: Snapshot, rates: tuple[float, ...]) -> RenderableType:
    """The panel of one snapshot; ``rates`` are the last completions per second, for the sparkline."""
    bar = ProgressBar(
        total=snapshot.time_limit_s,
        completed=min(snapshot.elapsed_s, snapshot.time_limit_s or snapshot.elapsed_s),
        pulse=snapshot.time_limit_s is None,
        pulse_style="cyan",
        complete_style="cyan",
        finished_style="cyan",
    )
    operations = Text.assemble(
        ("ok ", "dim"), (f"{snapshot.ok:<8}", "bright_blue"),
        ("fail ", "dim"), (f"{snapshot.fail:<8}", "magenta"),
        ("info ", "dim"), (f"{snapshot.info:<8}", "yellow"),
        ("p50 ", "dim"), f"{snapshot.p50_ms:.1f} ms   ",
        ("p99 ", "dim"), f"{snapshot.p99_ms:.1f} ms",
    )  # fmt: skip
    rate = Text.assemble((sparkline(rates), "bright_blue"), f" {snapshot.rate:.0f}/s")
    faults = Text("none", style="green")
    if snapshot.faults:
        faults = Text(" · ").join(Text(fault, style="red") for fault in snapshot.faults)
    nodes = Text("   ").join(
        Text(f"{STATE_SIGNS.get(state, '?')} {name} {state}", style=STATE_STYLES.get(state, "white"))
        for name, state in snapshot.nodes.items()
    )
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column()
    if snapshot.ok + snapshot.fail + snapshot.info:
        rows.add_row("operations", operations)
        rows.add_row("rate", rate)
        rows.add_row("faults", faults)
    rows.add_row("nodes", nodes if snapshot.nodes else Text("not there yet", style="dim"))
    grid = Table.grid(expand=True)  # a bar alone ends without a line break
    grid.add_row(bar)
    title = f"{snapshot.phase}  {elapsed(snapshot)}"
    return Panel(Group(grid, rows), title=title, title_align="left", border_style="dim")


def sparkline(values: tuple[float, ...]) -> str:
    """The values as bars of eight heights, the greatest the highest."""
    top = max(values, default=0.0)
    if top <= 0:
        return BARS[0] * len(values)
    return "".join(BARS[min(len(BARS) - 1, int(value / top * len(BARS)))] for value in values)
