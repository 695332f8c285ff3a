"""The plots of a run over time, as SVG on one shared time axis: faults, rate, latency, availability."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from foreshock.reports import svg
from foreshock.reports.aggregates import (
    Buckets,
    NodeAvailability,
    availability,
    buckets_for,
    latency_quantiles,
    outcome_counts,
    rates,
)
from foreshock.reports.columns import FAIL, INFO, OK, OUTCOMES, Columns, Floats
from foreshock.reports.fault_windows import FaultWindow
from foreshock.reports.operation_text import clip
from foreshock.reports.scales import (
    NS_PER_MS,
    NS_PER_S,
    NS_PER_US,
    Linear,
    Logarithmic,
    decade_ticks,
    duration,
    nice_step,
    number,
    percent,
)

WIDTH = 1080
LEFT = 92
RIGHT = 72
BANDS_MAX = 300
ROWS_MAX = 8
NODES_MAX = 16
LANES_MAX = 12
LABEL_CHARACTERS_MAX = 12
_UNITS = (("s", NS_PER_S), ("ms", NS_PER_MS), ("µs", NS_PER_US))


class Axis(NamedTuple):
    """The time axis that all plots of a run share, with the fault windows drawn behind each of them."""

    x: Linear
    end_ns: int
    windows: tuple[FaultWindow, ...]
    marks_ns: tuple[int, ...]

    def bands(self, top: float, bottom: float) -> Iterator[Markup]:
        """The fault windows as shaded bands, at most ``BANDS_MAX``, and the violations as lines."""
        for window in self.windows[:BANDS_MAX]:
            left, right = self.x(window.start_ns), self.x(window.end_ns)
            yield svg.element(
                "rect",
                svg.element("title", window.label),
                class_="band",
                x=left,
                y=top,
                width=max(right - left, 1.0),
                height=bottom - top,
                fill=window.color,
            )
        for at in self.marks_ns:
            yield svg.line(self.x(at), top, self.x(at), bottom, "violation-mark")

    def ticks(self, top: float, bottom: float) -> Iterator[Markup]:
        """Grid lines and the times under them."""
        step_ns = nice_step(self.end_ns, 10)
        for index in range(int(self.end_ns / step_ns + 1e-9) + 1):
            at = self.x(index * step_ns)
            yield svg.line(at, top, at, bottom, "grid")
            label = _tick(index * step_ns, step_ns)
            yield svg.text(label, at, bottom + 17, "tick", anchor="middle")


def _tick(at_ns: float, step_ns: float) -> str:
    """A time under an axis, in the unit of the steps, so that 20.5 s does not become 20500 ms."""
    unit, size = next(
        ((name, size) for name, size in _UNITS if step_ns >= size or (name == "s" and at_ns >= 10 * size)),
        _UNITS[-1],
    )
    return "0" if at_ns == 0 else f"{number(float(f'{at_ns / size:.6g}'))} {unit}"


class Plot(NamedTuple):
    """A finished plot with its heading and what to read from it."""

    name: str
    heading: str
    caption: str
    drawing: Markup


def axis_of(columns: Columns, windows: tuple[FaultWindow, ...], marks_ns: Sequence[int]) -> Axis:
    """The axis of a run."""
    x = Linear(0, columns.end_ns, LEFT, WIDTH - RIGHT)
    return Axis(x, columns.end_ns, windows, tuple(sorted(set(marks_ns)))[:20])


def plots_of(columns: Columns, axis: Axis) -> list[Plot]:
    """Every plot that the run has data for."""
    buckets = buckets_for(columns.end_ns)
    plots = [_faults_plot(axis)] if axis.windows else []
    if not columns.total:
        return plots
    plots += [_rate_plot(columns, buckets, axis), _latency_plot(columns, buckets, axis)]
    nodes = availability(columns, buckets)
    return [*plots, _availability_plot(nodes, buckets, axis)] if nodes else plots


def finish(axis: Axis, top: float, bottom: float, body: list[Markup]) -> tuple[float, list[Markup]]:
    """A drawing with the faults and the times of its axis behind it, and how high that is."""
    frame = [*axis.bands(top, bottom), *axis.ticks(top, bottom)]
    return bottom + 28, [*frame, *body]


def _faults_plot(axis: Axis) -> Plot:
    kinds = sorted({window.kind for window in axis.windows})[:LANES_MAX]
    height, body = 24.0, []
    for lane, kind in enumerate(kinds):
        y = 4 + lane * height
        body.append(svg.text(clip(kind, LABEL_CHARACTERS_MAX), LEFT - 12, y + 16, "lane-label", anchor="end"))
        for window in [window for window in axis.windows if window.kind == kind][:BANDS_MAX]:
            left, right = axis.x(window.start_ns), axis.x(window.end_ns)
            body.append(
                svg.element(
                    "rect",
                    svg.element("title", window.label),
                    class_="fault-bar" if window.state != "failed" else "fault-bar failed",
                    x=left,
                    y=y + 4,
                    width=max(right - left, 2.0),
                    height=height - 8,
                    rx=3,
                    fill=window.color,
                )
            )
    bottom = 8 + len(kinds) * height
    total, drawn = finish(axis, 0, bottom, body)
    shown = min(len(axis.windows), BANDS_MAX)
    left_out = (
        f" Only the first {shown} of {len(axis.windows)} are drawn." if shown < len(axis.windows) else ""
    )
    drawing = svg.figure(
        "plot-faults",
        WIDTH,
        total,
        title="Faults over time",
        description="; ".join(window.label for window in axis.windows[:20]),
        body=drawn,
    )
    return Plot("faults", "Faults in force", f"From verified to healed, by kind.{left_out}", drawing)


def _rate_plot(columns: Columns, buckets: Buckets, axis: Axis) -> Plot:
    names = [row.f for row in outcome_counts(columns)][:ROWS_MAX]
    edges = [axis.x(edge) for edge in buckets.edges_ns()]
    row_height, gap = 76.0, 22.0
    body: list[Markup] = []
    for row, name in enumerate(names):
        series = rates(columns, buckets, columns.f_names.index(name))
        top = 12 + row * (row_height + gap)
        body += _rate_row(name, series, edges, top, row_height)
    bottom = 12 + len(names) * (row_height + gap) - gap
    total, drawn = finish(axis, 0, bottom, body)
    hidden = len(columns.f_names) - len(names)
    left_out = f" The {hidden} rarest kinds of operation are not drawn." if hidden else ""
    drawing = svg.figure(
        "plot-rate",
        WIDTH,
        total,
        title="Operations per second by kind and outcome",
        description=f"Completions per second in buckets of {duration(buckets.width_ns)}: {', '.join(names)}.",
        body=drawn,
    )
    caption = (
        f"Completions a second, by kind and outcome, in buckets of {duration(buckets.width_ns)}.{left_out}"
    )
    return Plot("rate", "Rate", caption, drawing)


def _rate_row(name: str, series: Floats, edges: list[float], top: float, height: float) -> Iterator[Markup]:
    peak = float(series.sum(axis=0).max()) or 1.0
    y = Linear(0, peak, top + height, top)
    yield svg.text(
        clip(name, LABEL_CHARACTERS_MAX), LEFT - 12, top + height / 2 + 4, "lane-label", anchor="end"
    )
    low = np.zeros(series.shape[1])
    for outcome in (OK, INFO, FAIL):
        high = low + series[outcome]
        if series[outcome].any():
            area = svg.step_area(edges, [y(value) for value in low], [y(value) for value in high])
            yield svg.element("path", d=area, class_=f"area {OUTCOMES[outcome]}")
        low = high
    yield svg.line(edges[0], top + height, edges[-1], top + height, "baseline")
    yield svg.line(edges[-1] + 4, y(peak), edges[-1] + 9, y(peak), "baseline")
    yield svg.text(f"{number(float(f'{peak:.3g}'))}/s", edges[-1] + 12, y(peak) + 4, "tick")


def _latency_plot(columns: Columns, buckets: Buckets, axis: Axis) -> Plot:
    figures = latency_quantiles(columns, buckets)
    known = figures[np.isfinite(figures) & (figures > 0)]
    low = 10.0 ** math.floor(math.log10(float(known.min()))) if len(known) else NS_PER_MS / 10
    high = max(float(known.max()) * 1.15 if len(known) else NS_PER_S, low * 10)
    top, bottom = 12.0, 212.0
    y = Logarithmic(low, high, bottom, top)
    edges = buckets.edges_ns()
    body: list[Markup] = []
    for tick in decade_ticks(low, high):
        body.append(svg.line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid"))
        body.append(svg.text(duration(tick), LEFT - 12, y(tick) + 4, "tick", anchor="end"))
    labels = []
    for row, name in reversed(list(enumerate(("p50", "p95", "p99", "max")))):
        points = [
            (axis.x((edges[i] + edges[i + 1]) / 2), y(float(value))) if np.isfinite(value) else None
            for i, value in enumerate(figures[row])
        ]
        body.append(svg.element("path", d=svg.path(points), class_=f"quantile {name}"))
        body += [
            svg.element("circle", cx=at[0], cy=at[1], r=1.6, class_=f"dot {name}") for at in _alone(points)
        ]
        last = [point for point in points if point is not None][-1:]
        labels += [(name, last[0][1])] if last else []
    body += _end_labels(labels)
    total, drawn = finish(axis, 0, bottom, body)
    drawing = svg.figure(
        "plot-latency",
        WIDTH,
        total,
        title="Latency quantiles of ok operations over time",
        description="Median, 95th and 99th percentile and greatest latency of each bucket, logarithmic.",
        body=drawn,
    )
    caption = (
        f"Quantiles of ok operations, from call to return, in buckets of {duration(buckets.width_ns)}; the scale is "
        "logarithmic."
    )
    return Plot("latency", "Latency", caption, drawing)


def _alone(points: Sequence[tuple[float, float] | None]) -> list[tuple[float, float]]:
    """The points without a neighbour, which a line alone would not show."""
    padded = [None, *points, None]
    return [
        point
        for before, point, after in zip(padded, padded[1:], padded[2:], strict=False)
        if point is not None and before is None and after is None
    ]


def _end_labels(labels: list[tuple[str, float]]) -> Iterator[Markup]:
    """The lines' names at their right ends, moved apart so that none covers another."""
    floor = -math.inf
    for name, y in sorted(labels, key=lambda label: label[1]):
        floor = max(y + 4, floor + 14)
        yield svg.text(name, WIDTH - RIGHT + 12, floor, f"end-label {name}")


