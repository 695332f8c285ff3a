"""The drawings of a run's locks: who held which, fencing tokens, and how long was waited."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from markupsafe import Markup

from foreshock.reports import svg
from foreshock.reports.columns import FAIL, INFO, OK, OUTCOMES, Columns, Integers
from foreshock.reports.lock_beliefs import Beliefs, LockHold
from foreshock.reports.lock_tokens import Tokens
from foreshock.reports.operation_text import clip, value_text
from foreshock.reports.plots import LABEL_CHARACTERS_MAX, LEFT, RIGHT, WIDTH, Axis, Plot, finish
from foreshock.reports.scales import Linear, counted, duration, moment, number

LOCKS_MAX = 12
BARS_MAX = 1_500
"""Over all lanes; where there are more holds, those that touch at this size are drawn as one."""
POINTS_MAX = 800
HEADS_MAX = 40
STEPS = 300
LANE = 30.0
LANE_GAP = 12.0
NAMED_FROM = 26.0
"""A bar at least so wide has its process written into it."""
WAIT_BARS = 24
TOKEN_ROW = 92.0


def lock_label(lock: Any) -> str:
    """A lock's name beside its lane."""
    if lock is None:
        return "lock"
    return clip(f"lock {lock}" if isinstance(lock, int) else value_text(lock), LABEL_CHARACTERS_MAX)


