"""Full simulated tests of every protocol: what no protocol may break is checked after every step of every node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.targets.reference.invariants import Invariants, watch

from foreshock.harness.plan import Request, resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store
from foreshock.targets.reference.node.programs import PROGRAMS

PROTOCOLS = [name for name in ("raft", "paxos", "zab") if name in PROGRAMS]


def run(store: Path, **fields: Any) -> tuple[Any, Invariants]:
    """One simulated test, watched."""
    with watch() as invariants:
        request = Request(backend="sim", **fields)
        judgement = run_test(resolve(request), Store(store), SilentProgress(), report=False).judgement
    return judgement, invariants


@pytest.mark.parametrize("workload", ["register", "lock", "cache"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_step_of_a_test_keeps_the_invariants(protocol: str, workload: str, tmp_path: Path) -> None:
    fields = {"target": protocol, "workload": workload, "nemesis": "partition,kill,pause", "interval": 2.0}
    for seed in (1, 2):
        judgement, invariants = run(tmp_path, seed=seed, time_limit=15.0, **fields)
        assert invariants.broken == []
        assert judgement.verdict == "valid", judgement.reason
        assert not judgement.harness_errors
        assert invariants.steps > 1000
        assert len(invariants.entries) > 50
        assert invariants.states


def test_the_watch_sees_a_bug_that_splits_the_cluster(tmp_path: Path) -> None:
    """Two nodes that each lead one term, or apply other entries, are noticed, whatever the clients see."""
    for seed in range(8):
        _, invariants = run(
            tmp_path,
            target="raft",
            workload="register",
            nemesis="partition,kill",
            bug="raft/vote-not-persisted",
            interval=2.0,
            seed=seed,
            time_limit=20.0,
        )
        if invariants.broken:
            return
    pytest.fail("a bug that elects two leaders of one term went unnoticed")


def test_the_watch_sees_logs_that_do_not_match(tmp_path: Path) -> None:
    """A node that keeps what contradicts its leader is noticed by its log, before any client reads from it."""
    for seed in range(8):
        _, invariants = run(
            tmp_path,
            target="raft",
            workload="register",
            nemesis="partition",
            bug="raft/keeps-conflicting-suffix",
            options={"partition.kinds": "isolate-primary"},
            interval=2.0,
            seed=seed,
            time_limit=20.0,
        )
        if any(" after term " in sentence for sentence in invariants.broken):
            return
    pytest.fail("logs that do not match went unnoticed")
