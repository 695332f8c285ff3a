"""The naive five under the ordinary workloads: nothing is noticed while all is quiet, and every one is convicted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.commands import foreshock, hunt

from foreshock.harness.judge import Judgement
from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.request import Request
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store
from foreshock.harness.target import Target
from foreshock.targets.naive.node.common import Answers
from foreshock.targets.naive.node.lock import NaiveLock as NaiveLockNode
from foreshock.targets.naive.node.paxos import NaivePaxos as NaivePaxosNode
from foreshock.targets.naive.targets import NaiveCache, NaiveLock, NaivePaxos, NaiveRaft, NaiveZab

FIVE = (NaivePaxos, NaiveRaft, NaiveZab, NaiveLock, NaiveCache)
EACH = pytest.mark.parametrize("target", FIVE, ids=lambda target: target.program)
CORE_MAX = 4
"""A counterexample of more operations is none that a student follows by hand."""


def judged(request: Request, store: Path, **changes: Any) -> Judgement:
    plan = resolve(msgspec.structs.replace(request, backend="sim", **changes))
    judgement = run_test(plan, Store(store), SilentProgress(), report=False).judgement
    assert judgement.harness_errors == ()
    return judgement


def counterexamples(checkers: Any) -> list[Any]:
    return [found for result in checkers.values() for found in result.get("counterexamples", ())]


@EACH
def test_each_promises_nothing_and_has_one_exhibit_under_its_own_name(target: type[Target[Any]]) -> None:
    assert target.promises == ()
    (exhibit,) = target.exhibits
    assert (exhibit.name, exhibit.request.target, exhibit.request.bug) == (
        target.program,
        target.program,
        None,
    )
    assert exhibit.budget <= 10
    assert exhibit.shows


@EACH
def test_each_is_convicted_within_its_budget_with_a_counterexample_that_is_small(
    target: type[Target[Any]], tmp_path: Path
) -> None:
    (exhibit,) = target.exhibits
    for seed in range(exhibit.budget):
        judgement = judged(exhibit.request, tmp_path, seed=seed)
        if judgement.exit == 1:
            break
    assert judgement.verdict == "invalid", f"{exhibit.name} was missed within {exhibit.budget} seeds"
    found = counterexamples(judgement.checkers)
    assert found
    for counterexample in found:
        assert 2 <= len(counterexample["core"]) <= CORE_MAX
        assert counterexample["reason"]


@EACH
@pytest.mark.parametrize("seed", [4, 5])
def test_one_client_alone_on_a_good_network_notices_nothing(
    target: type[Target[Any]], seed: int, tmp_path: Path
) -> None:
    (service,) = target.services
    quiet = Request(target=target.program, workload=service, concurrency="1", time_limit=5.0, seed=seed)
    judgement = judged(quiet, tmp_path)
    assert judgement.verdict == "valid"
    assert judgement.operations["ok"] > 50


@pytest.mark.parametrize("seed", range(3))
def test_the_naive_paxos_is_one_line_away_from_being_right(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def votes_for(node: NaivePaxosNode, answers: Answers) -> int:
        return sum(bool(answer["vote"]) for answer in answers.values())

    monkeypatch.setattr(NaivePaxosNode, "votes", votes_for)
    (exhibit,) = NaivePaxos.exhibits
    judgement = judged(exhibit.request, tmp_path, seed=seed, nemesis="partition")
    assert judgement.verdict == "valid"
    assert judgement.operations["ok"] > 50


@pytest.mark.parametrize("seed", range(3))
def test_the_naive_lock_is_one_line_away_from_being_right_as_long_as_no_node_dies(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_majority(node: NaiveLockNode, answers: Answers) -> bool:
        return sum(bool(answer["free"]) for answer in answers.values()) >= node.majority

    monkeypatch.setattr(NaiveLockNode, "granted", by_majority)
    (exhibit,) = NaiveLock.exhibits
    judgement = judged(exhibit.request, tmp_path, seed=seed, nemesis="partition")
    assert judgement.verdict == "valid"
    assert judgement.operations["ok"] > 0


def convict(target: str, workload: str, backend: str, store: Path, *more: str) -> None:
    """Of ordinary tests of some seconds on real nodes one ends with exit code 1, and shows why."""
    arguments = ("--target", target, "--workload", workload, "--backend", backend, "--store", str(store))

    def tested(seed: int) -> dict[str, Any]:
        result = foreshock("test", *arguments, *more, "--seed", str(seed), "--json")
        document = result.document
        assert result.code == document["exit"]
        return document

    document = hunt(tested, *CONVICTING[workload])
    assert (document["verdict"], document["exit"]) == ("invalid", 1)
    assert counterexamples(document["checkers"])
    page = (Path(document["run"]) / "report.html").read_text()
    assert target in page
    assert 'role="img"' in page
    assert json.loads((Path(document["run"]) / "results.json").read_text())["exit"] == 1


CONVICTING = {"register": ("linearizable",), "lock": ("mutex",), "cache": ("linearizable",)}
HURRY = ("--nodes", "3", "--rate", "0", "--time-limit", "2")
"""Three nodes, and clients that never rest: what two at once do wrong shows within two seconds."""


@pytest.mark.slow
def test_the_naive_paxos_is_convicted_on_processes(tmp_path: Path) -> None:
    convict("naive-paxos", "register", "process", tmp_path, *HURRY, "-o", "active_keys=1")


@pytest.mark.docker
def test_the_naive_lock_and_the_naive_cache_are_convicted_in_containers(tmp_path: Path) -> None:
    convict("naive-lock", "lock", "docker", tmp_path, *HURRY)
    convict("naive-cache", "cache", "docker", tmp_path, *HURRY, "-o", "active_keys=1")
