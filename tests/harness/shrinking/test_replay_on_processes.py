"""Replays on real nodes: the faults that were recorded, and no promise about the rest."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any


def faults(run: Path) -> list[str]:
    return re.findall(r"^(?:do|value) = .*$", (run / "schedule.toml").read_text(), re.MULTILINE)


def test_the_same_faults_come_to_the_same_nodes(command: Callable[..., Any], tmp_path: Path) -> None:
    test = ("test", "--backend", "process", "--target", "naive-lock", "--workload", "lock", "--nodes", "3")
    # Nothing is due in the last three seconds: a fault that comes late on a busy machine comes all the same.
    broken = ("--nemesis", "kill", "--interval", "0.4", "--quiet-windows", "1-4", "--time-limit", "4")
    first = command(*test, *broken, "--no-report", "--json")
    run = Path(first.document["run"])
    said = command("replay", "latest", "--no-report", "--json")
    document = said.document
    assert said.code == document["exit"] == document["test"]["exit"]
    assert document["same"] is None
    assert "the same faults came at the same times, but races" in document["says"][0]
    recorded = faults(run)
    assert len(recorded) > 1
    assert faults(Path(document["run"])) == recorded
    assert f"--schedule {run.relative_to(tmp_path)}/schedule.toml" in document["test"]["replay"]
    shrunk = command("shrink", run)
    assert shrunk.code == 4
    assert "was on real nodes (backend 'process')" in shrunk.err
    assert "foreshock hunt --target naive-lock" in shrunk.err
