"""The schedule that convicts two membership changes at once, in the simulator and on real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.commands import hunt

SCHEDULE = Path(__file__).resolve().parents[2] / "examples" / "two_membership_changes.toml"
COMMAND = "import sys; from foreshock.harness.cli.main import main; sys.exit(main())"
BUG = ("--bug", "raft/two-membership-changes-at-once")


def played(backend: str, store: Path, *words: str) -> Any:
    """``foreshock test --schedule``; its JSON document."""
    options = ["-o", "target.election_timeout_min_ms=3500", "-o", "target.election_timeout_max_ms=4500"]
    common = [
        "--target",
        "raft",
        "--schedule",
        str(SCHEDULE),
        "--nodes",
        "5",
        "--rate",
        "60",
        "--time-limit",
        "30",
    ]
    done = subprocess.run(
        [
            *(sys.executable, "-c", COMMAND, "test", "--backend", backend, "--store", str(store), "--json"),
            *(*common, *options, *words),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_bug_is_convicted_and_raft_is_not(seed: str, tmp_path: Path) -> None:
    assert played("sim", tmp_path, *BUG, "--seed", seed)["verdict"] == "invalid"
    correct = played("sim", tmp_path, "--seed", seed)
    assert (correct["verdict"], correct["harness_errors"]) == ("valid", [])
    assert correct["faults"]["partition"] == 4


def test_the_bug_is_convicted_on_real_processes(tmp_path: Path) -> None:
    """A leader that is cut off leads for a second only, and a busy machine may let it pass."""
    hunt(lambda seed: played("process", tmp_path, *BUG, "--seed", str(seed)), "linearizable")
