"""The example of a target with two versions: it may go forward, and not back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.commands import hunt

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "two_versions.py"
COMMAND = "import sys; from foreshock.harness.cli.main import main; sys.exit(main())"


def upgraded(store: Path, seed: int, *words: str) -> Any:
    """``foreshock test`` on the example; its JSON document."""
    common = ["--target", f"{EXAMPLE}:TwoVersions", "--workload", "register", "--nemesis", "upgrade"]
    common += [
        "--backend",
        "process",
        "--time-limit",
        "5",
        "--interval",
        "0.5",
        "--rate",
        "80",
        "--seed",
        str(seed),
    ]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "test", *common, *words, "--store", str(store), "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_every_node_goes_over_to_the_second_version_and_nothing_is_lost(tmp_path: Path) -> None:
    result = upgraded(tmp_path, 3)
    assert (result["verdict"], result["harness_errors"]) == ("valid", []), result
    logs = [Path(result["run"], "nodes", name, "node.log").read_text() for name in ("n1", "n2", "n3")]
    assert all(log.splitlines()[0] == "version 1" and "version 2" in log for log in logs)


def test_going_back_loses_what_the_first_version_cannot_read(tmp_path: Path) -> None:
    back = ("-o", "upgrade.downgrade=true", "-o", "upgrade.kinds=all")
    hunt(lambda seed: upgraded(tmp_path / str(seed), seed, *back), "linearizable")
