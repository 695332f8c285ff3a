"""Every target with every workload that it serves: a quiet simulated test ends without harness error, and valid."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.every_target import Combination, combinations

from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.registry import Kind, broken, names
from foreshock.harness.request import Request
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store

TARGETS = [name for name in names(Kind.TARGETS) if name not in broken(Kind.TARGETS)]
SIMULATED = [combination for combination in combinations(TARGETS) if combination.simulated]


def test_every_registered_target_and_workload_is_there_and_goes_with_another() -> None:
    assert (broken(Kind.TARGETS), broken(Kind.WORKLOADS)) == ({}, {})
    together = list(combinations(names(Kind.TARGETS)))
    assert {combination.target for combination in together} == set(names(Kind.TARGETS))
    assert {combination.workload for combination in together} == set(names(Kind.WORKLOADS))


@pytest.mark.parametrize("combination", SIMULATED, ids=lambda combination: "-".join(combination[:2]))
def test_nothing_goes_wrong_while_nothing_goes_wrong(combination: Combination, tmp_path: Path) -> None:
    request = Request(
        target=combination.target,
        workload=combination.workload,
        backend="sim",
        seed=1,
        time_limit=10.0,
        rate=30.0,
    )
    judgement = run_test(resolve(request), Store(tmp_path), SilentProgress(), report=False).judgement
    assert judgement.harness_errors == ()
    assert judgement.operations["ok"] > 50
    if (
        combination.naive
    ):  # which may do wrong even so: whoever is convicted, and of what, is tested elsewhere
        assert judgement.verdict in {"valid", "invalid"}
    else:
        assert judgement.verdict == "valid", judgement.reason
