"""The targets of connection locks: their commands, their options, and that they hold what they promise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foreshock.harness.cluster import Endpoint, Node
from foreshock.harness.errors import HarnessError, UsageError
from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.judge import Judgement
from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.request import Request
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store
from foreshock.harness.target import ClientContext, Target
from foreshock.targets.locks.shm_lock import ShmLock, ShmLockOptions
from foreshock.targets.locks.simulated_memory import SimulatedHost
from foreshock.targets.locks.tcp_lock import TcpLock, TcpLockOptions
from foreshock.targets.reference.bugs.lock import HalfOpenDoubleGrants, ReleaseByNonOwner
from foreshock.targets.reference.lock_exhibits import LOCK_EXHIBITS
from foreshock.targets.reference.node.__main__ import main

HERE = Endpoint("127.0.0.1", 7001)
BOTH: tuple[type[Target[Any]], ...] = (TcpLock, ShmLock)


def node(name: str = "n1", shared: str | None = None) -> Node:
    return Node(name, int(name[1:]) - 1, HERE, HERE, {}, "/data/n", "run", shared)


def judged(request: Request, store: Path, **changes: Any) -> Judgement:
    plan = resolve(msgspec.structs.replace(request, backend="sim", **changes))
    judgement = run_test(plan, Store(store), SilentProgress(), report=False).judgement
    assert judgement.harness_errors == ()
    return judgement


def test_the_command_carries_the_knobs_that_the_user_chose_and_the_bug() -> None:
    target = TcpLock(TcpLockOptions(ttl_ms=900, ping_ms=100), seed=1)
    target.bug = HalfOpenDoubleGrants
    command = " ".join(target.command(node()))
    assert "--program tcp-lock --cluster run --data /data/n" in command
    assert "--set ttl_ms=900 --set clock_margin_percent=20 --set ping_ms=100" in command
    assert command.endswith("--bug lock/half-open-double-grants")


def test_the_agents_are_told_where_the_memory_is_and_refuse_to_run_without() -> None:
    target = ShmLock(ShmLockOptions(), seed=1)
    assert "shared_directory=/shared" in target.command(node(shared="/shared"))[-1]
    with pytest.raises(HarnessError, match="need a directory that they share"):
        target.command(node())


@pytest.mark.parametrize("target", BOTH)
def test_the_node_understands_the_command(
    target: type[Target[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments: Sequence[str] = target(target.Options(), seed=1).command(node(shared="/shared"))[2:]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--set", "nonsense=1"])
    assert ended.value.code == 2
    assert "there is no knob 'nonsense'" in capsys.readouterr().err


@pytest.mark.parametrize("target", BOTH)
def test_a_planted_bug_belongs_to_the_program_that_it_is_in(target: type[Target[Any]]) -> None:
    assert TcpLock.takes_bug("lock/half-open-double-grants", HalfOpenDoubleGrants)
    assert not ShmLock.takes_bug("lock/half-open-double-grants", HalfOpenDoubleGrants)
    assert not target.takes_bug("lock/release-by-non-owner", ReleaseByNonOwner)


def test_knobs_without_sense_are_said_before_anything_is_deployed() -> None:
    with pytest.raises(UsageError, match="target tcp-lock: the knob ping_ms is 0"):
        TcpLock(TcpLockOptions(ping_ms=0), seed=1)
    with pytest.raises(UsageError, match="target shm-lock: the knob poll_ms is 0"):
        ShmLock(ShmLockOptions(poll_ms=0), seed=1)


def test_clients_go_to_the_one_server_or_to_the_agent_of_their_own_node() -> None:
    nodes = (node("n1"), node("n2"))
    context = ClientContext(runtime=None, node=nodes[1], nodes=nodes, process=1, identity="p1", timeout_ms=1)  # type: ignore[arg-type]
    assert TcpLock(TcpLockOptions(), seed=1).client("lock", context)._server.name == "n1"  # type: ignore[attr-defined]
    assert ShmLock(ShmLockOptions(), seed=1).client("lock", context)._server.name == "n2"  # type: ignore[attr-defined]


def test_the_simulated_kernel_frees_what_a_dead_node_held() -> None:
    host, living = SimulatedHost(), {"n1": True}
    first = host.attach("n1", lambda: living["n1"], cells_max=5)
    other = host.attach("n2", lambda: True, cells_max=5)
    assert first.try_lock("cell")
    first.write("cell", 0, b"x")
    assert not other.try_lock("cell")
    living["n1"] = False
    assert other.try_lock("cell")
    assert other.read("cell")[:1] == b"x"
    other.unlock("cell")
    assert first.try_lock("cell")
    living["n1"] = True
    host.attach("n1", lambda: True, cells_max=5)
    assert other.try_lock("cell"), "an earlier life of a node that lives holds nothing"


PROMISES = [(target, promise) for target in BOTH for promise in target.promises]


@pytest.mark.parametrize(("target", "promise"), PROMISES)
def test_each_promise_holds_under_all_its_faults_at_once(
    target: type[Target[Any]], promise: Promise, tmp_path: Path
) -> None:
    request = promise.request(target.program, promise.nemeses, 1, time_limit=10)  # type: ignore[attr-defined]
    judgement = judged(request, tmp_path, interval=3.0)
    assert judgement.verdict == "valid", judgement.reason


EXHIBITS = [exhibit for target in BOTH for exhibit in target.exhibits] + list(LOCK_EXHIBITS)


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_each_exhibit_is_found_within_its_budget_and_does_no_harm_where_tokens_are_checked(
    exhibit: Exhibit, tmp_path: Path
) -> None:
    verdicts = (
        (seed, judged(exhibit.request, tmp_path, seed=seed).verdict) for seed in range(exhibit.budget)
    )
    found = next((seed for seed, verdict in verdicts if verdict == "invalid"), None)
    assert found is not None
    if exhibit.request.bug is None:
        # Beliefs are wrong all the same; what fencing promises is that the resource is safe.
        options = {**exhibit.request.options, "fencing": True, "beliefs": False}
        judgement = judged(exhibit.request, tmp_path, seed=found, options=options)
        assert judgement.verdict == "valid", judgement.reason