def holds_plot(beliefs: Beliefs, axis: Axis) -> Plot:
    """A lane a lock: who held it, and in red where two did that may not."""
    by_lock: dict[Any, list[LockHold]] = {}
    for hold in beliefs.holds:
        by_lock.setdefault(hold.lock, []).append(hold)
    broken = dict.fromkeys(overlap.lock for overlap in beliefs.overlaps)
    # Locks that went wrong are never the ones that are left out.
    locks = sorted(dict.fromkeys((*list(broken)[:LOCKS_MAX], *by_lock)), key=lambda lock: lock not in broken)
    locks = sorted(locks[:LOCKS_MAX], key=str)
    body: list[Markup] = []
    for lane, lock in enumerate(locks):
        top = 8 + lane * (LANE + LANE_GAP)
        body.append(svg.text(lock_label(lock), LEFT - 12, top + LANE / 2 + 4, "lane-label", anchor="end"))
        body.append(svg.line(LEFT, top + LANE, WIDTH - RIGHT, top + LANE, "lane-line"))
        body += _lane(by_lock[lock], axis, top, BARS_MAX // len(locks))
        body.append(svg.text(number(len(by_lock[lock])), WIDTH - RIGHT + 12, top + LANE / 2 + 4, "tick"))
    body += _overlaps(beliefs, locks, axis)
    bottom = 8 + len(locks) * (LANE + LANE_GAP)
    total, drawn = finish(axis, 0, bottom, body)
    hidden = len(by_lock) - len(locks)
    left_out = f" {counted(hidden, 'more lock')} not drawn." if hidden else ""
    described = f"{counted(len(beliefs.holds), 'hold')} of {counted(len(by_lock), 'lock')}; "
    described += f"{counted(beliefs.overlaps_total, 'hold')} overlapped another that it may not."
    drawing = svg.figure(
        "plot-holds", WIDTH, total, title="Who held which lock when", description=described, body=drawn
    )
    caption = (
        "From the return of a grant until it was given back or its lease ran out; how many, at the right."
    )
    if beliefs.overlaps_total:
        caption += " Red: held by two at once."
    return Plot("holds", "Who held when", caption + left_out, drawing)


def _lane(holds: Sequence[LockHold], axis: Axis, top: float, bars_max: int) -> Iterator[Markup]:
    """The bars of one lock; where there are more than can be told apart, neighbours become one."""
    for group in _neighbours(holds, axis, bars_max):
        left = axis.x(group[0].start_ns)
        right = axis.x(min(max(hold.end_ns for hold in group), axis.end_ns))
        if len(group) > 1:
            words = f"{counted(len(group), 'hold')} from {moment(group[0].start_ns)}"
            yield _bar(words, left, max(right - left, 1.0), top, "lock-hold many")
            continue
        yield _bar(hold_words(group[0]), left, max(right - left, 1.0), top, "lock-hold")
        if right - left >= NAMED_FROM:
            yield svg.text(f"p{group[0].process}", left + 5, top + LANE / 2 + 4, "hold-label")


def _neighbours(holds: Sequence[LockHold], axis: Axis, bars_max: int) -> Iterator[list[LockHold]]:
    """The holds in order of their beginning, one by one; if they are too many, those that begin close by together."""
    ordered = sorted(holds, key=lambda hold: hold.start_ns)
    if len(ordered) <= bars_max:
        yield from ([hold] for hold in ordered)
        return
    for _, group in groupby(ordered, key=lambda hold: hold.start_ns * bars_max // axis.end_ns):
        yield list(group)


def hold_words(hold: LockHold) -> str:
    """A hold in one line."""
    token = "" if hold.token is None else f", token {value_text(hold.token, 24)}"
    how = "until its lease ran out" if hold.expiry_ns < hold.given_up_ns else "until it was given up"
    return f"process {hold.process} from {moment(hold.start_ns)} {how}{token}"


def _bar(words: str, left: float, width: float, top: float, css_class: str) -> Markup:
    title = svg.element("title", words)
    return svg.element("rect", title, class_=css_class, x=left, y=top + 4, width=width, height=LANE - 8, rx=2)


def _overlaps(beliefs: Beliefs, locks: Sequence[Any], axis: Axis) -> Iterator[Markup]:
    for overlap in beliefs.overlaps[: BARS_MAX // 4]:
        if overlap.lock not in locks:
            continue
        top = 8 + locks.index(overlap.lock) * (LANE + LANE_GAP)
        left, right = axis.x(overlap.start_ns), axis.x(min(overlap.end_ns, axis.end_ns))
        title = svg.element("title", overlap_words(overlap.holders))
        width = max(right - left, 2.0)
        yield svg.element("rect", title, class_="double", x=left, y=top, width=width, height=LANE)
        if beliefs.overlaps_total <= HEADS_MAX:
            # A stretch of a few ms is a hair: the mark above it is what is found.
            at = left + width / 2
            yield svg.element("path", d=f"M{at - 5:.1f} {top - 6:.1f}h10l-5 7z", class_="needle-head")


def overlap_words(holders: Sequence[LockHold]) -> str:
    """Who held at once."""
    who = [str(hold.process) for hold in holders[-8:]]
    return f"processes {', '.join(who[:-1])} and {who[-1]} at once"


def tokens_plot(tokens: Mapping[Any, tuple[Tokens, Tokens]], axis: Axis) -> Plot:
    """A row a lock: the tokens granted as a line, those accepted as dots, and in red those that went back."""
    broken = [
        lock for lock, (grants, uses) in tokens.items() if grants.went_back.any() or uses.went_back.any()
    ]
    locks = sorted(list(dict.fromkeys((*broken, *tokens)))[:LOCKS_MAX], key=str)
    body: list[Markup] = []
    for row, lock in enumerate(locks):
        top = 10 + row * (TOKEN_ROW + LANE_GAP)
        body += _token_row(lock, *tokens[lock], axis, top, POINTS_MAX // len(locks))
    bottom = 10 + len(locks) * (TOKEN_ROW + LANE_GAP)
    total, drawn = finish(axis, 0, bottom, body)
    back = sum(int(part.went_back.sum()) for pair in tokens.values() for part in pair)
    drawing = svg.figure(
        "plot-tokens",
        WIDTH,
        total,
        title="Fencing tokens over time",
        description=f"Tokens of {counted(len(tokens), 'lock')}; {counted(back, 'token')} went back.",
        body=drawn,
    )
    hidden = len(tokens) - len(locks)
    left_out = f" {counted(hidden, 'more lock')} not drawn." if hidden else ""
    caption = (
        "The line is the newest token granted, a dot one that the guarded resource accepted; "
        "a red cross is below one before it."
    )
    return Plot("tokens", "Fencing tokens over time", caption + left_out, drawing)


def _token_row(
    lock: Any, grants: Tokens, uses: Tokens, axis: Axis, top: float, points_max: int
) -> Iterator[Markup]:
    every = np.concatenate((grants.token, uses.token))
    low, high = int(every.min()), int(every.max())
    y = Linear(low, max(high, low + 1), top + TOKEN_ROW - 6, top + 6)
    yield svg.text(lock_label(lock), LEFT - 12, top + TOKEN_ROW / 2 + 4, "lane-label", anchor="end")
    yield svg.line(LEFT, top + TOKEN_ROW, WIDTH - RIGHT, top + TOKEN_ROW, "baseline")
    for token in (low, high) if low < high else (low,):
        yield svg.text(value_text(token, 9), WIDTH - RIGHT + 12, y(token) + 4, "tick")
    if len(grants.token):
        order = np.argsort(grants.at_ns, kind="stable")
        newest = np.maximum.accumulate(grants.token[order])
        some = np.unique(np.linspace(0, len(order) - 1, min(STEPS, len(order))).astype(np.int64))
        points = [(axis.x(int(grants.at_ns[order[place]])), y(int(newest[place]))) for place in some.tolist()]
        yield svg.element("path", d=_steps(points, axis.x(axis.end_ns)), class_="token-line")
    for place in _some(np.flatnonzero(~uses.went_back), points_max):
        at = axis.x(int(uses.at_ns[place]))
        yield svg.element("circle", cx=at, cy=y(int(uses.token[place])), r=1.7, class_="token-dot")
    for part, what in ((grants, "granted"), (uses, "accepted")):
        for place in np.flatnonzero(part.went_back)[:points_max].tolist():
            at, height = axis.x(int(part.at_ns[place])), y(int(part.token[place]))
            words = f"token {part.token[place]} {what} after {part.newest[place]}, at {moment(int(part.at_ns[place]))}"
            yield svg.element(
                "path",
                svg.element("title", words),
                d=f"M{at - 4:.1f} {height - 4:.1f}l8 8m0-8l-8 8",
                class_="cross token-back",
            )


def _steps(points: Sequence[tuple[float, float]], end: float) -> str:
    """The ``d`` of a line that goes up at each point and stays until the next."""
    first = points[0]
    parts = [f"M{first[0]:.1f} {first[1]:.1f}"]
    parts += [f"H{x:.1f}V{y:.1f}" for x, y in points[1:]]
    return "".join((*parts, f"H{end:.1f}"))


def _some(places: Integers, count_max: int) -> list[int]:
    chosen = places
    if len(places) > count_max:
        chosen = places[np.linspace(0, len(places) - 1, count_max).astype(np.int64)]
    shown: list[int] = chosen.tolist()
    return shown


def waits_plot(columns: Columns, asked: Integers) -> Plot:
    """How many acquires waited how long: granted, refused, and those that came to nothing."""
    waited = np.log10(np.maximum(columns.latency_ns[asked], 1_000))
    low = float(np.floor(min(float(waited.min()), 6.0)))
    high = max(float(np.ceil(float(waited.max()) + 1e-9)), low + 1)
    bucket = np.clip(((waited - low) / (high - low) * WAIT_BARS).astype(np.int64), 0, WAIT_BARS - 1)
    outcome = columns.outcome[asked]
    counts = [np.bincount(bucket[outcome == kind], minlength=WAIT_BARS).tolist() for kind in range(3)]
    x, top, bottom = Linear(low, high, LEFT, WIDTH - RIGHT), 14.0, 174.0
    most = max(map(sum, zip(*counts, strict=True)))
    y = Linear(0, max(most, 1), bottom, top)
    body: list[Markup] = []
    for exponent in range(int(low), int(high) + 1):
        body.append(svg.line(x(exponent), top, x(exponent), bottom, "grid"))
        body.append(svg.text(duration(10.0**exponent), x(exponent), bottom + 17, "tick", anchor="middle"))
    edges = np.linspace(low, high, WAIT_BARS + 1).tolist()
    for place, stack in enumerate(zip(*counts, strict=True)):
        body += _stack(stack, edges[place], edges[place + 1], x, y)
    body.append(svg.line(LEFT, bottom, WIDTH - RIGHT, bottom, "baseline"))
    body.append(svg.text(number(most), LEFT - 12, top + 4, "tick", anchor="end"))
    told = ", ".join(f"{number(sum(row))} {OUTCOMES[kind]}" for kind, row in enumerate(counts))
    drawing = svg.figure(
        "plot-waits", WIDTH, bottom + 28, title="How long acquires waited", description=told, body=body
    )
    caption = "Acquires by how long they took, on a logarithmic scale: granted (ok), refused (fail), unknown (info)."
    return Plot("waits", "How long was waited", caption, drawing)


def _stack(counts: Sequence[int], low: float, high: float, x: Linear, y: Linear) -> Iterator[Markup]:
    """The acquires of one stretch of time (its edges as powers of ten of ns), one outcome on top of the other."""
    base = 0
    for kind in (OK, INFO, FAIL):
        count = counts[kind]
        if count:
            words = f"{number(count)} {OUTCOMES[kind]}, {duration(10**low)} to {duration(10**high)}"
            size = {
                "x": x(low) + 1,
                "y": y(base + count),
                "width": x(high) - x(low) - 2,
                "height": max(y(base) - y(base + count), 1.0),
            }
            yield svg.element("rect", svg.element("title", words), class_=f"area {OUTCOMES[kind]}", **size)
        base += count