def _availability_plot(nodes: list[NodeAvailability], buckets: Buckets, axis: Axis) -> Plot:
    edges = [axis.x(edge) for edge in buckets.edges_ns()]
    shown, body = nodes[:NODES_MAX], []
    row_height, gap = 22.0, 10.0
    for row, node in enumerate(shown):
        top = 8 + row * (row_height + gap)
        bottom = top + row_height
        body.append(
            svg.text(
                clip(node.node, LABEL_CHARACTERS_MAX),
                LEFT - 12,
                top + row_height / 2 + 4,
                "lane-label",
                anchor="end",
            )
        )
        heights = [bottom - (value * row_height if np.isfinite(value) else 0.0) for value in node.series]
        area = svg.step_area(edges, [bottom] * len(heights), heights)
        body.append(svg.element("path", d=area, class_="area ok"))
        body.append(svg.line(edges[0], bottom, edges[-1], bottom, "baseline"))
        body.append(svg.text(percent(node.share), edges[-1] + 12, bottom - 5, "tick"))
    foot = 8 + len(shown) * (row_height + gap)
    total, drawn = finish(axis, 0, foot, body)
    hidden = len(nodes) - len(shown)
    left_out = f" {hidden} more nodes are not drawn." if hidden else ""
    drawing = svg.figure(
        "plot-availability",
        WIDTH,
        total,
        title="Availability by node over time",
        description="; ".join(f"{node.node}: {percent(node.share)} of operations ok" for node in shown),
        body=drawn,
    )
    caption = (
        f"The share of the operations sent to each node that ended ok; a full bar is all of them. Clients that "
        f"wait send few, so an outage weighs little in the shares at the right.{left_out}"
    )
    return Plot("availability", "Availability by node", caption, drawing)
