"""The run at a glance, drawn as what a foreshock is seen on: a trace that swings with latency and failures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup

from foreshock.reports import svg
from foreshock.reports.aggregates import Buckets, buckets_for
from foreshock.reports.columns import OK, Columns, Floats
from foreshock.reports.fault_windows import FaultWindow
from foreshock.reports.scales import NS_PER_US, Linear, duration

WIDTH = 1080.0
HEIGHT = 92.0
MIDDLE = 46.0
REACH = 38.0
STROKES = 360
BANDS_MAX = 300
_CALM = 0.04


def seismogram(columns: Columns, windows: Sequence[FaultWindow], violations_ns: Sequence[int]) -> Markup:
    """A trace of the whole run with its faults as bands and its violations as needles."""
    x = Linear(0, columns.end_ns, 0, WIDTH)
    described = f"{columns.total} operations in {duration(columns.end_ns)}, {len(windows)} faults"
    if violations_ns:
        described += f", {len(violations_ns)} violations"
    return svg.figure(
        "seismogram",
        WIDTH,
        HEIGHT,
        title="The run at a glance",
        description=f"{described}. The trace swings with the slowest operation and with what failed.",
        body=[*_bands(windows, x), *_trace(columns, x), *_needles(violations_ns, x)],
        stretches=True,
    )


def _bands(windows: Sequence[FaultWindow], x: Linear) -> Iterator[Markup]:
    for window in windows[:BANDS_MAX]:
        left, right = x(window.start_ns), x(window.end_ns)
        yield svg.element(
            "rect",
            svg.element("title", window.label),
            class_="band",
            x=left,
            y=0,
            width=max(right - left, 1.0),
            height=HEIGHT,
            fill=window.color,
        )


def _trace(columns: Columns, x: Linear) -> Iterator[Markup]:
    buckets = buckets_for(columns.end_ns, STROKES)
    swing = _swing(columns, buckets)
    edges = buckets.edges_ns()
    points = []
    for index, share in enumerate(swing.tolist()):
        # Each bucket is one stroke up and one down, as a needle would write it.
        places = (
            edges[index] * 0.75 + edges[index + 1] * 0.25,
            edges[index] * 0.25 + edges[index + 1] * 0.75,
        )
        points += [(x(places[0]), MIDDLE - share * REACH), (x(places[1]), MIDDLE + share * REACH)]
    yield svg.line(0, MIDDLE, WIDTH, MIDDLE, "baseline")
    yield svg.element("path", d=svg.path(points), class_="trace")


def _swing(columns: Columns, buckets: Buckets) -> Floats:
    """How far the trace swings in each bucket, 0 to 1: by the slowest operation, logarithmically."""
    slowest = np.zeros(buckets.size)
    np.maximum.at(slowest, buckets.of(columns.settled_ns), columns.latency_ns.astype(np.float64))
    troubled = np.bincount(buckets.of(columns.settled_ns[columns.outcome != OK]), minlength=buckets.size) > 0
    if not columns.total:
        return np.full(buckets.size, 0.0)
    usual = max(float(np.median(columns.latency_ns)), NS_PER_US)
    most = max(float(slowest.max()), usual * 10)
    share = np.log(np.maximum(slowest, usual) / usual) / math.log(most / usual)
    return np.where(slowest > 0, np.clip(_CALM + share * share, 0, 1) * np.where(troubled, 1.0, 0.7), 0.0)


def _needles(violations_ns: Sequence[int], x: Linear) -> Iterator[Markup]:
    for at_ns in sorted(set(violations_ns))[:20]:
        at = x(at_ns)
        yield svg.line(at, 0, at, HEIGHT, "needle")
        yield svg.element("path", d=f"M{at - 5:.1f} 0h10l-5 8z", class_="needle-head")
