"""The drawings of a campaign's page: the campaign at a glance, its trend over runs, its workers, its durations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from foreshock.harness.campaign.document import CampaignRow
from foreshock.reports import svg
from foreshock.reports.campaign_tests import OUTCOMES, deciding
from foreshock.reports.campaign_trends import PastCampaign
from foreshock.reports.columns import Floats, Integers
from foreshock.reports.operation_text import clip
from foreshock.reports.plots import Plot
from foreshock.reports.scales import (
    NS_PER_S,
    Linear,
    counted,
    duration,
    linear_ticks,
    nice_step,
    number,
    percent,
)
from foreshock.reports.spans import long_duration

WIDTH = 1080.0
LEFT, RIGHT = 92.0, 72.0
STRIP_HEIGHT, STRIP_MIDDLE, STRIP_REACH = 92.0, 46.0, 38.0
STROKES = 180
NEEDLES_MAX = 24
LINES_MAX = 200
BINS_MAX = 40
WORKERS_MAX = 16
BUCKETS = 240
_STACK = tuple(reversed(OUTCOMES))


class Ran(NamedTuple):
    """One attempt that has a known place in time: seconds since the first of them began."""

    start_s: float
    seconds: float
    worker: str
    outcome: str


def attempts_of(rows: Sequence[CampaignRow]) -> list[Ran]:
    """All attempts that say when they began, in that order."""
    found = []
    for row in rows:
        last = deciding(row)
        for attempt in row.attempts:
            began = _epoch_s(attempt.summary.started) if attempt.summary else None
            if began is not None:
                outcome = row.outcome if attempt is last else "passed"
                found.append(Ran(began, max(attempt.seconds, 0.0), attempt.worker, outcome))
    first = min((ran.start_s for ran in found), default=0.0)
    return sorted(ran._replace(start_s=ran.start_s - first) for ran in found)


def _epoch_s(started: str) -> float | None:
    try:
        return datetime.fromisoformat(started).timestamp()
    except ValueError:
        return None


def strip(attempts: Sequence[Ran]) -> Markup | None:
    """Every test in the order in which they began: the trace swings with how long they took, a needle is a failure."""
    if not attempts:
        return None
    seconds = np.array([ran.seconds for ran in attempts])
    strokes = np.arange(len(attempts)) * min(STROKES, len(attempts)) // len(attempts)
    counts = np.bincount(strokes)
    taken = np.bincount(strokes, weights=seconds) / counts
    usual = max(float(np.median(seconds)), 1e-6)
    share = np.log1p(taken / usual) / math.log1p(max(float(taken.max()) / usual, 1e-9))
    x = Linear(0, len(taken), 0, WIDTH)
    points: list[tuple[float, float] | None] = []
    for index, swing in enumerate((0.06 + 0.94 * share**3).tolist()):
        points += [
            (x(index + 0.25), STRIP_MIDDLE - swing * STRIP_REACH),
            (x(index + 0.75), STRIP_MIDDLE + swing * STRIP_REACH),
        ]
    failed = np.bincount(strokes[[ran.outcome == "failed" for ran in attempts]], minlength=len(taken))
    body = [
        svg.line(0, STRIP_MIDDLE, WIDTH, STRIP_MIDDLE, "baseline"),
        svg.element("path", d=svg.path(points), class_="trace"),
        *_needles(failed, x),
    ]
    bad = int(failed.sum())
    described = f"{counted(len(attempts), 'attempt')} in the order in which they began, {bad} of them failed."
    return svg.figure(
        "seismogram",
        WIDTH,
        STRIP_HEIGHT,
        title="The campaign at a glance",
        description=f"{described} The trace swings with how long they took.",
        body=body,
        stretches=True,
    )


def _needles(failed: Integers, x: Linear) -> Iterator[Markup]:
    """A needle for each failure; where that would cover the trace, marks as tall as there are many."""
    places = np.flatnonzero(failed).tolist()
    many, most = len(places) > NEEDLES_MAX, max(int(failed.max(initial=0)), 1)
    for place in places:
        at = x(place + 0.5)
        if many:
            yield svg.line(at, 0, at, 6 + 14 * int(failed[place]) / most, "needle")
            continue
        yield svg.line(at, 0, at, STRIP_HEIGHT, "needle")
        yield svg.element("path", d=f"M{at - 5:.1f} 0h10l-5 8z", class_="needle-head")


def trend_plots(campaigns: Sequence[PastCampaign]) -> list[Plot]:
    """Outcomes, duration and throughput of the campaigns of a name, oldest first; nothing for a single one."""
    if len(campaigns) < 2:
        return []
    return [
        _bars(
            "outcomes",
            "Outcomes",
            "Tests by outcome, campaign by campaign; the newest is on the right.",
            campaigns,
            [[float(getattr(past.tally, outcome)) for outcome in _STACK] for past in campaigns],
            number,
            height=120.0,
        ),
        _bars(
            "duration",
            "Duration",
            "From its first test to its end, on the wall clock.",
            campaigns,
            [[past.seconds] for past in campaigns],
            long_duration,
            height=64.0,
        ),
        _bars(
            "throughput",
            "Throughput",
            "Tests done a minute.",
            campaigns,
            [[past.per_minute] for past in campaigns],
            lambda value: f"{number(float(f'{value:.3g}'))}/min",
            height=64.0,
        ),
    ]


def _bars(
    name: str,
    heading: str,
    caption: str,
    campaigns: Sequence[PastCampaign],
    stacks: Sequence[Sequence[float]],
    text: object,
    *,
    height: float,
) -> Plot:
    """One bar a campaign; a bar leads to the page of its campaign."""
    assert callable(text)
    top, bottom = 10.0, 10.0 + height
    peak = max((sum(stack) for stack in stacks), default=0.0) or 1.0
    y, slot = Linear(0, peak, bottom, top), (WIDTH - LEFT - RIGHT) / len(campaigns)
    width = min(slot * 0.72, 46.0)
    body: list[Markup] = []
    for tick in linear_ticks(peak, 2 if height < 100 else 4):
        body.append(svg.line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid"))
        body.append(svg.text(text(tick), LEFT - 12, y(tick) + 4, "tick", anchor="end"))
    for at, (past, stack) in enumerate(zip(campaigns, stacks, strict=True)):
        left = LEFT + slot * at + (slot - width) / 2
        bar = list(_bar(past, stack, left, width, y, text))
        body.append(svg.element("a", *bar, href=past.link) if past.link else svg.element("g", *bar))
    body += _days(campaigns, slot, bottom)
    described = f"{caption} " + "; ".join(
        f"{past.day}: {past.tally.words if len(stack) > 1 else text(stack[0])}"
        for past, stack in zip(campaigns, stacks, strict=True)
    )
    drawing = svg.figure(
        f"plot-trend-{name}",
        WIDTH,
        bottom + 28,
        title=f"{heading} over campaigns",
        description=described,
        body=body,
    )
    return Plot(f"trend-{name}", heading, caption, drawing)


def _bar(
    past: PastCampaign, stack: Sequence[float], left: float, width: float, y: Linear, text: object
) -> Iterator[Markup]:
    assert callable(text)
    said = past.words if len(stack) > 1 else f"{past.day}: {text(stack[0])}"
    yield svg.element("title", said)
    low = 0.0
    for outcome, value in zip(_STACK, stack, strict=False):
        if value:
            high = low + value
            class_ = f"stack {outcome}" if len(stack) > 1 else "stack plain"
            # A single failure among thousands is a pixel and a half, and never nothing.
            tall = max(y(low) - y(high), 1.5)
            yield svg.element("rect", class_=class_, x=left, y=y(low) - tall, width=width, height=tall)
            low = high
    if past.current:
        yield svg.element("path", d=f"M{left + width / 2 - 5:.1f} {y(0) + 9:.1f}h10l-5 -6z", class_="current")


def _days(campaigns: Sequence[PastCampaign], slot: float, bottom: float) -> Iterator[Markup]:
    """Dates under as many bars as have room for one."""
    every = max(1, math.ceil(96 / slot))
    yield svg.line(LEFT, bottom, WIDTH - RIGHT, bottom, "baseline")
    last = len(campaigns) - 1
    for at, past in enumerate(campaigns):
        if (last - at) % every == 0:
            yield svg.text(past.day[5:], LEFT + slot * (at + 0.5), bottom + 22, "tick", anchor="middle")


def within_plots(attempts: Sequence[Ran]) -> list[Plot]:
    """How the campaign's own tests went: the workers over time, and how long tests took."""
    if not attempts:
        return []
    return [_workers_plot(attempts), _durations_plot(attempts)]


