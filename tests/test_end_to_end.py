"""The main job, whole: deploy, break, record, decide, show. In the simulator, as processes, in containers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.commands import HUNT_MAX, foreshock

from foreshock.harness import live_runs
from foreshock.harness.backends.process_identity import processes_of_run
from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.request import Request
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store

WORKLOADS = ("register", "lock", "cache")
FAULTS = ("kill", "partition", "pause")
BREAKING = ("--nemesis", "partition,kill,pause", "--interval", "1")

BUSY = ("--rate", "300", "--time-limit", "12", "--operation-timeout-ms", "2000")
HUNTS = {
    "raft/stale-leader-reads": (
        *("--nemesis", "partition", "-o", "partition.kinds=isolate-primary", "--interval", "2"),
        *BUSY,
    ),
    "raft/replies-before-fsync": (
        *("--nemesis", "power", "-o", "power.targets=all", "--interval", "1.5"),
        *BUSY,
    ),
    "paxos/half-is-majority": (
        *("--target", "paxos", "--nodes", "4", "--concurrency", "30", "--rate", "50", "--time-limit", "10"),
        *("--nemesis", "partition", "--interval", "1", "-o", "partition.kinds=halves"),
    ),
    "lock/deletes-without-comparing-token": (
        *("--target", "redis-lock", "--workload", "lock", "--concurrency", "10", "--time-limit", "10"),
        *("--nemesis", "pause", "--interval", "1", "-o", "ttl_ms=500"),
    ),
}
"""What finds a bug on real nodes in a test of some ten seconds, more often than not."""


def nothing_left_of(run: str) -> None:
    assert processes_of_run(run) == []
    assert live_runs.registered_runs() == []


def ledger_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "faults.jsonl").read_text().splitlines()]


def holds_up(document: dict[str, Any], run: Path) -> None:
    """What every good test of a correct cluster under all three nemeses must show."""
    assert document["verdict"] == "valid", document["reason"]
    assert (document["exit"], document["harness_errors"]) == (0, [])
    assert {kind for kind, count in document["faults"].items() if count > 0} == set(FAULTS)
    assert document["operations"]["ok"] > 0
    events = ledger_of(run)
    planned = {event["id"] for event in events if event["event"] == "planned"}
    assert planned == {event["id"] for event in events if event["event"] == "healed"}
    lines = (run / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(len(lines)))
    assert len(list((run / "nodes").glob("*/*.log"))) >= 5
    page = (run / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert document["replay"] in page.replace("&#39;", "'")


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_simulated_cluster_survives_all_three_nemeses(workload: str, tmp_path: Path) -> None:
    request = Request(
        workload=workload,
        nemesis="partition,kill,pause",
        interval=1.0,
        backend="sim",
        seed=11,
        time_limit=20.0,
    )
    outcome = run_test(resolve(request), Store(tmp_path), SilentProgress())
    holds_up(json.loads((outcome.run / "results.json").read_text()), outcome.run)


def convicted(document: dict[str, Any], run: Path, bug: str) -> None:
    """Invalid, with a counterexample as data and as a drawing."""
    assert (document["verdict"], document["exit"], document["bug"]) == ("invalid", 1, bug)
    found = [
        counterexample
        for result in document["checkers"].values()
        for counterexample in result.get("counterexamples", ())
    ]
    assert found
    core = found[0]["core"]
    drawn = {row["invoke_index"] for row in found[0]["operations"]}
    assert core
    assert set(core) <= drawn
    assert json.loads((run / "results.json").read_text())["verdict"] == "invalid"
    page = (run / "report.html").read_text()
    assert "INVALID" in page.upper()
    assert 'role="img"' in page
    assert bug in page


@pytest.mark.slow
def test_processes_survive_all_three_nemeses_and_nothing_is_left(tmp_path: Path) -> None:
    arguments = ("--workload", "cache", *BREAKING, "--backend", "process", "--time-limit", "10")
    result = foreshock("test", *arguments, "--store", str(tmp_path), "--json")
    run = Path(result.document["run"])
    holds_up(result.document, run)
    nothing_left_of(run.name.lower())
    assert not (run / "data").exists()


@pytest.mark.slow
@pytest.mark.parametrize("bug", ["paxos/half-is-majority"])
def test_a_planted_bug_is_convicted_on_processes(bug: str, tmp_path: Path) -> None:
    hunt_on("process", bug, tmp_path)


def hunt_on(backend: str, bug: str, store: Path) -> None:
    """Test after test on real nodes until the bug is convicted."""
    arguments = ("--backend", backend, "--bug", bug, *HUNTS[bug])
    for seed in range(HUNT_MAX):
        result = foreshock(
            "test",
            *arguments,
            "--seed",
            str(seed),
            "--store",
            str(store),
            "--json",
        )
        document = result.document
        assert document["harness_errors"] == []
        if document["verdict"] == "invalid":
            convicted(document, Path(document["run"]), bug)
            assert result.code == 1
            return
    raise AssertionError(f"{bug} was missed {HUNT_MAX} times on {backend}")


# --- containers ---------------------------------------------------------------------------------------------


def left_in_engine(run: str) -> list[str]:
    import docker

    engine = docker.from_env()
    try:
        wanted = {"label": f"foreshock.run={run}"}
        return [
            *(container.name for container in engine.containers.list(all=True, filters=wanted)),
            *(network.name for network in engine.networks.list(filters=wanted)),
            *(volume.name for volume in engine.volumes.list(filters=wanted)),
        ]
    finally:
        engine.close()


@pytest.mark.docker
def test_containers_survive_all_three_nemeses_and_nothing_is_left(tmp_path: Path) -> None:
    arguments = ("--workload", "lock", *BREAKING, "--backend", "docker", "--time-limit", "10")
    result = foreshock("test", *arguments, "--store", str(tmp_path), "--json")
    run = Path(result.document["run"])
    holds_up(result.document, run)
    assert left_in_engine(run.name.lower()) == []
    nothing_left_of(run.name.lower())


@pytest.mark.docker
@pytest.mark.parametrize(
    "bug",
    [
        "raft/replies-before-fsync",
        "raft/stale-leader-reads",
        "paxos/half-is-majority",
        "lock/deletes-without-comparing-token",
    ],
)
def test_a_planted_bug_is_convicted_in_containers(bug: str, tmp_path: Path) -> None:
    hunt_on("docker", bug, tmp_path)
