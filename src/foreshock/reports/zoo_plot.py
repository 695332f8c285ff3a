"""How soon each exhibit of the zoo was found: tests against the budget, and the seconds that they took."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from foreshock.harness.zoo.document import BugRow
from foreshock.reports import svg
from foreshock.reports.operation_text import clip
from foreshock.reports.plots import Plot
from foreshock.reports.scales import NS_PER_S, Logarithmic, counted, decade_ticks, duration

WIDTH, LEFT, RIGHT = 1080.0, 250.0, 190.0
ROW = 19.0
ROWS_MAX = 120
NAME_CHARACTERS_MAX = 36


def hunts_plot(rows: Sequence[BugRow]) -> Plot | None:
    """Every hunt that was begun, those that took longest first; nothing where there was none."""
    hunted = sorted((row for row in rows if row.tests), key=lambda row: (row.found, -row.seconds))[:ROWS_MAX]
    if not hunted:
        return None
    seconds = [max(row.seconds, 0.01) for row in hunted]
    low, high = min(seconds) / 1.3, max(max(seconds) * 1.3, min(seconds) * 4)
    x = Logarithmic(low, high, LEFT, WIDTH - RIGHT)
    bottom = 10 + ROW * len(hunted)
    body: list[Markup] = []
    for tick in decade_ticks(low, high):
        body.append(svg.line(x(tick), 4, x(tick), bottom, "grid"))
        body.append(svg.text(duration(tick * NS_PER_S), x(tick), bottom + 17, "tick", anchor="middle"))
    for at, row in enumerate(hunted):
        y = 10 + ROW * (at + 0.5)
        body += _hunt(row, x, y)
    left_out = len(rows) - len(hunted)
    caption = "Seconds of all tests of each hunt, on a logarithmic scale; the seed, and how many tests of the budget."
    if left_out:
        caption += f" {counted(left_out, 'exhibit')} without a hunt."
    described = "; ".join(
        f"{row.name}: {'found' if row.found else 'missed'} in {counted(row.tests, 'test')}"
        for row in hunted[:60]
    )
    drawing = svg.figure(
        "plot-hunts",
        WIDTH,
        bottom + 28,
        title="How soon each exhibit was found",
        description=described,
        body=body,
    )
    return Plot("hunts", "How soon each was found", caption, drawing)


def _hunt(row: BugRow, x: Logarithmic, y: float) -> list[Markup]:
    end = x(max(row.seconds, 0.01))
    kind = "found" if row.found else "missed"
    seed = f"seed {row.seed}, " if row.found and row.seed is not None else ""
    told = f"{duration(row.seconds * NS_PER_S)} · {seed}{row.tests} of {row.budget}"
    # A cross where it was missed, and a disc where it was found: the shape says it, too.
    sign = (
        svg.element("circle", cx=end, cy=y, r=4.5, class_="hunt-sign found")
        if row.found
        else svg.element("path", d=f"M{end - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8", class_="hunt-sign missed")
    )
    return [
        svg.text(clip(row.name, NAME_CHARACTERS_MAX), LEFT - 12, y + 4, "hunt-name", anchor="end"),
        svg.line(LEFT, y, end, y, f"hunt {kind}"),
        sign,
        svg.text(told, end + 10, y + 4, "tick told"),
    ]
