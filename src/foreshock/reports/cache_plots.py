"""The drawings of a cache: ages of what was read, hits and the origin's load over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from markupsafe import Markup

from foreshock.reports import svg
from foreshock.reports.aggregates import Buckets
from foreshock.reports.columns import Columns, Integers
from foreshock.reports.plots import LEFT, RIGHT, WIDTH, Axis, Plot, finish
from foreshock.reports.read_ages import Ages
from foreshock.reports.scales import (
    NS_PER_MS,
    NS_PER_S,
    Linear,
    Logarithmic,
    counted,
    decade_ticks,
    duration,
    number,
    percent,
)

HEIGHT = 150.0
VERSIONS_NAMED = 4
HALF = (WIDTH - LEFT - RIGHT - 60) / 2
_BARS_MAX = 40


def ages_plot(ages: Ages, bound_ns: int | None) -> Plot:
    """Two histograms: how long, and by how many versions, what was read had been overwritten."""
    edges = _time_edges(int(ages.age_ns.max(initial=0)))
    times = np.bincount(np.searchsorted(edges, ages.age_ns), minlength=len(edges))
    names = ["current", *(f"≤ {duration(edge)}" for edge in edges[1:])]
    bound = None if bound_ns is None else float(np.searchsorted(edges, bound_ns, side="right"))
    body = list(_bars(times.tolist(), names, LEFT, "time behind", bound))
    behind, labels = _versions(ages.age_versions)
    body += _bars(behind, labels, LEFT + HALF + 60, "versions behind", None)
    told = "; ".join(
        f"{name}: {number(count)}" for name, count in zip(names, times.tolist(), strict=True) if count
    )
    drawing = svg.figure(
        "plot-ages", WIDTH, HEIGHT + 60, title="How old what gets returned was", description=told, body=body
    )
    caption = (
        "Left by time, right by versions: for how long, and how often, what a get returned had certainly "
        "been overwritten when it was called."
    )
    return Plot("ages", "How old what was read was", caption, drawing)


def _time_edges(most_ns: int) -> Integers:
    """0, then powers of two of a millisecond up to the greatest age."""
    edges = [0, NS_PER_MS]
    while edges[-1] < most_ns and len(edges) < _BARS_MAX:
        edges.append(edges[-1] * 2)
    return np.array(edges, dtype=np.int64)


def _versions(age_versions: Integers) -> tuple[list[int], list[str]]:
    """How many gets were how many versions behind: each of the first few, then powers of two."""
    known = age_versions[age_versions >= 0]
    edges = list(range(min(int(known.max(initial=0)), VERSIONS_NAMED) + 1))
    while edges[-1] < int(known.max(initial=0)) and len(edges) < _BARS_MAX:
        edges.append(max(edges[-1] * 2, 1))
    counts = np.bincount(np.searchsorted(edges, known), minlength=len(edges)).tolist()
    names = [str(edge) if edge <= VERSIONS_NAMED else f"≤ {edge}" for edge in edges]
    return counts, names


def _bars(
    counts: Sequence[int], names: Sequence[str], left: float, what: str, bound: float | None
) -> Iterator[Markup]:
    """Upright bars whose heights go by the logarithm, so that one get in a thousand is seen; each has its count."""
    most = max(*counts, 1)
    x = Linear(0, len(counts), left, left + HALF)
    y = Linear(0, float(np.log10(most + 1)), HEIGHT, 22)
    step = HALF / len(counts)
    every = max(1, -(-44 // int(max(step, 1))))
    for place, (count, name) in enumerate(zip(counts, names, strict=True)):
        at, top = x(place), y(float(np.log10(count + 1)))
        if count:
            title = svg.element("title", f"{name}, {what}: {counted(count, 'get')}")
            kind = "area ok" if place == 0 else "area info" if bound is None or place < bound else "area dead"
            size = {"x": at + 1.5, "y": top, "width": max(step - 3, 1.0), "height": max(HEIGHT - top, 1.0)}
            yield svg.element("rect", title, class_=kind, **size)
            if step >= 22:
                yield svg.text(
                    number(count) if count < 100_000 else f"{count:.1e}",
                    at + step / 2,
                    top - 5,
                    "tick",
                    anchor="middle",
                )
        if place % every == 0 or (place == len(counts) - 1 and place % every > every / 2):
            yield svg.text(name, at + step / 2, HEIGHT + 17, "tick", anchor="middle")
    yield svg.line(left, HEIGHT, left + HALF, HEIGHT, "baseline")
    yield svg.text(f"{what}; gets by height, on a logarithmic scale", left, HEIGHT + 38, "tick")
    if bound is not None:
        at = x(bound)
        yield svg.line(at, 12, at, HEIGHT, "needle")
        anchor = "end" if bound > len(counts) * 0.7 else "start"
        yield svg.text("bound", at + (-5 if anchor == "end" else 5), 12, "death-label", anchor=anchor)


def ages_over_time_plot(
    columns: Columns, ages: Ages, buckets: Buckets, axis: Axis, bound_ns: int | None
) -> Plot:
    """The greatest age in each bucket of time, and which share of the gets were old at all."""
    bucket = buckets.of(columns.invoke_ns[ages.position])
    oldest = np.zeros(buckets.size, dtype=np.int64)
    np.maximum.at(oldest, bucket, ages.age_ns)
    gets = np.bincount(bucket, minlength=buckets.size)
    stale = np.bincount(bucket[ages.age_versions != 0], minlength=buckets.size)
    edges = [axis.x(edge) for edge in buckets.edges_ns()]
    top, middle, bottom = 12.0, 132.0, 196.0
    high = max(float(oldest.max(initial=0)), NS_PER_MS * 10.0, float(bound_ns or 0)) * 1.2
    y = Logarithmic(NS_PER_MS / 10, high, middle, top)
    body: list[Markup] = [svg.text("oldest", LEFT - 12, top + 12, "lane-label", anchor="end")]
    for tick in decade_ticks(NS_PER_MS / 10, high):
        body.append(svg.line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid"))
        if y(tick) > top + 22:
            body.append(svg.text(duration(tick), LEFT - 12, y(tick) + 4, "tick", anchor="end"))
    heights = [y(float(age)) if age > 0 else middle for age in oldest.tolist()]
    body.append(
        svg.element("path", d=svg.step_area(edges, [middle] * len(heights), heights), class_="area info")
    )
    if bound_ns is not None:
        body.append(svg.line(LEFT, y(bound_ns), WIDTH - RIGHT, y(bound_ns), "needle"))
        body.append(svg.text("bound", WIDTH - RIGHT + 12, y(bound_ns) + 4, "death-label"))
    share = Linear(0, 1, bottom, middle + 16)
    shares = [
        share(old / all_) if all_ else bottom for old, all_ in zip(stale.tolist(), gets.tolist(), strict=True)
    ]
    body.append(svg.text("share old", LEFT - 12, middle + 44, "lane-label", anchor="end"))
    body.append(
        svg.element("path", d=svg.step_area(edges, [bottom] * len(shares), shares), class_="area info")
    )
    body.append(svg.line(LEFT, middle, WIDTH - RIGHT, middle, "baseline"))
    body.append(svg.text("100 %", WIDTH - RIGHT + 12, middle + 20, "tick"))
    total, drawn = finish(axis, 0, bottom, body)
    drawing = svg.figure(
        "plot-ages-over-time",
        WIDTH,
        total,
        title="Old reads over time",
        description=f"The oldest answer was {duration(int(ages.age_ns.max(initial=0)))} behind.",
        body=drawn,
    )
    caption = (
        f"The oldest answer, and the share of gets with old ones, in buckets of {duration(buckets.width_ns)}."
    )
    return Plot("ages-over-time", "Old reads over time", caption, drawing)


def hits_plot(series: Mapping[str, Integers], axis: Axis) -> Plot:
    """Which share of the gets were answered from a copy."""
    gets = series["hits"] + series["misses"] + series["bypasses"]
    edges = _edges(series, axis)
    top, bottom = 12.0, 92.0
    shares = [
        hits / all_ if all_ else 0.0
        for hits, all_ in zip(series["hits"].tolist(), gets.tolist(), strict=True)
    ]
    y = Linear(0, 1, bottom, top)
    area = svg.step_area(edges, [bottom] * len(shares), [y(share) for share in shares])
    whole = int(series["hits"].sum()) / max(int(gets.sum()), 1)
    body = [
        svg.element("path", d=area, class_="area ok"),
        svg.line(LEFT, bottom, WIDTH - RIGHT, bottom, "baseline"),
        svg.text("hits", LEFT - 12, (top + bottom) / 2 + 4, "lane-label", anchor="end"),
        svg.text("100 %", WIDTH - RIGHT + 12, top + 4, "tick"),
        svg.line(LEFT, y(whole), WIDTH - RIGHT, y(whole), "quantile max"),
        svg.text(percent(whole), WIDTH - RIGHT + 12, max(y(whole) + 4, top + 18), "tick"),
    ]
    total, drawn = finish(axis, 0, bottom, body)
    drawing = svg.figure(
        "plot-hits",
        WIDTH,
        total,
        title="Hit rate over time",
        description=f"{percent(whole)} of the gets were hits.",
        body=drawn,
    )
    caption = (
        f"The share of gets that were answered from a copy, in buckets of {_width(series)}; dashed: over all."
    )
    return Plot("hits", "Hit rate", caption, drawing)


def origin_plot(series: Mapping[str, Integers], axis: Axis) -> Plot:
    """What the origin was asked, per second: misses, bypasses and writes on top of each other."""
    edges = _edges(series, axis)
    per_second = NS_PER_S / int(series["bucket_ns"][0])
    kinds = (("writes", "ok"), ("misses", "info"), ("bypasses", "fail"))
    peak = float(sum(series[name] for name, _ in kinds).max()) * per_second or 1.0  # type: ignore[union-attr]
    top, bottom = 12.0, 112.0
    y = Linear(0, peak, bottom, top)
    body: list[Markup] = []
    low = np.zeros(len(series["hits"]))
    for name, css in kinds:
        high = low + series[name] * per_second
        if series[name].any():
            area = svg.step_area(edges, [y(value) for value in low], [y(value) for value in high])
            body.append(svg.element("path", svg.element("title", name), d=area, class_=f"area {css}"))
        low = high
    body += [
        svg.line(LEFT, bottom, WIDTH - RIGHT, bottom, "baseline"),
        svg.text("origin", LEFT - 12, (top + bottom) / 2 + 4, "lane-label", anchor="end"),
        svg.text(f"{number(float(f'{peak:.3g}'))}/s", WIDTH - RIGHT + 12, top + 4, "tick"),
    ]
    total, drawn = finish(axis, 0, bottom, body)
    told = ", ".join(f"{number(int(series[name].sum()))} {name}" for name, _ in kinds)
    drawing = svg.figure(
        "plot-origin", WIDTH, total, title="Requests to the origin over time", description=told, body=drawn
    )
    caption = (
        "Requests a second, from below: writes, misses, and gets that bypassed the cache; "
        f"buckets of {_width(series)}."
    )
    return Plot("origin", "Load of the origin", caption, drawing)


def _edges(series: Mapping[str, Integers], axis: Axis) -> list[float]:
    width = int(series["bucket_ns"][0])
    return [axis.x(place * width) for place in range(len(series["hits"]) + 1)]


def _width(series: Mapping[str, Integers]) -> str:
    return duration(int(series["bucket_ns"][0]))
