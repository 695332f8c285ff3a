"""One seed gives one byte-identical history, in any process, whatever its hash seed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNS = 10
COMMAND = (
    sys.executable,
    "-m",
    "foreshock",
    "test",
    "--backend",
    "sim",
    "--time-limit",
    "4",
    "--no-report",
    "-q",
)
NEMESIS = ("--nemesis", "partition,kill,pause,clock,power,membership,stall", "--interval", "1")


def run_once(store: Path, hash_seed: int, *arguments: str) -> str:
    result = subprocess.run(
        [*COMMAND, *NEMESIS, *arguments, "--store", str(store)],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (run,) = store.glob("*/*/history.jsonl")
    faults = run.with_name("faults.jsonl").read_bytes()
    return hashlib.sha256(run.read_bytes() + faults).hexdigest()


@pytest.mark.slow
def test_a_seed_run_ten_times_gives_one_history_and_one_ledger(tmp_path: Path) -> None:
    arguments = ("--seed", "11", "--workload", "lock", "-o", "fencing=true")
    digests = {run_once(tmp_path / str(i), i, *arguments) for i in range(RUNS)}
    assert len(digests) == 1


@pytest.mark.slow
def test_another_seed_gives_another_history(tmp_path: Path) -> None:
    assert run_once(tmp_path / "a", 0, "--seed", "1") != run_once(tmp_path / "b", 0, "--seed", "2")
