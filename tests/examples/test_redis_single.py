"""The example that users start from: a real redis-server, tested by one command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "redis_single.py"
COMMAND = "import sys; from foreshock.harness.cli.main import main; sys.exit(main())"
redis = pytest.importorskip("redis")


def foreshock_test(backend: str, store: Path) -> Any:
    """``foreshock test`` on the example; its JSON document."""
    words = ["--target", f"{EXAMPLE}:Redis", "--workload", "register", "--nemesis", "kill,pause"]
    words += ["--backend", backend, "--time-limit", "4", "--interval", "1", "--rate", "50", "--seed", "1"]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "test", *words, "--store", str(store), "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def check(result: Any) -> None:
    assert (result["verdict"], result["exit"]) == ("valid", 0), result
    assert result["harness_errors"] == []
    assert result["operations"]["ok"] > 20
    assert sum(result["faults"].values()) >= 2
    log = Path(result["run"], "nodes", "n1", "node.log").read_text()
    assert "Ready to accept connections" in log


def test_the_example_is_a_target_in_under_80_lines() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 80


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not on the PATH")
def test_redis_as_a_process_survives_kills_and_pauses(tmp_path: Path) -> None:
    check(foreshock_test("process", tmp_path))


@pytest.mark.docker
@pytest.mark.slow
def test_redis_in_a_container_survives_kills_and_pauses(tmp_path: Path) -> None:
    check(foreshock_test("docker", tmp_path))
