"""Bounded staleness against the oracle, ages that can be worked out by hand, and session guarantees."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from tests.checkers.oracle import is_linearizable
from tests.checkers.random_histories import context

from foreshock.checkers.entries import NEVER, Entry
from foreshock.checkers.models.register import Register
from foreshock.checkers.sessions import SessionChecker
from foreshock.checkers.staleness import StalenessChecker
from foreshock.checkers.versions import count_less
from foreshock.harness.errors import UsageError
from foreshock.harness.history import History, Row
from foreshock.harness.model import UNKNOWN
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

MS = 1_000_000


def operation(
    f: str, begin_ms: int, end_ms: int | None, value: Any = None, process: int = 0
) -> dict[str, Any]:
    """One operation on the only key; ``value`` is what is put, or what a get returned."""
    return {"f": f, "begin": begin_ms, "end": end_ms, "value": value, "process": process}


def history_of(*operations: dict[str, Any]) -> History:
    """A history in which no two events have the same time."""
    times = sorted(t for o in operations for t in (o["begin"], o["end"]) if t is not None)
    assert len(set(times)) == len(times)
    index = {time: place for place, time in enumerate(times)}
    return History.of(
        Row(
            process=o["process"],
            f=o["f"],
            key="k",
            value=o["value"] if o["f"] == "put" else None,
            result=o["value"] if o["f"] == "get" and o["end"] is not None else None,
            type=OperationType.INFO if o["end"] is None else OperationType.OK,
            invoke_index=index[o["begin"]],
            complete_index=-1 if o["end"] is None else index[o["end"]],
            invoke_ns=o["begin"] * MS,
            complete_ns=-1 if o["end"] is None else o["end"] * MS,
        )
        for o in operations
    )


def random_operations(rng: random.Random) -> list[dict[str, Any]]:
    count = rng.randint(2, 7)
    spots = rng.sample(range(40), 2 * count)
    operations = []
    for number in range(count):
        begin, end = sorted(spots[2 * number : 2 * number + 2])
        f = rng.choice(["put", "put", "get", "get", "get", "delete"])
        value = number + 1 if f == "put" else rng.choice([None, *range(1, count + 1)]) if f == "get" else None
        crashed = rng.random() < 0.2
        operations.append(operation(f, begin, None if crashed else end, value, rng.randint(0, 2)))
    return operations


def one_at_a_time(operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same operations by processes that do one after the other, and no more after one that never returned."""
    free_at = dict.fromkeys(range(10), -1)
    for o in sorted(operations, key=lambda o: o["begin"]):
        free = [process for process, at in free_at.items() if at < o["begin"]]
        o["process"] = free[0]
        free_at[free[0]] = 1_000 if o["end"] is None else o["end"]
    return operations


def as_entry(number: int, o: dict[str, Any], bound_ms: int) -> Entry:
    crashed = o["end"] is None
    read = o["f"] == "get"
    return Entry(
        number,
        2 * (o["begin"] - bound_ms) - 1 if read else 2 * o["begin"],
        NEVER if crashed else 2 * o["end"],
        o["f"],
        o["value"] if o["f"] == "put" else None,
        (UNKNOWN if crashed else o["value"]) if read else None,
        crashed,
        o["process"],
    )


def test_bounded_staleness_is_what_the_oracle_says_of_reads_that_begin_earlier() -> None:
    verdicts = {Verdict.VALID: 0, Verdict.INVALID: 0}
    for seed in range(700):
        rng = random.Random(seed)
        operations = random_operations(rng)
        bound_ms = rng.choice([0, 1, 3, 10, 40])
        entries = [as_entry(number, o, bound_ms) for number, o in enumerate(operations)]
        expected = Verdict.VALID if is_linearizable(entries, Register()) else Verdict.INVALID
        result = StalenessChecker(bound_ms).check(history_of(*operations), context())
        assert result.verdict is expected, (seed, bound_ms, operations)
        verdicts[expected] += 1
    assert min(verdicts.values()) > 100


def test_a_bound_admits_what_is_old_but_not_older() -> None:
    history = history_of(
        operation("put", 0, 1, 1), operation("put", 10, 20, 2), operation("get", 50, 55, 1, process=1)
    )
    assert StalenessChecker(29).check(history, context()).verdict is Verdict.INVALID
    assert StalenessChecker(30).check(history, context()).verdict is Verdict.VALID
    invalid = StalenessChecker(5).check(history, context())
    assert "reads that may be 5 ms old" in invalid.reason
    assert invalid.counterexamples[0].impossible == 4


