"""Redis with Sentinel, for real: what it loses in a partition comes out, and what it keeps stays valid."""

from __future__ import annotations

import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.commands import foreshock, hunt

from foreshock.harness.cluster import Endpoint, Node
from foreshock.targets.external.redis_sentinel import RedisSentinel, SentinelOptions, halves

SCHEDULE = str(Path(__file__).parents[3] / "examples" / "isolated_master.toml")
STALLS = [
    *("--nemesis", "stall", "--interval", "1", "--time-limit", "8", "--concurrency", "12"),
    *("-o", "ttl_ms=1000", "-o", "use_ms=100", "-o", "locks=6", "-o", "stall.processes=some"),
    *("-o", "stall.duration_ms_min=1000", "-o", "stall.duration_ms_max=2000"),
]
WRITES = ("-o", "reads=0", "-o", "readers_percent=0", "-o", "cas=0", "-o", "updates_per_key=20")
"""Nothing is read before the end, and many keys are written during the partition alone."""
ISOLATED = ("--workload", "register", *WRITES, "--schedule", SCHEDULE, "--time-limit", "20", "--rate", "60")
"""Long enough for the old master to learn, some ten seconds after the partition, that there is another."""
needs_redis = pytest.mark.skipif(shutil.which("redis-sentinel") is None, reason="redis-sentinel is not here")


def node(index: int, count: int) -> Node:
    at = {f"n{i + 1}": Endpoint(host=f"10.0.0.{i + 1}", port=6379) for i in range(count)}
    name = f"n{index + 1}"
    return Node(
        name=name,
        index=index,
        endpoint=at[name],
        listen=Endpoint(host="0.0.0.0", port=6379),
        peers={peer: endpoint for peer, endpoint in at.items() if peer != name},
        data_directory="/data",
        cluster="run",
        address=at[name],
    )


def outcome(store: Path, backend: str, *words: str) -> dict[str, Any]:
    """What ``foreshock test`` says of a test."""
    command = ["test", "--target", "redis-sentinel", "--backend", backend, "--store", str(store), "--json"]
    return foreshock(*command, *words).document


class LastReads(NamedTuple):
    """What was read in the end of one key, and what may be read when no acknowledged write was lost."""

    read: list[Any]
    kept: set[Any]


def finals_of(result: dict[str, Any]) -> list[LastReads]:
    """By key, in the order of their first use, from a history of writes with reads after the last of them."""
    events = [json.loads(line) for line in Path(result["run"], "history.jsonl").read_text().splitlines()]
    ends = {event["invoke"]: event for event in events if "invoke" in event}
    asked = [event for event in events if event["type"] == "invoke" and event["f"] in ("read", "write")]
    kinds = "".join(event["f"][0] for event in asked)
    assert kinds == "w" * kinds.count("w") + "r" * kinds.count("r")
    finals = []
    for key in dict.fromkeys(event["key"] for event in asked):
        writes, read, kept = [], [], set()
        for event in asked:
            end = ends[event["index"]]
            if event["key"] != key or end["type"] == "fail":
                continue
            if event["f"] == "read":
                read += [end["result"]] if end["type"] == "ok" else []
            else:
                writes.append(
                    (event["index"], end["index"] if end["type"] == "ok" else math.inf, event["value"])
                )
        last_began = max((began for began, ended, _ in writes if ended < math.inf), default=-1)
        kept = {value for _, ended, value in writes if ended > last_began}
        finals.append(LastReads(read, kept if last_began >= 0 else {*kept, None}))
    return finals


def assert_acknowledged_writes_are_gone(result: dict[str, Any]) -> None:
    """All read the same of the keys of the end, and nothing is missing there: no old master went on answering."""
    finals = finals_of(result)
    of_the_end = [final for final in finals if len(final.read) > 1]
    assert of_the_end  # how many keys are under way at the end is chance
    assert [
        final for final in of_the_end if len(set(final.read)) > 1 or final.read[0] not in final.kept
    ] == []
    lost = [final for final in finals if final.read and final.read[0] not in final.kept]
    assert len(lost) > 2, finals


def faults_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    lines = Path(result["run"], "faults.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_the_first_half_are_servers_of_the_first_and_the_others_sentinels_with_a_majority_as_quorum() -> None:
    target = RedisSentinel(SentinelOptions(down_after_ms=1_234), seed=1)
    nodes = [node(index, 6) for index in range(6)]
    commands = [" ".join(target.command(each)) for each in nodes]
    assert [len(half) for half in halves(nodes)] == [3, 3]
    assert ["replicaof 10.0.0.1 6379" in command for command in commands] == [False, True, True, *[False] * 3]
    assert ["--sentinel" in command for command in commands] == [False] * 3 + [True] * 3
    assert "sentinel monitor foreshock 10.0.0.1 6379 2" in commands[4]
    assert "sentinel down-after-milliseconds foreshock 1234" in commands[5]
    assert "replica-announce-ip 10.0.0.2" in commands[1]
    assert "sentinel monitor foreshock 10.0.0.1 6379 3" in " ".join(target.command(node(8, 9)))


@needs_redis
@pytest.mark.slow
def test_a_partition_loses_writes_and_double_grants_and_what_has_no_failover_is_valid(tmp_path: Path) -> None:
    """Four tests at once: they mostly wait."""
    tests = {
        "narrower": (*ISOLATED, "-o", "min_replicas_to_write=1"),
        "quiet": ("--workload", "register", "--nemesis", "stall", "--time-limit", "5", "--rate", "60"),
    }

    def stalled(seed: int) -> dict[str, Any]:
        words = ("--workload", "lock", *STALLS, "--seed", str(seed))
        return outcome(tmp_path / f"stalled-{seed}", "process", *words)

    def isolated(seed: int) -> dict[str, Any]:
        return outcome(tmp_path / f"isolated-{seed}", "process", *ISOLATED, "--seed", str(seed))

    with ThreadPoolExecutor(len(tests) + 2) as pool:
        double_grants = pool.submit(hunt, stalled, "mutex", "guarded-resource")
        losses = pool.submit(hunt, isolated, "linearizable")
        started = {
            name: pool.submit(outcome, tmp_path / name, "process", *words, "--seed", "1")
            for name, words in tests.items()
        }
        results = {name: each.result() for name, each in started.items()}
        double_grants.result()  # stalls strike where they may
        results["lost"] = losses.result()
    assert [result["harness_errors"] for result in results.values()] == [[]] * len(results)
    assert results["quiet"]["verdict"] == "valid", results["quiet"]["reason"]
    assert_acknowledged_writes_are_gone(results["lost"])
    assert [fault["event"] for fault in faults_of(results["lost"])] == ["planned", "verified", "healed"]
    refused = {name: results[name]["operations"]["fail"] for name in ("lost", "narrower")}
    assert refused["narrower"] > refused["lost"] + 50  # a master without replicas refuses writes


@pytest.mark.docker
@pytest.mark.slow
def test_a_partition_loses_acknowledged_writes_in_containers(tmp_path: Path) -> None:
    def isolated(seed: int) -> dict[str, Any]:
        return outcome(tmp_path / str(seed), "docker", *ISOLATED, "--seed", str(seed))

    assert_acknowledged_writes_are_gone(hunt(isolated, "linearizable"))
