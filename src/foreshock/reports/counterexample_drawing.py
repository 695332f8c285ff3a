"""A counterexample as SVG: why no order of these operations can have happened, or who held a lock at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from markupsafe import Markup

from foreshock.reports import svg
from foreshock.reports.counterexample import LEFT, Bar, Layout
from foreshock.reports.lock_holds import Hold, holds_of, overlaps_of
from foreshock.reports.operation_text import clip
from foreshock.reports.scales import duration

TOP = 54.0
LANE = 78.0
LABEL = 14.0
"""The height of an operation's words above its bar."""
BAR = 22.0
NOTE_CHARACTERS_MAX = 60
_TIME_LABELS_APART = 70.0


def draw(layout: Layout, name: str, title: str) -> Markup:
    """The drawing of a laid out counterexample; ``name`` must be unique in the page."""
    holds = holds_of(layout)
    bottom = TOP + len(layout.lanes) * LANE + (10 if holds else 0)
    body = [
        *_grid(layout, bottom),
        *_overlaps(holds),
        *(() if holds else _death(layout, bottom)),
        *(_bar(bar, layout.width) for bar in layout.bars),
        *_thread(layout),
        *(words for bar in layout.bars for words in _words(bar, layout.width, holds)),
        *(part for hold in holds for part in _hold(hold)),
        *_order(layout),
        *(() if holds else _cross(layout)),
    ]
    words = "; ".join(f"process {bar.operation.process}: {bar.operation.text}" for bar in layout.bars)
    width = max(layout.width + 24, 560)
    return svg.figure(name, width, bottom + 34, title=title, description=words, body=body)


def _bar_top(lane: int) -> float:
    return TOP + lane * LANE + LABEL


def _grid(layout: Layout, bottom: float) -> Iterator[Markup]:
    for lane, process in enumerate(layout.lanes):
        middle = _bar_top(lane) + BAR / 2
        yield svg.line(LEFT - 12, middle, layout.width, middle, "lane-line")
        yield svg.text(f"process {process}", 0, middle, "lane-label")
        yield svg.text(clip(layout.lane_nodes[lane], 16), 0, middle + 15, "tick")
    last = -_TIME_LABELS_APART
    for place, at in layout.columns:
        yield svg.line(place, TOP - 10, place, bottom - 8, "column")
        if place - last >= _TIME_LABELS_APART:
            yield svg.text(_tick(layout, at), place, bottom + 8, "tick", anchor="middle")
            last = place
    caption = (
        "events in their order, with the time since the first"
        if layout.timed
        else "events in their order, by their numbers (from 0); the history has no times"
    )
    yield svg.text(caption, LEFT, bottom + 28, "tick")


def _tick(layout: Layout, at: int) -> str:
    if not layout.timed:
        return str(at)
    since = max(at - layout.columns[0][1], 0)
    return f"+{duration(since)}" if since else "0"


def _bar(bar: Bar, edge: float) -> Markup:
    y, operation = _bar_top(bar.lane), bar.operation
    kinds = ["op", operation.outcome, "core" if bar.in_core else "context"]
    kinds += ["impossible"] if bar.impossible else []
    if operation.open:
        # An open right side: it may take effect at any later time.
        outline = f"M{edge:.1f} {y:.1f}H{bar.left + 5:.1f}q-5 0 -5 5v{BAR - 10:.0f}q0 5 5 5H{edge:.1f}"
        return svg.element("path", d=outline, class_=" ".join([*kinds, "open"]))
    size = {"x": bar.left, "y": y, "width": bar.right - bar.left, "height": BAR}
    return svg.element("rect", class_=" ".join(kinds), rx=5, **size)


def _words(bar: Bar, edge: float, holds: Sequence[Hold]) -> Iterator[Markup]:
    y, operation = _bar_top(bar.lane), bar.operation
    yield svg.text(operation.text, bar.left + 1, y - 6, "op-label" if bar.in_core else "op-label context")
    if bar.needed:
        note = "needed" if bar.impossible else "needed pending"
        anchor, x = ("end", bar.right - 10) if bar.right > edge * 0.7 else ("start", bar.left + 1)
        content = clip(f"needed {bar.needed}", NOTE_CHARACTERS_MAX)
        below = (
            38 if any(hold.lane == bar.lane for hold in holds) else 15
        )  # below the bar of what its process holds
        yield svg.text(content, x, y + BAR + below, note, anchor=anchor)


def _ordered(layout: Layout) -> list[tuple[Bar, float, float]]:
    """The bars of the legal order, with the place on each at which it takes effect."""
    ordered = sorted((bar for bar in layout.bars if bar.point is not None), key=lambda bar: bar.order or 0)
    return [(bar, bar.point or 0.0, _bar_top(bar.lane) + BAR / 2) for bar in ordered]


def _thread(layout: Layout) -> Iterator[Markup]:
    """The legal order as a thread through the operations; broken where those between them are not drawn."""
    for (one, *start), (other, *end) in pairwise(_ordered(layout)):
        kind = "thread" if other.order == (one.order or 0) + 1 else "thread gap"
        yield svg.element("path", d=svg.path([(start[0], start[1]), (end[0], end[1])]), class_=kind)


def _order(layout: Layout) -> Iterator[Markup]:
    for bar, x, y in _ordered(layout):
        digits = len(str(bar.order))
        size = {"x": x - 5 - 3.5 * digits, "y": y - 8.5, "width": 10 + 7.0 * digits, "height": 17.0}
        yield svg.element("rect", rx=8.5, class_="order", **size)
        yield svg.text(str(bar.order), x, y + 3.8, "order-number", anchor="middle")


def _death(layout: Layout, bottom: float) -> Iterator[Markup]:
    """The return at which the last possible order dies, as a line with words."""
    if layout.dies_at is None:
        return
    x = layout.dies_at
    yield svg.line(x, 22, x, bottom - 8, "death")
    anchor, side = ("end", -8) if x > layout.width / 2 else ("start", 8)
    yield svg.text("at this return no order is left", x + side, 26, "death-label", anchor=anchor)


def _cross(layout: Layout) -> Iterator[Markup]:
    for bar in layout.bars:
        if bar.impossible and layout.dies_at is not None:
            x, y = layout.dies_at, _bar_top(bar.lane) + BAR / 2
            yield svg.element("path", d=f"M{x - 6:.1f} {y - 6:.1f}l12 12m0 -12l-12 12", class_="cross")


def _hold(hold: Hold) -> Iterator[Markup]:
    """A belief as a dark bar under the operations that began and ended it."""
    y = _bar_top(hold.lane) + BAR + 7
    width = max(hold.right - hold.left, 4.0)
    yield svg.element("rect", x=hold.left, y=y, width=width, height=18, rx=3, class_="hold")
    label = f"holds the lock, token {hold.token}" if hold.token else "holds the lock"
    if width > len(label) * 6.4 + 16:
        yield svg.text(label, hold.left + 8, y + 13, "hold-label")


def _overlaps(holds: Sequence[Hold]) -> Iterator[Markup]:
    for overlap in overlaps_of(holds):
        top, bottom = TOP + overlap.top_lane * LANE - 10, _bar_top(overlap.bottom_lane) + BAR + 32
        size = {"x": overlap.left, "y": top, "width": overlap.right - overlap.left, "height": bottom - top}
        yield svg.element("rect", class_="overlap", **size)
        lasting = "" if overlap.lasting_ns is None else f" for {duration(overlap.lasting_ns)}"
        yield svg.text(f"two holders at once{lasting}", overlap.left, top - 10, "death-label")
