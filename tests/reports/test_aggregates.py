"""Counts, rates and quantiles over time, against plain arithmetic on the same operations."""

from __future__ import annotations

import numpy as np
from tests.reports import tapes

from foreshock.reports.aggregates import (
    availability,
    buckets_for,
    latency_quantiles,
    never_completed,
    outcome_counts,
    rates,
)
from foreshock.reports.columns import FAIL, INFO, OK, columns_of

SECOND = 1_000_000_000


def test_buckets_are_round_and_cover_the_run() -> None:
    for end_ns in (1, 999, 61 * SECOND, 3 * 3600 * SECOND):
        buckets = buckets_for(end_ns)
        assert buckets.size <= 180
        assert buckets.size * buckets.width_ns >= end_ns
        assert str(buckets.width_ns).rstrip("0") in ("1", "2", "5")


def test_counts_and_rates_agree_with_the_rows() -> None:
    history = tapes.register_tape(2000, 20.0).history()
    columns = columns_of(history)
    buckets = buckets_for(columns.end_ns)
    for counts in outcome_counts(columns):
        rows = [row for row in history if row.f == counts.f]
        assert (counts.ok, counts.fail, counts.info) == tuple(
            sum(row.type == kind for row in rows) for kind in ("ok", "fail", "info")
        )
        per_second = rates(columns, buckets, columns.f_names.index(counts.f))
        assert np.allclose(
            per_second.sum(axis=1) * buckets.width_ns / SECOND, (counts.ok, counts.fail, counts.info)
        )
    assert np.allclose(rates(columns, buckets, None).sum() * buckets.width_ns / SECOND, 2000)


def test_quantiles_are_latencies_that_were_measured() -> None:
    tape = tapes.Tape()
    for number in range(100):
        tape.add(number, "read", 0, (number + 1) * 1000, tapes.OK)
    tape.add(200, "read", 0, 900_000, tapes.INFO)
    columns = columns_of(tape.history())
    figures = latency_quantiles(columns, buckets_for(columns.end_ns))
    assert figures[:, 0].tolist() == [50_000, 95_000, 99_000, 100_000]


def test_availability_counts_what_was_sent_to_each_node() -> None:
    tape = tapes.Tape()
    for number, kind in enumerate((tapes.OK, tapes.OK, tapes.FAIL, tapes.INFO)):
        tape.add(number, "read", number, number + 1, kind, node="n1")
    tape.add(9, "read", 5, 6, tapes.OK, node="n2")
    tape.add(10, "read", 7, 8, tapes.OK)
    columns = columns_of(tape.history())
    found = availability(columns, buckets_for(columns.end_ns))
    assert [(node.node, node.share, node.sent) for node in found] == [("n1", 0.5, 4), ("n2", 1.0, 1)]


def test_the_nemesis_is_no_client_and_unfinished_operations_are_unknown() -> None:
    tape = tapes.Tape()
    tape.add(-1, "kill", 0, 5 * SECOND, tapes.INFO)
    tape.add(0, "write", 1, None, tapes.INFO)
    columns = columns_of(tape.history())
    assert columns.total == 1
    assert columns.end_ns == 5 * SECOND
    assert never_completed(columns) == 1
    assert columns.outcome.tolist() == [INFO]
    assert (OK, FAIL, INFO) == (0, 1, 2)
