"""Counts, rates, latency quantiles and availability over time, from a history's columns.

They are computed here and not taken from a checker's details, since a report must also be written for a run whose
harness was killed before any checker ran.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from foreshock.reports.columns import INFO, OK, OUTCOMES, Columns, Floats, Integers
from foreshock.reports.scales import NS_PER_S, nice_step

BUCKETS_MAX = 180
QUANTILES = (0.5, 0.95, 0.99)
_BUCKET_NS_MIN = 1_000_000


class Buckets(NamedTuple):
    """Equal stretches of time from the start of the run; the last one may reach past its end."""

    width_ns: int
    size: int

    def of(self, times_ns: Integers) -> Integers:
        """The bucket of each time."""
        return np.clip(times_ns // self.width_ns, 0, self.size - 1)

    def edges_ns(self) -> list[int]:
        """The ``size + 1`` edges."""
        return [index * self.width_ns for index in range(self.size + 1)]


def buckets_for(end_ns: int, count_max: int = BUCKETS_MAX) -> Buckets:
    """Buckets of a round width that cover a run."""
    width = max(round(nice_step(end_ns, count_max)), _BUCKET_NS_MIN)
    return Buckets(width, max(1, -(-end_ns // width)))


class OutcomeCounts(NamedTuple):
    """How the operations of one ``f`` ended, and how long the ok ones took (ns; ``None`` without any)."""

    f: str
    ok: int
    fail: int
    info: int
    p50_ns: float | None
    p95_ns: float | None
    p99_ns: float | None
    max_ns: float | None

    @property
    def total(self) -> int:
        """All operations."""
        return self.ok + self.fail + self.info


def outcome_counts(columns: Columns) -> list[OutcomeCounts]:
    """One entry an ``f``, the most frequent first."""
    size = len(OUTCOMES)
    counts = np.bincount(columns.f * size + columns.outcome, minlength=len(columns.f_names) * size)
    latency = columns.latency_ns
    rows = []
    for code, name in enumerate(columns.f_names):
        ok, fail, info = (int(count) for count in counts[code * size : (code + 1) * size])
        taken = latency[(columns.f == code) & (columns.outcome == OK)]
        figures = (
            [float(figure) for figure in np.quantile(taken, [*QUANTILES, 1.0])] if len(taken) else [None] * 4
        )
        rows.append(OutcomeCounts(name, ok, fail, info, *figures))
    return sorted(rows, key=lambda row: (-row.total, row.f))


def rates(columns: Columns, buckets: Buckets, f: int | None) -> Floats:
    """Operations per second by outcome and bucket, shape (3, buckets); of one ``f``, or of all when ``None``."""
    chosen = slice(None) if f is None else columns.f == f
    cell = columns.outcome[chosen] * buckets.size + buckets.of(columns.settled_ns[chosen])
    counts = np.bincount(cell, minlength=len(OUTCOMES) * buckets.size)
    per_second = counts.reshape(len(OUTCOMES), buckets.size).astype(np.float64)
    return np.asarray(per_second * (NS_PER_S / buckets.width_ns), dtype=np.float64)


def latency_quantiles(columns: Columns, buckets: Buckets) -> Floats:
    """Latency of ok operations in ns, shape (quantiles + 1, buckets): p50, p95, p99 and max; NaN without any."""
    chosen = (columns.outcome == OK) & columns.completed
    bucket, latency = buckets.of(columns.complete_ns[chosen]), columns.latency_ns[chosen]
    order = np.lexsort((latency, bucket))
    latency = latency[order]
    sizes = np.bincount(bucket, minlength=buckets.size)
    starts = np.cumsum(sizes) - sizes
    figures = np.full((len(QUANTILES) + 1, buckets.size), np.nan)
    held = sizes > 0
    for row, quantile in enumerate((*QUANTILES, 1.0)):
        # The nearest-rank quantile: always a latency that was really measured.
        rank = np.ceil(quantile * sizes[held]).astype(np.int64) - 1
        figures[row, held] = latency[starts[held] + np.maximum(rank, 0)]
    return figures


class NodeAvailability(NamedTuple):
    """The share of the operations sent to one node that succeeded: over all, and by bucket (NaN: none sent)."""

    node: str
    share: float
    sent: int
    series: Floats


def availability(columns: Columns, buckets: Buckets) -> list[NodeAvailability]:
    """Availability as clients felt it, by the node that each operation was sent to."""
    bucket = buckets.of(columns.invoke_ns)
    rows = []
    for code, name in enumerate(columns.node_names):
        chosen = columns.node == code
        sent = np.bincount(bucket[chosen], minlength=buckets.size)
        succeeded = np.bincount(bucket[chosen & (columns.outcome == OK)], minlength=buckets.size)
        with np.errstate(invalid="ignore", divide="ignore"):
            series = np.where(sent > 0, succeeded / sent, np.nan)
        total = int(sent.sum())
        rows.append(NodeAvailability(name, int(succeeded.sum()) / total if total else 0.0, total, series))
    return rows


def never_completed(columns: Columns) -> int:
    """How many invocations have no completion at all, as after a kill of the harness."""
    return int(np.count_nonzero((columns.outcome == INFO) & ~columns.completed))
