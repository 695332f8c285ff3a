"""Liveness after healing, and operation statistics."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from tests.checkers.random_histories import context

from foreshock.checkers.liveness import LivenessChecker
from foreshock.checkers.statistics import StatisticsChecker
from foreshock.harness.history import History, Row
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

MS = 1_000_000
S = 1000 * MS
OK, FAIL, INFO = OperationType.OK, OperationType.FAIL, OperationType.INFO


def history(*operations: tuple[int, int, str, OperationType], f: str = "read", key: Any = 1) -> History:
    """Operations as (called ms, ended ms, node, type), each with a process of its own."""
    return History.of(rows(*operations, f=f, key=key))


def rows(
    *operations: tuple[int, int, str, OperationType], f: str = "read", key: Any = 1, first: int = 0
) -> list[Row]:
    return [
        Row(
            process=first + number,
            f=f,
            key=key,
            type=kind,
            invoke_index=2 * (first + number),
            complete_index=2 * (first + number) + 1,
            invoke_ns=called * MS,
            complete_ns=ended * MS,
            node=node,
        )
        for number, (called, ended, node, kind) in enumerate(operations)
    ]


def fault(number: int, planned_ms: int, healed_ms: int | None, **more: Any) -> dict[str, Any]:
    record = {
        "id": number,
        "kind": "kill",
        "nodes": ["n1"],
        "planned_ns": planned_ms * MS,
        "verified_ns": planned_ms * MS,
    }
    return {**record, "healed_ns": None if healed_ms is None else healed_ms * MS, **more}


def liveness(found: History, *faults: dict[str, Any], **options: Any) -> Any:
    return LivenessChecker(**options).check(found, context(faults=faults))


def test_a_system_that_serves_after_the_last_healing_is_live() -> None:
    found = history((0, 10, "n1", OK), (100, 200, "n1", INFO), (350, 420, "n2", OK))
    result = liveness(found, fault(0, 50, 300))
    assert result.verdict is Verdict.VALID
    assert result.details["recovery"] == [{"fault": 0, "kind": "kill", "recovery_ms": 120.0}]
    assert result.details["final_phase"] == {"from_ns": 300 * MS, "operations": 1, "ok": 1}


@pytest.mark.parametrize("kind", [FAIL, INFO])
def test_a_system_that_never_serves_again_is_invalid(kind: OperationType) -> None:
    found = history((0, 10, "n1", OK), (350, 1300, "n1", kind), (400, 2300, "n2", kind))
    result = liveness(found, fault(0, 50, 300))
    assert result.verdict is Verdict.INVALID
    assert "did not recover within 2.0 s: none of 2 operations" in result.reason
    assert result.counterexamples[0].core == (2, 4)


def test_silence_proves_nothing_where_operations_had_too_little_time() -> None:
    found = history((0, 10, "n1", OK), (350, 400, "n1", INFO), (400, 450, "n2", INFO))
    result = liveness(found, fault(0, 50, 300), operation_timeout_ms=50)
    assert result.verdict is Verdict.UNKNOWN
    assert "given 50 ms at most" in result.reason
    assert liveness(found, fault(0, 50, 300), operation_timeout_ms=1_000).verdict is Verdict.INVALID


def test_a_lease_that_a_lost_client_may_hold_is_waited_for() -> None:
    def locks(until_ms: int) -> History:
        refused = [(at, at + 100, "n1", FAIL) for at in range(350, until_ms, 500)]
        first, *others = rows((0, 10, "n1", OK), *refused, f="acquire")
        return History.of([first._replace(result={"token": 1, "ttl_ms": 30_000}), *others])

    early = liveness(locks(20_000), fault(0, 50, 300))
    assert early.verdict is Verdict.UNKNOWN
    assert "a grant lasts 30 s" in early.reason
    assert liveness(locks(60_000), fault(0, 50, 300)).verdict is Verdict.INVALID


def test_a_success_that_was_invoked_before_healing_proves_nothing() -> None:
    found = history((290, 310, "n1", OK), (350, 1300, "n1", INFO))
    assert liveness(found, fault(0, 50, 300)).verdict is Verdict.INVALID


def test_without_operations_after_healing_nothing_is_known() -> None:
    assert liveness(history((0, 10, "n1", OK)), fault(0, 50, 300)).verdict is Verdict.UNKNOWN
    assert liveness(History.of([])).verdict is Verdict.UNKNOWN


def test_a_fault_that_was_never_healed_leaves_it_open() -> None:
    result = liveness(history((350, 400, "n1", INFO)), fault(0, 50, None))
    assert result.verdict is Verdict.UNKNOWN
    assert "'kill' was never healed" in result.reason


def test_a_fault_that_did_not_take_does_not_count() -> None:
    failed = fault(0, 50, None, verified_ns=None, failed_ns=60 * MS)
    assert liveness(history((350, 400, "n1", OK)), failed).verdict is Verdict.VALID


def test_without_faults_the_whole_test_is_the_final_phase() -> None:
    assert liveness(history((0, 10, "n1", OK), (20, 30, "n1", FAIL))).verdict is Verdict.VALID


@pytest.mark.parametrize("faults", [(), (fault(0, 10, 50),)])
def test_a_system_that_stops_serving_with_no_fault_on_is_invalid(faults: tuple[dict[str, Any], ...]) -> None:
    failed = [(1000 + 500 * number, 1100 + 500 * number, "n1", FAIL) for number in range(30)]
    found = history((100, 200, "n1", OK), *failed)
    result = liveness(found, *faults, every_key=True)
    assert result.verdict is Verdict.INVALID
    assert (
        "stopped serving while no fault was on: none of the 30 operations of the last 14.6 s" in result.reason
    )
    assert result.counterexamples[0].core == (2, 4, 6, 8, 10)
    assert liveness(history((100, 200, "n1", OK), *failed[:19])).verdict is Verdict.VALID
    assert (
        liveness(history((100, 200, "n1", OK), *failed, (20_000, 20_100, "n1", OK))).verdict is Verdict.VALID
    )


def test_what_a_target_cannot_do_at_all_is_no_stop_of_service() -> None:
    writes = rows((0, 10, "n1", OK), f="write")
    reads = rows(*[(1000 * number, 1000 * number + 9, "n1", FAIL) for number in range(1, 40)], first=1)
    assert liveness(History.of([*writes, *reads])).verdict is Verdict.VALID


def test_of_a_system_that_never_served_nothing_is_known() -> None:
    assert liveness(history((0, 10, "n1", FAIL))).verdict is Verdict.UNKNOWN
    assert liveness(history((350, 400, "n1", FAIL)), fault(0, 100, 300)).verdict is Verdict.UNKNOWN


def test_every_key_can_be_asked_to_live() -> None:
    found = History.of([*rows((0, 10, "n1", OK), key="a"), *rows((20, 30, "n1", FAIL), key="b", first=1)])
    assert liveness(found).verdict is Verdict.VALID
    result = liveness(found, every_key=True)
    assert result.verdict is Verdict.INVALID
    assert result.details["dead_keys"] == ["b"]


def test_a_key_that_was_asked_for_only_before_the_system_served_again_says_nothing() -> None:
    early, served = rows((310, 320, "n1", FAIL), key="a"), rows((330, 340, "n1", OK), key="b", first=1)
    again = rows((350, 360, "n1", FAIL), key="a", first=2)
    outage = fault(0, 100, 300)
    assert liveness(History.of([*early, *served]), outage, every_key=True).verdict is Verdict.VALID
    asked_again = History.of([*early, *served, *again])
    assert liveness(asked_again, outage, every_key=True).verdict is Verdict.INVALID


def test_only_the_named_operations_count() -> None:
    acquires = rows((10, 20, "n1", OK), (320, 330, "n1", FAIL), f="acquire")
    found = History.of([*acquires, *rows((340, 350, "n1", OK), first=2)])
    assert liveness(found, fault(0, 100, 300)).verdict is Verdict.VALID
    assert liveness(found, fault(0, 100, 300), operations={"acquire"}).verdict is Verdict.INVALID


def statistics(found: History, *faults: dict[str, Any]) -> Any:
    return StatisticsChecker().check(found, context(faults=faults)).details


def test_counts_and_latencies_are_by_operation() -> None:
    reads = rows(*((10 * i, 10 * i + i, "n1", OK) for i in range(1, 101)))
    found = History.of(
        [*reads, *rows((2000, 2009, "n2", FAIL), (2010, 2100, "n2", INFO), f="write", first=200)]
    )
    details = statistics(found)
    assert details["by_f"] == {
        "read": {"ok": 100, "fail": 0, "info": 0},
        "write": {"ok": 0, "fail": 1, "info": 1},
    }
    assert details["latency_ms"] == {"read": {"p50": 50.5, "p95": 95.05, "p99": 99.01, "max": 100.0}}


def test_errors_are_counted_whatever_their_numbers_the_commonest_first() -> None:
    lost = [
        row._replace(error=f"timeout after {n} ms")
        for n, row in enumerate(rows(*[(n, n + 1, "n1", INFO) for n in range(3)]))
    ]
    refused = [row._replace(error="no") for row in rows((50, 51, "n1", FAIL), (60, 61, "n1", OK), first=9)]
    assert statistics(History.of([*lost, *refused]))["errors"] == [
        {"type": "info", "error": "timeout after … ms", "count": 3},
        {"type": "fail", "error": "no", "count": 1},
    ]


def test_rates_count_each_operation_once_in_the_bucket_where_it_ended() -> None:
    details = statistics(history((0, 5, "n1", OK), (0, 25, "n1", OK), (1, 26, "n1", FAIL)))
    assert details["rate"]["bucket_ms"] == 10
    assert details["rate"]["series"] == {"read": {"ok": [1, 0, 1], "fail": [0, 0, 1], "info": [0, 0, 0]}}
    assert details["quantile_series"] == {"bucket_ms": 10, "p50": [5.0, None, 25.0], "p99": [5.0, None, 25.0]}


def test_a_long_test_gets_wider_buckets_not_more() -> None:
    details = statistics(history(*((1000 * i, 1000 * i + 5, "n1", OK) for i in range(0, 5000, 10))))
    assert details["rate"]["bucket_ms"] == 60_000
    assert len(details["rate"]["series"]["read"]["ok"]) <= 120
    assert sum(details["rate"]["series"]["read"]["ok"]) == 500


def test_availability_is_by_node_and_around_each_fault() -> None:
    found = history(
        (100, 110, "n1", OK),
        (200, 210, "n2", OK),
        (1000, 2000, "n1", INFO),
        (1100, 1110, "n2", OK),
        (3100, 3150, "n1", OK),
    )
    details = statistics(found, fault(4, 900, 3000))
    assert details["availability"]["by_node"] == {"n1": 0.6667, "n2": 1.0}
    assert details["availability"]["around_faults"] == [
        {
            "fault": 4,
            "kind": "kill",
            "nodes": ["n1"],
            "before": 1.0,
            "during": 0.5,
            "after": 1.0,
            "recovery_ms": 150.0,
        }
    ]


def test_a_refused_compare_and_set_says_nothing_about_availability() -> None:
    found = History.of([*rows((0, 5, "n1", OK)), *rows((10, 15, "n1", FAIL), f="cas", first=1)])
    assert statistics(found)["availability"]["by_node"] == {"n1": 1.0}
    refused_read = history((0, 5, "n1", OK), (10, 15, "n1", FAIL))
    assert statistics(refused_read)["availability"]["by_node"] == {"n1": 0.5}


def test_ten_thousand_different_errors_do_not_make_the_figures_larger() -> None:
    found = History.of(
        row._replace(error=f"reset by port {row.process}")
        for row in rows(*[(10 * number, 10 * number + 5, "n1", INFO) for number in range(10_000)])
    )
    tracemalloc.start()
    try:
        figures = statistics(found)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert figures["by_f"] == {"read": {"ok": 0, "fail": 0, "info": 10_000}}
    assert sum(figures["rate"]["series"]["read"]["info"]) == 10_000
    assert peak_bytes < 8 << 20


def test_an_empty_history_has_empty_figures() -> None:
    result = StatisticsChecker().check(History.of([]), context())
    assert result.verdict is Verdict.VALID
    assert result.details["by_f"] == {}
    assert result.details["availability"] == {"by_node": {}, "around_faults": []}


def test_the_nemesis_is_not_counted() -> None:
    nemesis = Row(-1, "kill", type=INFO, invoke_index=100, complete_index=101, invoke_ns=0, complete_ns=5)
    found = History.of([*rows((0, 5, "n1", OK)), nemesis])
    assert statistics(found)["by_f"] == {"read": {"ok": 1, "fail": 0, "info": 0}}