def _workers_plot(attempts: Sequence[Ran]) -> Plot:
    end_s = max(ran.start_s + ran.seconds for ran in attempts) or 1.0
    x = Linear(0, end_s, LEFT, WIDTH - RIGHT)
    names = sorted({ran.worker for ran in attempts}, key=_natural)
    height, gap = 24.0, 8.0
    body: list[Markup] = []
    width_s = end_s / BUCKETS
    edges = [x(index * width_s) for index in range(BUCKETS + 1)]
    for lane, name in enumerate(names[:WORKERS_MAX]):
        top = 8 + lane * (height + gap)
        own = [ran for ran in attempts if ran.worker == name]
        busy = _busy(own, width_s)
        floor = top + height
        heights = [floor - min(share, 1.0) * height for share in busy.tolist()]
        label = clip(name or "worker", 12)
        body.append(svg.text(label, LEFT - 12, top + height / 2 + 4, "lane-label", anchor="end"))
        body.append(
            svg.element("path", d=svg.step_area(edges, [floor] * BUCKETS, heights), class_="area busy")
        )
        body.append(svg.line(edges[0], floor, edges[-1], floor, "baseline"))
        body.append(
            svg.text(percent(float(np.minimum(busy, 1).mean())), WIDTH - RIGHT + 12, floor - 7, "tick")
        )
        for ran in [ran for ran in own if ran.outcome == "failed"][:LINES_MAX]:
            at = x(ran.start_s + ran.seconds)
            body.append(svg.line(at, top, at, floor, "violation-mark"))
    foot = 8 + min(len(names), WORKERS_MAX) * (height + gap)
    step = nice_step(end_s, 10)
    for index in range(int(end_s / step + 1e-9) + 1):
        label = _seconds(index * step, step)
        body += [svg.text(label, x(index * step), foot + 17, "tick", anchor="middle")]
    hidden = len(names) - WORKERS_MAX
    left_out = f" {hidden} more workers are not drawn." if hidden > 0 else ""
    drawing = svg.figure(
        "plot-workers",
        WIDTH,
        foot + 28,
        title="Workers over time",
        description=f"How busy each of {counted(len(names), 'worker')} was; {long_duration(end_s)} in all.",
        body=body,
    )
    caption = f"A full lane is a worker that runs tests all the time; a line is a test that failed.{left_out}"
    return Plot("workers", "Workers", caption, drawing)


