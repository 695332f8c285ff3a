"""A counterexample as SVG: why no order of these operations can have happened, or who held a lock at once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from markupsafe import Markup

from foreshock.reports import svg
from foreshock.reports.counterexample import LEFT, Bar, Layout
from foreshock.reports.operation_text import clip
from foreshock.reports.scales import duration

LANE = 68.0
TOP = 40.0
BAR = 30.0
NOTE_CHARACTERS_MAX = 60
_ACQUIRES = ("acquire", "try_acquire", "timed_acquire", "lock", "try_lock")
_RELEASES = ("release", "unlock")


class Hold(NamedTuple):
    """A stretch in which one process believed that it held the lock."""

    bar: Bar
    left: float
    right: float
    start_ns: int
    end_ns: int | None


def draw(layout: Layout, name: str, title: str) -> Markup:
    """The drawing of a laid out counterexample; ``name`` must be unique in the page."""
    holds = _holds(layout)
    bottom = TOP + len(layout.lanes) * LANE
    body = [
        *_grid(layout, bottom),
        *_overlaps(holds),
        *(part for bar in layout.bars for part in _bar(bar, layout.width)),
        *(part for hold in holds for part in _hold(hold)),
        *_thread(layout),
        *(() if holds else _death(layout, bottom)),
    ]
    words = "; ".join(f"process {bar.operation.process}: {bar.operation.text}" for bar in layout.bars)
    width = max(layout.width + 24, 560)
    return svg.figure(name, width, bottom + 34, title=title, description=words, body=body)


def _grid(layout: Layout, bottom: float) -> Iterator[Markup]:
    for lane, process in enumerate(layout.lanes):
        y = TOP + lane * LANE
        yield svg.line(LEFT - 12, y + BAR / 2, layout.width, y + BAR / 2, "lane-line")
        yield svg.text(f"process {process}", 0, y + 13, "lane-label")
        yield svg.text(clip(layout.lane_nodes[lane], 16), 0, y + 29, "tick")
    last = -1e9
    for place, at_ns in layout.columns:
        yield svg.line(place, TOP - 6, place, bottom - 14, "column")
        if place - last >= 66 and layout.columns:
            yield svg.text(
                f"+{duration(max(at_ns - layout.columns[0][1], 0))}",
                place,
                bottom + 6,
                "tick",
                anchor="middle",
            )
            last = place
    yield svg.text("order of events, with the time since the first", LEFT, bottom + 26, "tick")


def _bar(bar: Bar, edge: float) -> Iterator[Markup]:
    y = TOP + bar.lane * LANE
    operation = bar.operation
    kinds = ["op", operation.outcome]
    kinds += ["core"] if bar.in_core else ["context"]
    kinds += ["impossible"] if bar.impossible else []
    if operation.open:
        # An open right side: it may take effect at any later time.
        outline = f"M{edge:.1f} {y:.1f}H{bar.left + 5:.1f}q-5 0 -5 5v{BAR - 10:.0f}q0 5 5 5H{edge:.1f}"
        shape = svg.element("path", d=outline, class_=" ".join([*kinds, "open"]))
    else:
        width = bar.right - bar.left
        shape = svg.element("rect", x=bar.left, y=y, width=width, height=BAR, rx=5, class_=" ".join(kinds))
    yield shape
    yield svg.text(operation.text, bar.left + 26, y + 19.5, "op-label")
    if bar.needed:
        yield svg.text(clip(bar.needed, NOTE_CHARACTERS_MAX), bar.left + 4, y + BAR + 15, "needed")


def _thread(layout: Layout) -> Iterator[Markup]:
    """The legal order as a thread through the operations, up to the point where it breaks."""
    ordered = sorted((bar for bar in layout.bars if bar.point is not None), key=lambda bar: bar.order or 0)
    points = [(bar.point or 0.0, TOP + bar.lane * LANE + BAR / 2) for bar in ordered]
    if len(points) > 1:
        yield svg.element("path", d=svg.path(points), class_="thread")
    for bar, (x, y) in zip(ordered, points, strict=True):
        yield svg.element("circle", cx=x, cy=y, r=8.5, class_="order")
        yield svg.text(str(bar.order), x, y + 3.8, "order-number", anchor="middle")


def _death(layout: Layout, bottom: float) -> Iterator[Markup]:
    """The return at which the last possible order dies: a line and a cross, with words."""
    if layout.dies_at is None:
        return
    x = layout.dies_at
    yield svg.line(x, TOP - 10, x, bottom - 8, "death")
    anchor = "end" if x > layout.width / 2 else "start"
    yield svg.text(
        "here no order is left", x + (8 if anchor == "start" else -8), TOP - 18, "death-label", anchor=anchor
    )
    for bar in layout.bars:
        if bar.operation is layout.impossible:
            y = TOP + bar.lane * LANE + BAR / 2
            yield svg.element("path", d=f"M{x - 6:.1f} {y - 6:.1f}l12 12m0 -12l-12 12", class_="cross")


def _holds(layout: Layout) -> list[Hold]:
    """Who believed to hold the lock from when to when, where these are operations of a lock."""
    holds = []
    for bar in layout.bars:
        operation = bar.operation
        if operation.f not in _ACQUIRES or operation.open or operation.outcome != "ok":
            continue
        release = next((later for later in layout.bars if _releases(later, bar)), None)
        holds.append(
            Hold(
                bar=bar,
                left=bar.right,
                right=layout.width if release is None else release.left,
                start_ns=operation.complete_ns,
                end_ns=None if release is None else release.operation.invoke_ns,
            )
        )
    return holds


def _releases(later: Bar, bar: Bar) -> bool:
    return (
        later.operation.f in _RELEASES
        and later.operation.process == bar.operation.process
        and later.operation.invoke_index > bar.operation.invoke_index
    )


def _hold(hold: Hold) -> Iterator[Markup]:
    y = TOP + hold.bar.lane * LANE + BAR + 6
    width = max(hold.right - hold.left, 4.0)
    yield svg.element("rect", x=hold.left, y=y, width=width, height=16, rx=3, class_="hold")
    if width > 90:
        yield svg.text("holds the lock", hold.left + 8, y + 12, "hold-label")


def _overlaps(holds: list[Hold]) -> Iterator[Markup]:
    for one, other in combinations(holds, 2):
        left, right = max(one.left, other.left), min(one.right, other.right)
        if left >= right or one.bar.lane == other.bar.lane:
            continue
        top = TOP + min(one.bar.lane, other.bar.lane) * LANE - 8
        bottom = TOP + max(one.bar.lane, other.bar.lane) * LANE + BAR + 28
        yield svg.element("rect", x=left, y=top, width=right - left, height=bottom - top, class_="overlap")
        ends = [end for end in (one.end_ns, other.end_ns) if end is not None]
        since = max(one.start_ns, other.start_ns)
        lasting = f" for {duration(min(ends) - since)}" if ends else ""
        yield svg.text(f"two holders at once{lasting}", left + 4, top - 8, "death-label")
