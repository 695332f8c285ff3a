"""The lock programs as real processes: killed and started again, with real sockets, files and shared memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.commands import HUNT_MAX

from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.request import Request
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store


@pytest.mark.parametrize(("target", "nodes"), [("tcp-lock", "1"), ("shm-lock", "2")])
def test_a_lock_of_real_processes_survives_the_kill_of_its_nodes(
    target: str, nodes: str, tmp_path: Path
) -> None:
    said = "grants none for" if target == "tcp-lock" else "the owner of the lock"
    for seed in range(1, 1 + HUNT_MAX):  # until a kill has come while somebody held a lock
        request = Request(
            target=target,
            workload="lock",
            nemesis="kill",
            backend="process",
            nodes=nodes,
            concurrency="6",
            rate=200,
            time_limit=3,
            interval=0.7,
            seed=seed,
            options={"ttl_ms": 300, "blocking_wait_ms": 500},
        )
        outcome = run_test(resolve(request), Store(tmp_path), SilentProgress(), report=False)
        assert outcome.judgement.harness_errors == ()
        assert outcome.judgement.verdict == "valid", outcome.judgement.reason
        assert outcome.judgement.faults["kill"] >= 1
        logs = "".join(path.read_text() for path in (outcome.run / "nodes").rglob("node.log"))
        if said in logs:
            return
    raise AssertionError(f"no node said {said!r} in {HUNT_MAX} tests")
