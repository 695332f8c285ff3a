"""The Redis locks in whole tests: within their promises they are right, and each exhibit is convicted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.commands import foreshock, hunt

from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.judge import Judgement
from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.registry import Kind, names
from foreshock.harness.request import Request
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store
from foreshock.targets.locks.redis_lock import RedisLock
from foreshock.targets.locks.redlock import Redlock

TARGETS = {"redis-lock": RedisLock, "redlock": Redlock}
EXHIBITS = [*RedisLock.exhibits, *Redlock.exhibits]
PROMISES = [(name, promise) for name, target in TARGETS.items() for promise in target.promises]
IN_EARNEST = ("--workload", "lock", "--concurrency", "10")
needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None,
    reason="redis-server is not on the PATH: install it (apt-get install redis-server)",
)


def judged(request: Request, store: Path, seed: int) -> Judgement:
    request = msgspec.structs.replace(request, backend="sim", seed=seed)
    return run_test(resolve(request), Store(store), SilentProgress(), report=False).judgement


@pytest.mark.parametrize(
    "exhibit", [each for each in EXHIBITS if each.request.bug], ids=lambda exhibit: exhibit.name
)
def test_each_planted_bug_is_convicted_within_its_budget(exhibit: Exhibit, tmp_path: Path) -> None:
    """The other exhibits are run by the test of the page that tells of them."""
    for seed in range(exhibit.budget):
        judgement = judged(exhibit.request, tmp_path, seed)
        assert judgement.harness_errors == ()
        if judgement.verdict == "invalid":
            break
    assert judgement.verdict == "invalid", f"{exhibit.name} was missed within {exhibit.budget} seeds"
    convicted_by = {name for name, result in judgement.checkers.items() if result["verdict"] == "invalid"}
    assert convicted_by & {"mutex", "guarded-resource", "fencing"}


@pytest.mark.parametrize(
    ("name", "promise"), PROMISES, ids=lambda part: part if isinstance(part, str) else "-".join(part.nemeses)
)
def test_each_promise_is_kept_under_all_its_faults_at_once(
    name: str, promise: Promise, tmp_path: Path
) -> None:
    judgement = judged(promise.request(name, promise.nemeses, 11, time_limit=10.0), tmp_path, seed=11)
    assert (judgement.verdict, judgement.harness_errors) == ("valid", ()), judgement.reason
    assert judgement.operations["ok"] > 20


def mended(request: Request, options: dict[str, Any]) -> Request:
    return msgspec.structs.replace(request, options={**request.options, **options}, bug=None)


FENCED = {"tokens": True, "workload.fencing": True}


@pytest.mark.parametrize(
    ("finding", "mend"),
    [
        ("redis-lock/stalled-client", FENCED),
        ("redis-lock/clock-jump", {**FENCED, "workload.beliefs": False}),
        ("redis-lock/kill-without-persistence", {"persistence": "aof-everysec"}),
        ("redis-lock/power-cut-everysec", {"persistence": "aof-always"}),
        ("redis-lock/watchdog-paused-server", {"watchdog": False}),
        ("lock/deletes-without-comparing-token", {}),
        ("lock/expiry-on-client-clock", {}),
        ("redlock/restart-without-persistence", {"restart_delay_ms": 2000}),
        ("redlock/power-cut-everysec", {"persistence": "aof-always"}),
    ],
)
def test_the_same_test_of_the_mended_lock_is_valid(
    finding: str, mend: dict[str, Any], tmp_path: Path
) -> None:
    (exhibit,) = (exhibit for exhibit in EXHIBITS if exhibit.name == finding)
    judgement = judged(mended(exhibit.request, mend), tmp_path, seed=0)
    assert (judgement.verdict, judgement.harness_errors) == ("valid", ()), judgement.reason


def test_redlock_without_tokens_is_refused_by_a_resource_that_wants_them(tmp_path: Path) -> None:
    request = Request(target="redlock", workload="lock", time_limit=5.0, options={"workload.fencing": True})
    judgement = judged(request, tmp_path, seed=1)
    assert judgement.verdict == "valid"
    assert "'use' succeeded" in judgement.reason


def test_every_planted_bug_of_the_redis_lock_is_an_exhibit() -> None:
    planted = {exhibit.request.bug for exhibit in EXHIBITS} - {None}
    assert planted == {"lock/deletes-without-comparing-token", "lock/expiry-on-client-clock"}
    assert planted <= set(names(Kind.BUGS))


def on_real_servers(target: str, backend: str, store: Path, *more: str, seed: int = 1) -> dict[str, Any]:
    place = ("--backend", backend, "--seed", str(seed), "--store", str(store))
    arguments = ("--target", target, *IN_EARNEST, *place)
    return foreshock("test", *arguments, *more, "--json").document


@needs_redis
@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_real_servers_as_processes_keep_the_promise(target: str, tmp_path: Path) -> None:
    breaking = ("--nemesis", "kill,pause", "--interval", "1", "--time-limit", "7")
    document = on_real_servers(target, "process", tmp_path, *breaking)
    assert (document["verdict"], document["harness_errors"]) == ("valid", [])
    assert document["operations"]["ok"] > 20
    assert sum(document["faults"].values()) >= 2


@needs_redis
@pytest.mark.slow
def test_a_real_server_without_persistence_is_convicted_when_it_is_killed(tmp_path: Path) -> None:
    killing = ("--nemesis", "kill", "--interval", "0.5", "--time-limit", "5", "-o", "persistence=none")
    document = hunt(
        lambda seed: on_real_servers(
            "redis-lock", "process", tmp_path, *killing, "-o", "uses_max=50", seed=seed
        ),
        "mutex",
    )
    assert (document["verdict"], document["exit"]) == ("invalid", 1)


@pytest.mark.docker
@pytest.mark.slow
def test_redlock_in_containers_keeps_its_promise(tmp_path: Path) -> None:
    breaking = ("--nemesis", "kill", "--interval", "1", "--time-limit", "7")
    document = on_real_servers("redlock", "docker", tmp_path, *breaking, "--nodes", "3")
    assert (document["verdict"], document["harness_errors"]) == ("valid", [])
    assert document["operations"]["ok"] > 20
    assert sum(document["faults"].values()) >= 1