def test_ages_are_measured_from_the_certain_overwriting() -> None:
    history = history_of(
        operation("put", 0, 1, 1),
        operation("put", 10, 20, 2),
        operation("put", 22, 30, 3),
        operation("get", 50, 55, 1, process=1),
        operation("get", 60, 61, 3, process=1),
        operation("get", 15, 17, 1, process=2),
    )
    details = StalenessChecker(100).check(history, context()).details
    assert details["reads"] == 3
    assert details["stale_reads"] == 1
    assert details["age_ms"]["max"] == 30.0
    assert details["age_versions"]["max"] == 2


def test_an_update_that_never_returned_has_taken_effect_before_a_read_of_it_returns() -> None:
    history = history_of(
        operation("put", 0, 1, 1),
        operation("put", 10, None, 2),
        operation("get", 20, 21, 2, process=1),
        operation("get", 50, 55, 1, process=2),
    )
    result = StalenessChecker(10).check(history, context())
    assert result.verdict is Verdict.INVALID
    assert result.details["age_ms"]["max"] == 29.0


@pytest.mark.parametrize(
    ("operations", "guarantee"),
    [
        (
            [operation("put", 0, 1, 1), operation("put", 2, 3, 2), operation("get", 4, 5, 1)],
            "read your writes",
        ),
        (
            [operation("put", 0, 1, 1), operation("delete", 2, 3), operation("get", 4, 5, 1)],
            "read your writes",
        ),
        ([operation("put", 0, 1, 1), operation("get", 4, 5, None)], "read your writes"),
        (
            [
                operation("put", 0, 1, 1, process=1),
                operation("put", 2, 3, 2, process=1),
                operation("get", 4, 5, 2),
                operation("get", 6, 7, 1),
            ],
            "monotonic reads",
        ),
        (
            [operation("put", 0, 1, 1, process=1), operation("get", 4, 5, 1), operation("get", 6, 7, None)],
            "monotonic reads",
        ),
    ],
)
def test_a_session_that_goes_back_is_convicted(operations: list[dict[str, Any]], guarantee: str) -> None:
    result = SessionChecker().check(history_of(*operations), context())
    assert result.verdict is Verdict.INVALID
    assert guarantee in result.reason
    assert result.counterexamples[0].impossible == 2 * len(operations) - 2


@pytest.mark.parametrize(
    "operations",
    [
        # Another process may be behind.
        [
            operation("put", 0, 1, 1, process=1),
            operation("put", 2, 3, 2, process=1),
            operation("get", 4, 5, 2, process=2),
            operation("get", 6, 7, 1, process=3),
        ],
        # The two puts are concurrent: either order is possible.
        [
            operation("put", 0, 10, 1, process=1),
            operation("put", 2, 9, 2, process=2),
            operation("get", 14, 15, 2),
            operation("get", 16, 17, 1),
        ],
        # The absence may be that of a delete which never returned.
        [
            operation("put", 0, 1, 1),
            operation("delete", 2, None, process=1),
            operation("get", 14, 15, 1),
            operation("get", 16, 17, None),
        ],
        # An own put that never returned promises nothing.
        [operation("put", 0, 1, 1, process=1), operation("put", 2, None, 2), operation("get", 4, 5, 1)],
    ],
)
def test_a_session_that_may_be_innocent_is_let_go(operations: list[dict[str, Any]]) -> None:
    assert SessionChecker().check(history_of(*operations), context()).verdict is Verdict.VALID


def test_linearizable_histories_keep_every_session_guarantee() -> None:
    checked = 0
    for seed in range(2_000):
        operations = one_at_a_time(random_operations(random.Random(seed)))
        if is_linearizable([as_entry(n, o, 0) for n, o in enumerate(operations)], Register()):
            assert SessionChecker().check(history_of(*operations), context()).verdict is Verdict.VALID, seed
            checked += 1
    assert checked > 300


def growing(*reads: tuple[int, int | None]) -> History:
    """Puts 1 to 5, each 2 ms long, every 10 ms from 0 on; and reads (begin, value) of 1 ms."""
    puts = [operation("put", 10 * n, 10 * n + 2, n + 1) for n in range(5)]
    return history_of(*puts, *(operation("get", at, at + 1, value, process=1) for at, value in reads))


@pytest.mark.parametrize(("value", "newer"), [(5, 0), (4, 1), (3, 2), (1, 4), (None, 5)])
def test_a_bound_in_versions_admits_the_last_so_many(value: int | None, newer: int) -> None:
    history = growing((60, value))
    for bound in range(1, 8):
        result = StalenessChecker(bound_versions=bound).check(history, context())
        assert result.verdict is (Verdict.VALID if newer < bound else Verdict.INVALID), bound
    assert result.details["age_versions"]["max"] == newer


