"""Caches on real nodes: processes of this machine over SQLite, and containers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.commands import foreshock

from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.request import Request
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store
from foreshock.targets.caches.memory_cache import MemoryCache


def results_of(tmp_path: Path, *words: str) -> dict[str, Any]:
    """What ``foreshock test`` says of a short test with faults."""
    command = ["test", "--workload", "cache", "--nemesis", "kill,pause", "--interval", "1"]
    done = foreshock(*command, "--time-limit", "3", "--store", str(tmp_path), "--seed", "1", "--json", *words)
    return done.document


def test_a_disk_cache_over_sqlite_keeps_its_promise_as_processes(tmp_path: Path) -> None:
    results = results_of(
        tmp_path, "--target", "disk-cache", "--backend", "process", "-o", "mode=write-through"
    )
    assert (results["verdict"], results["harness_errors"]) == ("valid", [])
    assert {"staleness", "session"} <= results["checkers"].keys()
    assert results["operations"]["ok"] > 50
    assert results["figures"]["hits"] > 0


@pytest.mark.docker
def test_a_memory_cache_keeps_its_promise_in_containers(tmp_path: Path) -> None:
    results = results_of(tmp_path, "--target", "memory-cache", "--backend", "docker")
    assert (results["verdict"], results["harness_errors"]) == ("valid", [])
    assert results["operations"]["ok"] > 50


def test_figures_that_cannot_be_had_are_a_harness_error_and_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: MemoryCache) -> dict[str, Any]:
        raise RuntimeError("no figures today")

    monkeypatch.setattr(MemoryCache, "figures", broken)
    request = Request(target="memory-cache", workload="cache", backend="sim", seed=1, time_limit=1.0)
    judgement = run_test(resolve(request), Store(tmp_path), SilentProgress(), report=False).judgement
    assert judgement.verdict == "valid"
    assert judgement.figures == {}
    assert "figures of the target 'memory-cache'" in judgement.harness_errors[0]
