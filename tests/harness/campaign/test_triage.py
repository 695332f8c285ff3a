"""Triage: what looks alike comes together, what does not stays apart, and the newest comes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.campaign.document import Attempt, CampaignRow, Outcome
from foreshock.harness.campaign.triage import HARNESS, groups_of
from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.request import Request
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store
from foreshock.harness.summary import TestSummary, read_summary


def summary(started: int = 0, **fields: Any) -> TestSummary:
    return TestSummary(
        **{
            "run": f"/store/{started}", "target": "raft", "workload": "register", "backend": "sim", "seed": started,
            "verdict": "invalid", "exit": 1, "reason": "linearizable: read 3", "checker": "linearizable",
            "core": ("write ok", "read ok"), "impossible": "read ok", "faults_in_force": ("partition",),
            "started": f"2026-01-01T00:00:{started:02}.000+00:00", "replay": f"foreshock test --seed {started}",
            **fields,
        }
    )  # fmt: skip


def row(key: str, *attempts: TestSummary | str, outcome: Outcome = "failed") -> CampaignRow:
    made = tuple(
        Attempt(number=number, error=each) if isinstance(each, str) else Attempt(number=number, summary=each)
        for number, each in enumerate(attempts, start=1)
    )
    return CampaignRow(key=key, cell={}, seed=0, outcome=outcome, attempts=made)


def test_failures_of_the_same_look_are_one_group_told_by_its_newest() -> None:
    groups = groups_of([row("a", summary(1)), row("b", summary(3)), row("c", summary(2))])
    assert [group.tests for group in groups] == [("b", "c", "a")]
    assert groups[0].newest == "2026-01-01T00:00:03.000+00:00"
    assert groups[0].run == "/store/3"
    assert groups[0].replay == "foreshock test --seed 3"
    assert (groups[0].checker, groups[0].core, groups[0].faults, groups[0].verdict) == (
        "linearizable", ("write ok", "read ok"), ("partition",), "invalid",
    )  # fmt: skip


def test_groups_come_newest_first() -> None:
    rows = [row("old", summary(1)), row("new", summary(2, checker="mutex")), row("older", summary(0))]
    assert [group.tests for group in groups_of(rows)] == [("new",), ("old", "older")]


@pytest.mark.parametrize(
    "fields",
    [
        {"core": ("write ok x7", "read ok")},
        {"core": ("write ok x2", "read ok")},
        {"core": ("cas ok", "read ok")},
        {"core": ("write ok", "cas ok x2", "read ok")},
        {"faults_in_force": ("after partition",)},
        {"reason": "linearizable: read 9"},
        {"seed": 99},
    ],
    ids=["counts", "count", "another update", "more updates", "seen after the fault", "values", "seed"],
)
def test_what_varies_from_seed_to_seed_does_not_split_a_group(fields: dict[str, Any]) -> None:
    assert len(groups_of([row("a", summary(1)), row("b", summary(2, **fields))])) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"core": ("write info", "read ok")},
        {"core": ("write ok", "read ok x2")},
        {"core": ("write ok", "read info", "read ok")},
        {"core": ("read ok",)},
        {"impossible": "write ok"},
        {"faults_in_force": ("kill", "partition")},
        {"faults_in_force": ()},
        {"checker": "session"},
        {"target": "zab"},
        {"bug": "raft/stale-leader-reads"},
        {"verdict": "unknown", "checker": "", "core": (), "impossible": "", "reason": "the deadline passed"},
    ],
    ids=[
        "outcome",
        "against a read too",
        "against an unknown read too",
        "against nothing",
        "impossible",
        "more faults",
        "no fault",
        "checker",
        "target",
        "bug",
        "unknown",
    ],
)
def test_what_tells_causes_apart_splits_a_group(fields: dict[str, Any]) -> None:
    assert len(groups_of([row("a", summary(1)), row("b", summary(2, **fields))])) == 2


def test_harness_errors_are_groups_of_their_own_by_what_they_say_but_for_names_and_figures() -> None:
    def error(second: int, text: str) -> TestSummary:
        return summary(
            second, verdict="unknown", exit=3, checker="", core=(), faults_in_force=(), harness_errors=(text,)
        )

    rows = [
        row("a", error(1, "the container fs-ab12-n1 of /tmp/x/1 did not start in 30 s"), outcome="error"),
        row("b", error(2, "the container fs-cd34-n5 of /tmp/y/2 did not start in 31 s"), outcome="error"),
        row("c", "the process that ran it ended with exit code 9", outcome="error"),
        row("d", error(3, "the fault kill on n1 failed: it still runs"), outcome="error"),
    ]
    groups = groups_of(rows)
    assert [group.tests for group in groups] == [("d",), ("b", "a"), ("c",)]
    assert {(group.checker, group.verdict) for group in groups} == {(HARNESS, "error")}
    assert groups[2].reason == "the process that ran it ended with exit code 9"


def test_a_flaky_test_is_in_the_group_of_its_failure_and_in_no_other() -> None:
    valid = summary(5, verdict="valid", exit=0, checker="", core=(), faults_in_force=())
    groups = groups_of([row("a", "lost", summary(3), valid, outcome="flaky"), row("b", summary(1))])
    assert [group.tests for group in groups] == [("a", "b")]


def test_what_passed_and_what_was_only_interrupted_is_in_no_group() -> None:
    valid = summary(1, verdict="valid", exit=0, checker="", core=())
    interrupted = summary(2, verdict="unknown", exit=130, interrupted=True, checker="", core=())
    assert (
        groups_of([row("a", valid, outcome="passed"), row("b", interrupted), row("c", outcome="waiting")])
        == ()
    )


def test_real_failures_of_one_cause_come_together_whatever_their_cores_are_made_of(tmp_path: Path) -> None:
    store, rows = Store(tmp_path), []
    cases = [
        ("partition", "raft/stale-leader-reads", (3, 5)),
        ("power", "raft/replies-before-fsync", (4, 5)),
    ]
    for nemesis, bug, seeds in cases:
        for seed in seeds:
            request = Request(
                target="raft", nemesis=nemesis, bug=bug, seed=seed, workload="register", backend="sim",
                time_limit=8, interval=2,
            )  # fmt: skip
            run = run_test(resolve(request), store, SilentProgress(), report=False).run
            rows.append(row(f"{bug} {seed}", read_summary(run)))
    groups = groups_of(rows)
    assert {frozenset(group.tests): group.faults for group in groups} == {
        frozenset({"raft/stale-leader-reads 3", "raft/stale-leader-reads 5"}): ("partition",),
        frozenset({"raft/replies-before-fsync 4", "raft/replies-before-fsync 5"}): ("power",),
    }
    assert {group.core for group in groups} == {("cas ok", "write ok", "read ok")}