def test_a_read_that_is_too_many_versions_old_is_explained_by_as_many_newer_ones() -> None:
    result = StalenessChecker(bound_versions=2).check(growing((60, 5), (70, 2), (80, 4)), context())
    assert result.verdict is Verdict.INVALID
    assert "get 2 of key 'k' by process 1 is 3 versions old" in result.reason
    assert "(1 of 3 reads did not return one of the last 2 versions)" in result.reason
    [found] = result.counterexamples
    assert [row["label"] for row in found.operations] == ["put 2", "put 3", "put 4", "get 2"]
    assert result.details["illegal_keys"] == ["k"]


def test_a_value_from_nowhere_is_none_of_the_last_versions() -> None:
    result = StalenessChecker(bound_versions=9).check(growing((60, 77)), context())
    assert result.verdict is Verdict.INVALID
    assert "returned what nobody had written" in result.reason
    assert result.details["unknown_values"] == 1


def test_both_bounds_may_be_asked_for_and_either_convicts() -> None:
    history = growing((60, 4), (75, 5))
    for bound_ms, bound_versions, verdict in (
        (18, 2, 0),
        (18, 1, 2),
        (17, 2, 2),
        (None, 2, 0),
        (18, None, 0),
    ):
        result = StalenessChecker(bound_ms, bound_versions).check(history, context())
        assert result.verdict is Verdict(verdict), (bound_ms, bound_versions)
    assert StalenessChecker().check(history, context()).verdict is Verdict.INVALID
    for bad in ({"bound_ms": -1}, {"bound_versions": 0}):
        with pytest.raises(UsageError, match="the option 'bound_"):
            StalenessChecker(**bad)


def test_ages_are_counted_by_the_least_bound_that_they_keep() -> None:
    details = (
        StalenessChecker(bound_versions=9)
        .check(growing((60, 5), (70, 4), (80, 2), (90, 1)), context())
        .details
    )
    assert details["age_ms_histogram"] == {"0": 1, "32": 1, "64": 1, "128": 1}
    assert details["age_versions_histogram"] == {"0": 1, "1": 1, "3": 1, "4": 1}


def test_ages_are_what_counting_one_by_one_says() -> None:
    for seed in range(300):
        operations = one_at_a_time(random_operations(random.Random(seed)))
        details = StalenessChecker(bound_versions=9).check(history_of(*operations), context()).details
        ages = [age for o in operations if (age := age_of(o, operations)) is not None]
        assert details["reads"] == len(ages)
        assert details["age_ms"].get("max", 0.0) == max((ms for ms, _ in ages), default=0.0), seed
        assert details["age_versions"].get("max", 0.0) == max((count for _, count in ages), default=0), seed


def age_of(read: dict[str, Any], operations: list[dict[str, Any]]) -> tuple[float, int] | None:
    """The least age of a read (ms, versions), by the definition; ``None`` for no read, or one from nowhere."""
    if read["f"] != "get" or read["end"] is None:
        return None
    updates = [o for o in operations if o["f"] != "get"]
    ends = {id(o): 1_000 if o["end"] is None else o["end"] for o in updates}
    for other in operations:
        seen = [o for o in updates if o["value"] == other["value"] and o["begin"] < (other["end"] or 0)]
        if other["f"] == "get" and other["value"] is not None and len(seen) == 1:
            ends[id(seen[0])] = min(ends[id(seen[0])], other["end"])
    mine = [ends[id(o)] for o in updates if o["value"] == read["value"] and o["begin"] < read["end"]]
    if read["value"] is None:
        mine.append(-1)
    if not mine:
        return None
    newer = [ends[id(o)] for o in updates if o["begin"] > max(mine) and ends[id(o)] < read["begin"]]
    return (float(read["begin"] - min(newer)), len(newer)) if newer else (0.0, 0)


def test_counting_in_ranges_is_what_counting_one_by_one_says() -> None:
    rng = np.random.default_rng(1)
    for size in (0, 1, 7, 300):
        numbers = rng.integers(0, 50, size)
        low = rng.integers(0, size + 1, 60)
        high = np.maximum(low, rng.integers(0, size + 1, 60))
        bound = rng.integers(-2, 70, 60)
        counted = count_less(numbers, low, high, bound).tolist()
        expected = [int((numbers[a:b] < c).sum()) for a, b, c in zip(low, high, bound, strict=True)]
        assert counted == expected