def _natural(name: str) -> tuple[int, str]:
    return len(name), name


def _seconds(at_s: float, step_s: float) -> str:
    if at_s == 0:
        return "0"
    if step_s >= 30:
        return long_duration(at_s)
    return f"{number(float(f'{at_s:.6g}'))} s" if step_s >= 0.01 else duration(at_s * NS_PER_S)


def _busy(own: Sequence[Ran], width_s: float) -> Floats:
    """The share of each stretch of time in which a worker ran a test."""
    edges = np.asarray(np.arange(BUCKETS + 1) * width_s, dtype=np.float64)
    starts = np.array([ran.start_s for ran in own])
    ends = np.array([ran.start_s + ran.seconds for ran in own])
    # Busy time up to a moment is the time since each start less the time since each end.
    starts.sort()
    ends.sort()
    total = _elapsed(starts, edges) - _elapsed(ends, edges)
    return np.asarray(np.diff(total) / width_s, dtype=np.float64)


def _elapsed(moments: Floats, edges: Floats) -> Floats:
    """The sum of the time that has passed since each of some sorted moments, at each edge."""
    sums = np.concatenate(([0.0], np.cumsum(moments)))
    before = np.searchsorted(moments, edges)
    return np.asarray(edges * before - sums[before], dtype=np.float64)


def _durations_plot(attempts: Sequence[Ran]) -> Plot:
    seconds = np.maximum(np.array([ran.seconds for ran in attempts]), 1e-3)
    low, high = float(seconds.min()), float(seconds.max())
    if high < low * 1.05:
        low, high = low / 1.2, high * 1.2
    size = int(min(BINS_MAX, max(8, 3 * math.sqrt(len(seconds)))))
    bins = np.geomspace(low, high * 1.0001, size + 1)
    failed = np.array([ran.outcome == "failed" for ran in attempts])
    counts = [np.histogram(seconds[chosen], bins)[0] for chosen in (~failed, failed)]
    top, bottom = 10.0, 120.0
    peak = float((counts[0] + counts[1]).max()) or 1.0
    y, slot = Linear(0, peak, bottom, top), (WIDTH - LEFT - RIGHT) / size
    body: list[Markup] = []
    for tick in [tick for tick in linear_ticks(peak, 4) if tick == int(tick)]:
        body.append(svg.line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid"))
        body.append(svg.text(number(tick), LEFT - 12, y(tick) + 4, "tick", anchor="end"))
    for at in range(size):
        base = 0.0
        for kind, count in (("busy", int(counts[0][at])), ("failed", int(counts[1][at]))):
            if count:
                rect = {"x": LEFT + at * slot + 1, "width": slot - 2, "y": y(base + count)}
                span = f"{duration(bins[at] * NS_PER_S)} to {duration(bins[at + 1] * NS_PER_S)}"
                title = svg.element("title", f"{span}: {counted(count, 'attempt')}")
                body.append(
                    svg.element(
                        "rect", title, class_=f"stack {kind}", height=y(base) - y(base + count), **rect
                    )
                )
            base += count
    body.append(svg.line(LEFT, bottom, WIDTH - RIGHT, bottom, "baseline"))
    marked = range(0, size + 1, max(1, size // 8))
    labels = [duration(float(f"{bins[at]:.2g}") * NS_PER_S) for at in marked]
    if len(set(labels)) < len(labels):  # all took about as long
        labels = [duration(bins[at] * NS_PER_S) for at in marked]
    for at, label in zip(marked, labels, strict=True):
        body.append(svg.text(label, LEFT + at * slot, bottom + 17, "tick", anchor="middle"))
    quantiles = [float(value) for value in np.quantile(seconds, (0.5, 0.9, 1.0))]
    said = [long_duration(value) for value in quantiles]
    caption = f"Attempts by how long they took: half at most {said[0]}, nine in ten {said[1]}, the slowest {said[2]}."
    drawing = svg.figure(
        "plot-durations", WIDTH, bottom + 28, title="How long attempts took", description=caption, body=body
    )
    return Plot("durations", "Durations", caption, drawing)
