"""The summary of a test: what its counterexample looks like, which faults were in force, and where it lies."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foreshock.harness.errors import HarnessError
from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.request import Request
from foreshock.harness.runner import run_test
from foreshock.harness.store import RESULTS, Store, read_json
from foreshock.harness.summary import SUMMARY, TestSummary, faults_between, read_summary, shape_of

S = 1_000_000_000


@pytest.fixture(scope="module")
def stale_read(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which a deposed leader answers a read of its own."""
    request = Request(
        target="raft", workload="register", nemesis="partition", backend="sim", bug="raft/stale-leader-reads",
        seed=0, time_limit=20,
    )  # fmt: skip
    store = Store(tmp_path_factory.mktemp("store"))
    return run_test(resolve(request), store, SilentProgress(), report=False).run


def fault(kind: str, planned: float, verified: float | None, healed: float | None) -> dict[str, Any]:
    times = {"planned_ns": planned, "verified_ns": verified, "healed_ns": healed}
    return {"kind": kind, **{name: None if at is None else round(at * S) for name, at in times.items()}}


def test_the_summary_of_a_failure_has_the_core_of_the_counterexample_and_its_fault(stale_read: Path) -> None:
    summary = read_summary(stale_read)
    results = read_json(stale_read / RESULTS)
    example = results["checkers"]["linearizable"]["counterexamples"][0]
    impossible = next(row for row in example["operations"] if row["invoke_index"] == example["impossible"])
    cutting = [
        row
        for row in results["ledger"]
        if row["planned_ns"] <= impossible["complete_ns"] and impossible["invoke_ns"] <= row["healed_ns"]
    ]
    assert summary.verdict == "invalid"
    assert summary.checker == "linearizable"
    assert summary.core[-1] == summary.impossible == "read ok"
    assert sum(int(word.partition(" x")[2] or 1) for word in summary.core) == len(example["core"])
    assert {row["kind"] for row in cutting} == {"partition"}
    assert summary.faults_in_force == ("partition",)


def test_a_summary_is_the_same_from_its_own_file_and_from_the_results(
    stale_read: Path, tmp_path: Path
) -> None:
    copy = tmp_path / stale_read.name
    shutil.copytree(stale_read, copy)
    (copy / SUMMARY).unlink()
    assert read_summary(copy) == msgspec.structs.replace(read_summary(stale_read), run=str(copy))


def test_a_run_that_was_moved_says_where_it_is_now(stale_read: Path, tmp_path: Path) -> None:
    copy = tmp_path / stale_read.name
    shutil.copytree(stale_read, copy)
    assert read_summary(copy).run == str(copy)


def test_results_that_no_test_leaves_are_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / RESULTS).write_text('{"verdict": 7}')
    with pytest.raises(HarnessError, match="is not what a test leaves"):
        read_summary(tmp_path)


def test_a_valid_test_has_no_core_and_no_faults_to_blame() -> None:
    assert shape_of(None) == ()
    assert (
        TestSummary(
            run="r", target="t", workload="w", backend="sim", seed=1, verdict="valid", exit=0, reason=""
        ).faults_in_force
        == ()
    )


@pytest.mark.parametrize(
    ("ledger", "expected"),
    [
        ([fault("kill", 1, 2, 3)], ("after kill",)),
        ([fault("kill", 1, 2, 3), fault("pause", 1, 2, 4)], ("after pause",)),
        ([fault("kill", 1, 2, 6)], ("kill",)),
        ([fault("kill", 1, 2, 5.5)], ("kill",)),
        ([fault("kill", 1, 2, None)], ("kill",)),
        ([fault("partition", 1, 9, 12), fault("clock", 2, 3, None)], ("clock", "partition")),
        ([fault("kill", 1, None, None)], ()),
        ([fault("kill", 7, 8, 9)], ()),
        ([], ()),
    ],
    ids=[
        "healed before", "the last one healed before", "in force", "healed meanwhile", "never healed",
        "injected, not yet seen to have taken", "did not take", "only later", "no faults at all",
    ],
)  # fmt: skip
def test_the_faults_of_an_operation_are_those_in_force_while_it_ran(
    ledger: list[dict[str, Any]], expected: tuple[str, ...]
) -> None:
    assert faults_between(ledger, 5 * S, 6 * S) == expected


def test_the_shape_of_a_core_counts_what_comes_more_than_once_in_the_order_of_invocation() -> None:
    rows = [
        {"invoke_index": index, "f": f, "type": kind}
        for index, f, kind in (
            (7, "read", "ok"),
            (1, "write", "ok"),
            (2, "write", "info"),
            (3, "write", "ok"),
        )
    ]
    example = {"core": [1, 2, 3, 7], "operations": [*rows, {"invoke_index": 4, "f": "cas", "type": "ok"}]}
    assert shape_of(example) == ("write ok x2", "write info", "read ok")
