"""Two runs on one scale: their faults, rate and latency over time, and how their latencies are spread."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from markupsafe import Markup

from foreshock.reports import svg
from foreshock.reports.aggregates import Buckets, buckets_for, latency_quantiles, rates
from foreshock.reports.columns import OK, Floats
from foreshock.reports.compare_runs import ReadRun
from foreshock.reports.operation_text import clip
from foreshock.reports.plots import Plot
from foreshock.reports.scales import (
    NS_PER_S,
    Linear,
    Logarithmic,
    decade_ticks,
    duration,
    linear_ticks,
    nice_step,
    number,
)

WIDTH: Final = 1080.0
LEFT, RIGHT = 92.0, 72.0
BANDS_MAX = 300
LANES_MAX = 12
STEPS = 240
SIDES: Final = ("a", "b")
"""The classes of the first and the second run; their letters stand beside their lines."""


def plots_of(first: ReadRun, second: ReadRun) -> list[Plot]:
    """Every plot that the two have data for."""
    sides = (first, second)
    end_ns = max(side.columns.end_ns for side in sides)
    x = Linear(0, end_ns, LEFT, WIDTH - RIGHT)
    plots = []
    if any(side.windows for side in sides):
        plots.append(_faults_plot(sides, x, end_ns))
    if not any(side.columns.total for side in sides):
        return plots
    buckets = buckets_for(end_ns, 120)
    plots.append(_rate_plot(sides, x, buckets))
    quantiles = [latency_quantiles(side.columns, buckets) for side in sides]
    for row, name, heading in ((0, "p50", "Median latency"), (2, "p99", "99th percentile of latency")):
        plot = _latency_plot([each[row] for each in quantiles], sides, x, buckets, name, heading)
        plots += [plot] if plot is not None else []
    spread = _spread_plot(sides)
    return [*plots, spread] if spread is not None else plots


def _times(x: Linear, end_ns: float, top: float, bottom: float) -> Iterator[Markup]:
    step_ns = nice_step(end_ns, 10)
    for index in range(int(end_ns / step_ns + 1e-9) + 1):
        at = x(index * step_ns)
        yield svg.line(at, top, at, bottom, "grid")
        seconds = number(float(f"{index * step_ns / NS_PER_S:.6g}"))
        yield svg.text("0" if index == 0 else f"{seconds} s", at, bottom + 17, "tick", anchor="middle")


def _faults_plot(sides: Sequence[ReadRun], x: Linear, end_ns: int) -> Plot:
    kinds = sorted({window.kind for side in sides for window in side.windows})[:LANES_MAX]
    height, bar = 34.0, 11.0
    body: list[Markup] = []
    for lane, kind in enumerate(kinds):
        top = 4 + lane * height
        body.append(svg.text(clip(kind, 12), LEFT - 26, top + 19, "lane-label", anchor="end"))
        for row, side in enumerate(sides):
            y = top + 2 + row * (bar + 3)
            body.append(svg.text("AB"[row], LEFT - 10, y + 9.5, f"side-label {SIDES[row]}", anchor="end"))
            body += _bars(side, kind, x, y, bar)
    bottom = 6 + len(kinds) * height
    frame = list(_times(x, end_ns, 0, bottom))
    described = "; ".join(
        f"{letter}: {len(side.windows)} faults" for letter, side in zip("AB", sides, strict=True)
    )
    drawing = svg.figure(
        "plot-faults",
        WIDTH,
        bottom + 28,
        title="Faults of both runs",
        description=described,
        body=[*frame, *body],
    )
    return Plot("faults", "Faults in force", "From verified to healed, by kind: A above, B below.", drawing)


def _bars(side: ReadRun, kind: str, x: Linear, y: float, height: float) -> Iterator[Markup]:
    for window in [window for window in side.windows if window.kind == kind][:BANDS_MAX]:
        left, right = x(window.start_ns), x(window.end_ns)
        yield svg.element(
            "rect",
            svg.element("title", window.label),
            class_="fault-bar",
            x=left,
            y=y,
            width=max(right - left, 2.0),
            height=height,
            rx=2,
            fill=window.color,
        )


def _strips(sides: Sequence[ReadRun], x: Linear, top: float) -> Iterator[Markup]:
    """Under a plot, when faults were in force: a strip of each run."""
    for row, side in enumerate(sides):
        y = top + row * 9
        yield svg.text("AB"[row], WIDTH - RIGHT + 6, y + 7, f"side-label {SIDES[row]}")
        for window in side.windows[:BANDS_MAX]:
            left, right = x(window.start_ns), x(window.end_ns)
            title = svg.element("title", f"{'AB'[row]}: {window.label}")
            yield svg.element(
                "rect",
                title,
                class_="strip",
                x=left,
                y=y,
                width=max(right - left, 1.0),
                height=7,
                fill=window.color,
            )


def _lines(series: Sequence[Sequence[tuple[float, float] | None]], labels: Sequence[str]) -> Iterator[Markup]:
    """The lines of both, the first dashed, with their letters and a word at their right ends."""
    ends = []
    for side, points in zip(SIDES, series, strict=True):
        yield svg.element("path", d=svg.path(points), class_=f"series {side}")
        last = [point for point in points if point is not None][-1:]
        ends += [(last[0][1], last[0][0], side)] if last else []
    before: tuple[float, float] | None = None
    for y, x, side in sorted(ends):
        # Where both end at the same place, one letter makes room for the other.
        close = before is not None and abs(x - before[0]) < 16
        floor = max(y + 4, before[1] + 14) if before is not None and close else y + 4
        before = (x, floor)
        yield svg.text(labels[SIDES.index(side)], x + 7, floor, f"side-label {side}")


def _rate_plot(sides: Sequence[ReadRun], x: Linear, buckets: Buckets) -> Plot:
    every = [rates(side.columns, buckets, None)[OK] for side in sides]
    peak = max(float(series.max()) for series in every) or 1.0
    top, bottom = 12.0, 172.0
    y = Linear(0, peak * 1.05, bottom, top)
    body: list[Markup] = []
    for tick in linear_ticks(peak, 4):
        body.append(svg.line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid"))
        body.append(svg.text(number(float(f"{tick:.3g}")), LEFT - 12, y(tick) + 4, "tick", anchor="end"))
    lines = [
        _points(series, buckets, x, y, side.columns.end_ns) for series, side in zip(every, sides, strict=True)
    ]
    body += _lines(lines, ("A", "B"))
    caption = f"ok operations a second, in buckets of {duration(buckets.width_ns)}; the strips are the faults of each."
    return _over_time("rate", "Rate", caption, sides, x, body, top, bottom)


def _points(
    series: Floats, buckets: Buckets, x: Linear, y: Linear | Logarithmic, end_ns: int
) -> list[tuple[float, float] | None]:
    """The middle of each bucket, up to the end of its run."""
    edges = buckets.edges_ns()
    return [
        (x((edges[at] + edges[at + 1]) / 2), y(float(value)))
        if math.isfinite(value) and edges[at] < end_ns
        else None
        for at, value in enumerate(series.tolist())
    ]


def _latency_plot(
    series: Sequence[Floats], sides: Sequence[ReadRun], x: Linear, buckets: Buckets, name: str, heading: str
) -> Plot | None:
    known = np.concatenate([each[np.isfinite(each) & (each > 0)] for each in series])
    if not len(known):
        return None
    low = 10.0 ** math.floor(math.log10(float(known.min())))
    high = max(float(known.max()) * 1.15, low * 10)
    top, bottom = 12.0, 172.0
    y = Logarithmic(low, high, bottom, top)
    body: list[Markup] = []
    for tick in decade_ticks(low, high):
        body.append(svg.line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid"))
        body.append(svg.text(duration(tick), LEFT - 12, y(tick) + 4, "tick", anchor="end"))
    lines = [
        _points(each, buckets, x, y, side.columns.end_ns) for each, side in zip(series, sides, strict=True)
    ]
    body += _lines(lines, ("A", "B"))
    body += [
        svg.element("circle", cx=at[0], cy=at[1], r=1.6, class_=f"series-dot {side}")
        for side, points in zip(SIDES, lines, strict=True)
        for before, at, after in zip([None, *points], points, [*points[1:], None], strict=False)
        if at is not None and before is None and after is None
    ]
    caption = f"Of ok operations, in buckets of {duration(buckets.width_ns)}, on a logarithmic scale."
    return _over_time(name, heading, caption, sides, x, body, top, bottom)


def _over_time(
    name: str,
    heading: str,
    caption: str,
    sides: Sequence[ReadRun],
    x: Linear,
    body: Sequence[Markup],
    top: float,
    bottom: float,
) -> Plot:
    end_ns = max(side.columns.end_ns for side in sides)
    strips = list(_strips(sides, x, bottom + 6)) if any(side.windows for side in sides) else []
    foot = bottom + (26 if strips else 0)
    drawing = svg.figure(
        f"plot-{name}",
        WIDTH,
        foot + 28,
        title=f"{heading} of both runs over time",
        description=caption,
        body=[*_times(x, end_ns, top, foot), *strips, *body],
    )
    return Plot(name, heading, caption, drawing)


def _spread_plot(sides: Sequence[ReadRun]) -> Plot | None:
    """The share of operations that took longer than each latency: tails, where averages say nothing."""
    sorted_ns = []
    for side in sides:
        ok = (side.columns.outcome == OK) & side.columns.completed
        sorted_ns.append(np.sort(np.maximum(side.columns.latency_ns[ok], 1)))
    if not all(len(each) for each in sorted_ns):
        return None
    low, high = min(float(each[0]) for each in sorted_ns), max(float(each[-1]) for each in sorted_ns) * 1.05
    least = 1 / max(len(each) for each in sorted_ns)
    top, bottom = 12.0, 212.0
    x, y = Logarithmic(low, max(high, low * 2), LEFT, WIDTH - RIGHT), Logarithmic(least, 1.0, bottom, top)
    body: list[Markup] = []
    for share in decade_ticks(least, 1.0):
        body.append(svg.line(LEFT, y(share), WIDTH - RIGHT, y(share), "grid"))
        label = f"{number(share * 100)} %"
        body.append(svg.text(label, LEFT - 12, y(share) + 4, "tick", anchor="end"))
    for tick in decade_ticks(low, high):
        body.append(svg.line(x(tick), top, x(tick), bottom, "grid"))
        body.append(svg.text(duration(tick), x(tick), bottom + 17, "tick", anchor="middle"))
    grid = np.geomspace(low, high, STEPS)
    for letter, each in zip(SIDES, sorted_ns, strict=True):
        longer = 1 - np.searchsorted(each, grid, side="right") / len(each)
        points = [
            (x(float(at)), y(float(share))) for at, share in zip(grid, longer, strict=True) if share > 0
        ]
        body.append(svg.element("path", d=svg.path(points), class_=f"series {letter}"))
        if points:
            body.append(svg.text(letter.upper(), points[-1][0] + 8, points[-1][1], f"side-label {letter}"))
    caption = "The share of ok operations that took longer than each latency; both scales are logarithmic."
    drawing = svg.figure(
        "plot-spread",
        WIDTH,
        bottom + 28,
        title="How the latencies of both runs are spread",
        description=caption,
        body=body,
    )
    return Plot("spread", "Spread of latency", caption, drawing)
