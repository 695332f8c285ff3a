"""The search for the least test, over tests that are only pretended: what is tried, and what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from foreshock.harness.plan import resolve
from foreshock.harness.registry import Kind, load
from foreshock.harness.request import Request
from foreshock.harness.schedule_file import ScheduledFault, read_schedule
from foreshock.harness.shrinking.candidate import Candidate, Failure, paired, smaller
from foreshock.harness.shrinking.reduction import Reduction
from foreshock.harness.shrinking.stored_test import schedule_text
from foreshock.harness.shrinking.trials import Found, Trial, Trials, Watcher

SECOND_NS = 1_000_000_000
FAILURE = Failure("linearizable", "read ok")
Oracle = Callable[[Candidate, int], bool]


class PretendedTrials:
    """Fails where the oracle says so, a test after the other."""

    failure = FAILURE

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self.tried: set[tuple[str, int]] = set()

    def one(self, candidate: Candidate, seed: int) -> Trial:
        self.tried.add((candidate.key(), seed))
        fails = self._oracle(candidate, seed)
        operations = int(candidate.request.time_limit * candidate.request.rate)
        return Trial(
            verdict="invalid" if fails else "valid", failure=FAILURE if fails else None, operations=operations
        )

    def fails(self, trial: Trial) -> bool:
        return trial.failure is not None

    def first(
        self, candidates: Iterable[Candidate], seeds: Sequence[int], *, operations_max: int | None = None
    ) -> Found | None:
        for candidate in candidates:
            for seed in seeds:
                trial = self.one(candidate, seed)
                if self.fails(trial) and (operations_max is None or trial.operations <= operations_max):
                    return Found(candidate, seed, trial)
        return None


def kill(at_s: float, *nodes: str) -> list[ScheduledFault]:
    at_ns = round(at_s * SECOND_NS)
    return [
        ScheduledFault(at_ns=at_ns, do="kill", value={"spec": "all", "nodes": list(nodes)}),
        ScheduledFault(at_ns=at_ns + SECOND_NS // 2, do="start", value={"nodes": list(nodes)}),
    ]


def reduce(
    oracle: Oracle, recorded: Sequence[ScheduledFault], **settings: Any
) -> tuple[Found, PretendedTrials]:
    request = Request(nemesis="partition,kill", backend="sim", seed=3, time_limit=40.0, **settings)
    trials = PretendedTrials(oracle)
    reduction = Reduction(cast(Trials, trials), Watcher(), resolve(request), recorded, seeds=2)
    reduction.start()
    assert reduction.run() == ""
    assert reduction.best is not None
    return reduction.best, trials


def killed(candidate: Candidate, seed: int, *nodes: str) -> bool:
    """Whether all of these nodes are killed at some time; before there is a schedule they are."""
    if candidate.faults is None:
        return True
    struck = {node for fault in candidate.faults if fault.do == "kill" for node in fault.value["nodes"]}
    return set(nodes) <= struck


def test_two_faults_of_forty_are_found_and_all_else_becomes_small() -> None:
    recorded = [
        entry for number in range(40) for entry in kill(0.5 + 0.9 * number, f"n{number % 5 + 1}", "n5")
    ]
    best, trials = reduce(lambda candidate, seed: killed(candidate, seed, "n1", "n2"), recorded)
    faults = best.candidate.faults or ()
    request = best.candidate.request
    assert [fault.value["nodes"] for fault in faults] in ([["n1"], ["n2"]], [["n2"], ["n1"]])
    assert all(fault.stop == "start" and fault.lasts_ns == SECOND_NS // 10 for fault in faults)
    assert (request.nemesis, request.nodes, request.concurrency, request.rate) == ("kill", "2", "1", 1.0)
    least = {"active_keys": 1, "reads": 0, "writes": 0, "cas": 0}
    assert request.options == {f"workload.{name}": value for name, value in least.items()}
    assert request.time_limit <= 1.0
    assert len(trials.tried) < 250


def test_a_failure_that_needs_no_fault_is_left_with_none_and_no_option_of_a_nemesis() -> None:
    best, _ = reduce(
        lambda candidate, seed: True,
        kill(1, "n1"),
        options={"kill.targets": "one", "kinds": "halves", "cas": 1},
    )
    assert best.candidate.faults == ()
    assert best.candidate.request.nemesis == "none"
    assert best.candidate.request.options == {
        "cas": 0,
        "workload.active_keys": 1,
        "workload.reads": 0,
        "workload.writes": 0,
    }


def test_where_the_recorded_faults_do_not_bring_it_back_nemeses_and_time_are_made_less() -> None:
    def oracle(candidate: Candidate, seed: int) -> bool:
        return (
            candidate.faults is None
            and "kill" in candidate.request.nemesis
            and candidate.request.time_limit > 7
        )

    best, _ = reduce(oracle, kill(1, "n1"), options={"kinds": "halves"})
    assert best.candidate.faults is None
    assert best.candidate.request.nemesis == "kill"
    assert "kinds" not in best.candidate.request.options
    assert 7 < best.candidate.request.time_limit < 12


def test_another_seed_is_tried_where_a_smaller_test_passes_by_chance() -> None:
    def oracle(candidate: Candidate, seed: int) -> bool:
        return candidate.request.time_limit == 40.0 or seed == 4

    best, _ = reduce(oracle, ())
    assert best.seed == 4
    assert best.candidate.request.time_limit == 0.5


def test_faults_on_nodes_that_are_gone_leave_them_out_and_the_others_are_renamed() -> None:
    grudge = {"n1": ["n3"], "n2": ["n3"], "n3": ["n1", "n2"]}
    fault = ScheduledFault(at_ns=0, do="start-partition", value={"kind": "halves", "grudge": grudge})
    candidate = Candidate(request=Request(nodes="3"), faults=(fault,)).with_nodes(("n1", "n3"))
    assert candidate.request.nodes == "2"
    assert candidate.faults is not None
    assert candidate.faults[0].value == {"kind": "halves", "grudge": {"n1": ["n2"], "n2": ["n1"]}}


def test_a_fault_and_its_end_become_one_entry_that_is_read_back_the_same(tmp_path: Path) -> None:
    nemeses = {"kill": load(Kind.NEMESES, "kill"), "partition": load(Kind.NEMESES, "partition")}
    cut = ScheduledFault(at_ns=123_456_789, do="start-partition", value="halves")
    faults = paired([cut, *kill(1.25, "n1"), *kill(2, "n2")], nemeses)
    assert [(fault.do, fault.stop, fault.lasts_ns) for fault in faults] == [
        ("start-partition", None, 0),
        ("kill", "start", SECOND_NS // 2),
        ("kill", "start", SECOND_NS // 2),
    ]
    path = tmp_path / "schedule.toml"
    path.write_text(schedule_text(faults, "A head."))
    assert "at = 1.25\n" in path.read_text()
    assert read_schedule(path, nemeses, ("n1", "n2"), 10.0) == faults


@pytest.mark.parametrize(
    ("now", "least", "tries"), [(100, 1, [1, 25, 50, 75, 99]), (2, 1, [1]), (1, 1, []), (3, 0, [0, 1, 2])]
)
def test_numbers_are_made_smaller_the_boldest_first(now: int, least: int, tries: list[int]) -> None:
    assert smaller(now, least) == tries
