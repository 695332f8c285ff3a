"""A cluster that lies: each fault is asked for, says that it is done, and does nothing.

That is a harness error beside the verdict, in the ledger and in the exit code; and it never hides an invalid.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.backends.sim import SimCluster
from foreshock.harness.judge import Judgement
from foreshock.harness.ledger import Fault, read_ledger
from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.request import Request
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store
from foreshock.harness.verdict import ExitCode

SEED_OF_VIOLATION = 2
"""In which partitions alone make the planted bug show."""


async def nothing(*_: Any, **__: Any) -> dict[str, Any]:
    return {}


def judged(folder: Path, **request: Any) -> tuple[Judgement, tuple[Fault, ...]]:
    wanted = {
        "target": "raft",
        "workload": "register",
        "interval": 0.5,
        "time_limit": 4.0,
        "seed": 7,
        **request,
    }
    outcome = run_test(
        resolve(Request(backend="sim", **wanted)), Store(folder), SilentProgress(), report=False
    )
    return outcome.judgement, read_ledger(outcome.run / "faults.jsonl")


@pytest.mark.parametrize(
    ("nemesis", "lies", "options"),
    [
        ("partition", ["cut"], {}),
        ("kill", ["kill"], {}),
        ("pause", ["pause"], {}),
        ("clock", ["jump_clocks"], {"clock.kinds": "jump"}),
        ("clock", ["jump_clocks"], {"clock.kinds": "strobe"}),
        ("clock", ["drift_clocks"], {"clock.kinds": "drift"}),
        ("power", ["cut_power"], {}),
        ("disk", ["break_disks"], {}),
        ("packet", ["shape", "reset_connections", "break_names"], {}),
        ("crash-loop", ["kill"], {}),
        ("restart", ["kill", "cut_power"], {}),
        ("primary", ["cut", "kill", "pause", "cut_power", "shape", "jump_clocks", "drift_clocks"], {}),
    ],
)
def test_a_fault_that_did_not_take_is_a_harness_error(
    nemesis: str, lies: list[str], options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in lies:
        monkeypatch.setattr(SimCluster, method, nothing)
    judgement, ledger = judged(tmp_path, nemesis=nemesis, options=options)
    assert ledger
    assert not [fault for fault in ledger if fault.verified_ns is not None and fault.failure is None]
    assert (judgement.verdict, judgement.exit) == ("valid", ExitCode.HARNESS_ERROR)
    assert judgement.harness_errors
    told = [row for row in judgement.ledger if row.get("failure")]
    assert len(told) == len(ledger)
    assert all(row["kind"] and "verified_ns" not in row for row in told)


@pytest.mark.parametrize(
    ("nemesis", "lie", "options"),
    [
        ("kill", "start", {}),
        ("pause", "resume", {}),
        ("clock", "reset_clocks", {"clock.kinds": "jump"}),
        ("disk", "mend_disks", {}),
    ],
)
def test_a_fault_that_did_not_heal_is_a_harness_error(
    nemesis: str, lie: str, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimCluster, lie, nothing)
    judgement, ledger = judged(tmp_path, nemesis=nemesis, options=options)
    assert judgement.verdict != "invalid", "the target is blamed for a fault that is still in force"
    assert any(fault.verified_ns is not None and fault.failure is not None for fault in ledger)
    assert judgement.exit == ExitCode.HARNESS_ERROR
    assert judgement.harness_errors


def test_a_fault_that_did_not_take_hides_no_violation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimCluster, "pause", nothing)
    judgement, _ = judged(
        tmp_path,
        nemesis="partition,pause",
        bug="raft/stale-leader-reads",
        time_limit=8.0,
        interval=0.4,
        seed=SEED_OF_VIOLATION,
    )
    assert (judgement.verdict, judgement.exit) == ("invalid", ExitCode.INVALID)
    assert any("did not take" in error for error in judgement.harness_errors)
