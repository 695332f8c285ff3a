"""The part of a page that is about locks: who held which when, the tokens, the waits, and what went past a lease."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from foreshock.reports.columns import FAIL, INFO, OK, Columns, Integers
from foreshock.reports.explorer_data import Moment
from foreshock.reports.lock_beliefs import (
    ACQUIRE,
    NEVER,
    USE,
    Beliefs,
    LockHold,
    beliefs_of,
    field_of,
    is_lock_history,
    rows_of,
)
from foreshock.reports.lock_plots import holds_plot, overlap_words, tokens_plot, waits_plot
from foreshock.reports.lock_tokens import Tokens, Uses, tokens_of, uses_of
from foreshock.reports.operation_text import value_text
from foreshock.reports.plots import Axis, Plot
from foreshock.reports.scales import NS_PER_US, counted, duration, moment, number

ROWS_MAX = 50
LONGEST_MAX = 15
Zoom = tuple[int, int]


class OverlapRow(NamedTuple):
    """Two or more that held a lock at once."""

    lock: str
    who: str
    tokens: str
    since: str
    lasting: str
    zoom: Zoom


class TokenRow(NamedTuple):
    """A token that was granted or accepted although a newer one had been."""

    lock: str
    token: str
    what: str
    newest: str
    process: int
    at: str
    zoom: Zoom


class WaitRow(NamedTuple):
    """How long the acquires of one lock took that were granted, and how many were not."""

    lock: str
    granted: int
    refused: int
    unknown: int
    p50: str
    p95: str
    most: str


class LongWaitRow(NamedTuple):
    """An acquire that was granted late."""

    lock: str
    process: int
    node: str
    since: str
    waited: str
    zoom: Zoom


class LateRow(NamedTuple):
    """A hold or a use that went past the end of its lease."""

    lock: str
    process: int
    token: str
    ran_out: str
    what: str
    past: str
    zoom: Zoom


class LockSection(NamedTuple):
    """What the template is given."""

    sentences: tuple[str, ...]
    plots: tuple[Plot, ...]
    overlaps: tuple[OverlapRow, ...]
    overlaps_left_out: int
    tokens: tuple[TokenRow, ...]
    tokens_left_out: int
    waits: tuple[WaitRow, ...]
    longest: tuple[LongWaitRow, ...]
    late: tuple[LateRow, ...]
    late_left_out: int
    anomalies: tuple[Moment, ...]
    beliefs: Beliefs


def lock_section(columns: Columns, axis: Axis) -> LockSection | None:
    """The part about locks; ``None`` where the history has none."""
    if not is_lock_history(columns):
        return None
    beliefs, uses = beliefs_of(columns), uses_of(columns)
    tokens = tokens_of(columns, beliefs, uses)
    asked = rows_of(columns, ACQUIRE)
    plots = [holds_plot(beliefs, axis)] if beliefs.holds else []
    plots += [tokens_plot(tokens, axis)] if tokens else []
    back = list(_token_rows(columns, tokens))
    late = [*_late_holds(beliefs.holds), *_late_uses(columns, uses)]
    return LockSection(
        sentences=tuple(_sentences(beliefs, tokens, len(back), late)),
        plots=(*plots, waits_plot(columns, asked)),
        overlaps=tuple(map(_overlap_row, beliefs.overlaps[:ROWS_MAX])),
        overlaps_left_out=max(0, beliefs.overlaps_total - ROWS_MAX),
        tokens=tuple(back[:ROWS_MAX]),
        tokens_left_out=max(0, len(back) - ROWS_MAX),
        waits=tuple(_wait_rows(columns, asked)),
        longest=tuple(_longest(columns, asked)),
        late=tuple(late[:ROWS_MAX]),
        late_left_out=max(0, len(late) - ROWS_MAX),
        anomalies=tuple(
            Moment(overlap.start_ns, f"lock {name_of(overlap.lock)} held by {overlap_words(overlap.holders)}")
            for overlap in beliefs.overlaps
        ),
        beliefs=beliefs,
    )


def name_of(lock: Any) -> str:
    """A lock as the tables name it."""
    return "" if lock is None else value_text(lock)


def zoom_of(start_ns: int, end_ns: int) -> Zoom:
    """The stretch in µs that the view of operations shows for one in ns: itself, with as much on each side."""
    margin = max(end_ns - start_ns, 1_000_000)
    return max(start_ns - margin, 0) // NS_PER_US, (end_ns + margin) // NS_PER_US


def _sentences(
    beliefs: Beliefs, tokens: Mapping[Any, tuple[Tokens, Tokens]], back: int, late: Sequence[LateRow]
) -> Iterable[str]:
    total = beliefs.overlaps_total
    if not beliefs.holds:
        yield "No lock was granted in this run."
        return
    if total:
        whole = counted(len(beliefs.holds), "hold")
        yield f"{number(total)} of {whole} began while another process held the same lock."
    else:
        yield f"None of {counted(len(beliefs.holds), 'hold')} overlapped another that it may not."
    if not tokens:
        yield "No grant came with a fencing token, so nothing could keep a late holder's writes out."
    elif back:
        yield f"{counted(back, 'time')} a token was granted or accepted after a newer one."
    else:
        yield "Fencing tokens never went back."
    uses = sum(row.what == USE for row in late)
    if uses:
        yield f"{counted(uses, 'use')} of the guarded resource ended ok after the lease had run out."


def _overlap_row(overlap: Any) -> OverlapRow:
    end = overlap.end_ns
    return OverlapRow(
        lock=name_of(overlap.lock),
        who=overlap_words(overlap.holders),
        tokens=", ".join(_token_text(hold.token) for hold in overlap.holders[-8:]),
        since=moment(overlap.start_ns),
        lasting="never ended" if end >= NEVER else duration(end - overlap.start_ns),
        zoom=zoom_of(overlap.start_ns, overlap.start_ns + 1 if end >= NEVER else end),
    )


def _token_text(token: Any) -> str:
    return "none" if token is None else value_text(token, 24)


def _token_rows(columns: Columns, tokens: Mapping[Any, tuple[Tokens, Tokens]]) -> Iterable[TokenRow]:
    found = [
        (int(part.at_ns[place]), lock, part, place, what)
        for lock, pair in tokens.items()
        for part, what in zip(pair, ("granted", "accepted"), strict=True)
        for place in np.flatnonzero(part.went_back).tolist()
    ]
    for at_ns, lock, part, place, what in sorted(found, key=lambda row: row[0]):
        position = int(part.position[place])
        yield TokenRow(
            lock=name_of(lock),
            token=str(part.token[place]),
            what=what,
            newest=str(part.newest[place]),
            process=int(columns.process[position]),
            at=moment(at_ns),
            zoom=zoom_of(int(columns.invoke_ns[position]), at_ns),
        )


def _wait_rows(columns: Columns, asked: Integers) -> Iterable[WaitRow]:
    """By lock, those with the longest median first."""
    payloads = columns.rows.payloads("key")[asked]
    locks, which = np.unique(payloads, return_inverse=True)
    rows = []
    for code in np.argsort(-np.bincount(which.reshape(-1), minlength=len(locks)), kind="stable")[
        :ROWS_MAX
    ].tolist():
        mine = asked[which.reshape(-1) == code]
        outcome = columns.outcome[mine]
        waited = columns.latency_ns[mine[outcome == OK]]
        figures = np.quantile(waited, (0.5, 0.95, 1.0)).tolist() if len(waited) else [None] * 3
        (lock,) = columns.values("key", mine[:1])
        granted, refused, unknown = (int(np.count_nonzero(outcome == kind)) for kind in (OK, FAIL, INFO))
        p50, p95, most = ("" if figure is None else duration(figure) for figure in figures)
        rows.append((figures[0] or 0.0, WaitRow(name_of(lock), granted, refused, unknown, p50, p95, most)))
    return [row for _, row in sorted(rows, key=lambda pair: -pair[0])]


def _longest(columns: Columns, asked: Integers) -> Iterable[LongWaitRow]:
    granted = asked[(columns.outcome[asked] == OK) & columns.completed[asked]]
    order = np.argsort(-columns.latency_ns[granted], kind="stable")[:LONGEST_MAX]
    chosen = granted[order]
    for position, lock in zip(chosen.tolist(), columns.values("key", chosen), strict=True):
        since, until = int(columns.invoke_ns[position]), int(columns.complete_ns[position])
        yield LongWaitRow(
            lock=name_of(lock),
            process=int(columns.process[position]),
            node=columns.node_of(position),
            since=moment(since),
            waited=duration(until - since),
            zoom=zoom_of(since, until),
        )


def _late_holds(holds: Sequence[LockHold]) -> list[LateRow]:
    """Leases that ran out before their holders gave them back, the latest first."""
    late = sorted((hold for hold in holds if hold.past_lease_ns > 0), key=lambda hold: -hold.past_lease_ns)
    return [
        LateRow(
            lock=name_of(hold.lock),
            process=hold.process,
            token=_token_text(hold.token),
            ran_out=moment(hold.expiry_ns),
            what="given back late",
            past=duration(hold.past_lease_ns),
            zoom=zoom_of(hold.start_ns, hold.given_up_ns),
        )
        for hold in late
    ]


def _late_uses(columns: Columns, uses: Uses) -> list[LateRow]:
    """Uses of the guarded resource that ended ok when the belief they were made in had run out, the latest first."""
    ended = columns.complete_ns[uses.position].tolist()
    limits = [field_of(value, "until_ns") for value in uses.value]
    late = [
        (at_ns - until_ns, place)
        for place, (at_ns, until_ns) in enumerate(zip(ended, limits, strict=True))
        if type(until_ns) is int and 0 <= until_ns < at_ns
    ]
    rows = []
    for past_ns, place in sorted(late, reverse=True):
        position = int(uses.position[place])
        row = LateRow(
            lock=name_of(uses.lock[place]),
            process=int(columns.process[position]),
            token=_token_text(field_of(uses.value[place], "token")),
            ran_out=moment(limits[place]),
            what=USE,
            past=duration(past_ns),
            zoom=zoom_of(int(columns.invoke_ns[position]), int(columns.complete_ns[position])),
        )
        rows.append(row)
    return rows
