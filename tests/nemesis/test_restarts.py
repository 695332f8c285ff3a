"""Nemeses that kill for a reason of their own: crash loops, slow starts, restarts; and upgrades."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from foreshock.harness import generator as gen
from foreshock.harness.composed_nemesis import ComposedNemesis
from foreshock.harness.errors import FaultError
from foreshock.harness.generator.base import PENDING
from foreshock.harness.generator.testing import simulate
from foreshock.harness.ledger import read_ledger
from foreshock.harness.nemesis import Nemesis
from foreshock.harness.operation import NEMESIS, Operation, OperationType
from foreshock.harness.randomness import RandomStream
from foreshock.nemesis.crash_loop import CrashLoopNemesis, CrashLoopOptions
from foreshock.nemesis.kill import KillNemesis, KillOptions
from foreshock.nemesis.restart import RestartNemesis, RestartOptions
from foreshock.nemesis.slow_start import SlowStartNemesis, SlowStartOptions
from foreshock.nemesis.upgrade import UpgradeNemesis, UpgradeOptions

NODES = ["n1", "n2", "n3", "n4", "n5"]


def perform(nemesis: Nemesis[Any], f: str, value: Any = None) -> Any:
    return asyncio.run(nemesis.invoke(Operation(f=f, value=value)))


def crash_loop(world: Any, seed: int = 1) -> Nemesis[Any]:
    return CrashLoopNemesis(CrashLoopOptions(), world.context(seed))


def slow_start(world: Any, seed: int = 1) -> Nemesis[Any]:
    return SlowStartNemesis(SlowStartOptions(), world.context(seed))


def restart(world: Any, seed: int = 1) -> Nemesis[Any]:
    return RestartNemesis(RestartOptions(), world.context(seed))


def upgrade(world: Any, seed: int = 1) -> Nemesis[Any]:
    return UpgradeNemesis(UpgradeOptions(), world.context(seed))


def killed_and_started(world: Any) -> list[tuple[str, Any]]:
    return [(name, what) for name, what in world.cluster.calls if name in ("kill", "start")]


def played(nemesis: Nemesis[Any], world: Any, count: int) -> list[tuple[Operation, Any]]:
    """The first operations of the nemesis' own schedule, each performed, with their results."""
    steps: list[tuple[Operation, Any]] = []
    generator: Any = nemesis.generator()
    ctx = SimpleNamespace(time_ns=0, rng=RandomStream(1, "ctx"), free=(NEMESIS,))
    while len(steps) < count:
        operation, generator = generator.op(ctx)
        ctx.time_ns = world.runtime.slept_ns = max(world.runtime.slept_ns, operation.time_ns)
        assert generator.op(ctx) is PENDING
        result = perform(nemesis, operation.f, operation.value)
        steps.append((operation, result))
        ctx.time_ns = world.runtime.now()
        done = msgspec.structs.replace(operation, type=OperationType.INFO, result=result)
        generator = generator.update(ctx, done)
    return steps


def test_one_crash_kills_and_starts_the_nodes_each_seen_to_have_taken(world: Any) -> None:
    result = perform(crash_loop(world), "crash-loop", "minority")
    assert killed_and_started(world) == [("kill", result["nodes"]), ("start", result["nodes"])]
    assert world.runtime.slept_ns == result["down_ms"] * 1_000_000
    (fault,) = read_ledger(world.ledger_path)
    assert (fault.kind, list(fault.nodes)) == ("kill", result["nodes"])
    assert fault.verified_ns is not None
    assert fault.healed_ns is not None


def test_a_loop_strikes_the_same_nodes_again_and_again_and_ends_with_all_of_them_up(world: Any) -> None:
    steps = played(crash_loop(world), world, 30)
    ends = [place for place, (operation, _) in enumerate(steps) if operation.f == "end-crash-loop"]
    assert ends
    first = steps[: ends[0]]
    assert 3 <= len(first) <= 12
    assert len({tuple(result["nodes"]) for _, result in first}) == 1
    assert len(first[0][1]["nodes"]) <= 2
    assert not world.cluster.down
    assert not world.ledger.open_faults()


def test_a_crash_whose_start_does_not_take_is_a_fault_error_and_stays_open(world: Any) -> None:
    nemesis = crash_loop(world)
    world.cluster.ignores.add("start")
    with pytest.raises(FaultError, match="start did not take"):
        perform(nemesis, "crash-loop", "one")
    assert world.ledger.open_faults("kill")
    world.cluster.ignores.clear()
    assert len(perform(nemesis, "end-crash-loop")["nodes"]) == 1
    assert not world.ledger.open_faults()


def test_after_a_kill_that_one_node_survived_the_others_are_started_in_the_end(world: Any) -> None:
    nemesis, kill = crash_loop(world), world.cluster.kill

    async def kill_one_less(nodes: frozenset[str]) -> None:
        await kill(nodes - {"n2"})

    world.cluster.kill = kill_one_less
    with pytest.raises(FaultError, match="kill did not take: not down: n2"):
        perform(nemesis, "crash-loop", {"nodes": ["n1", "n2"]})
    assert world.cluster.down == {"n1"}
    assert perform(nemesis, "end-crash-loop") == {"nodes": ["n1"]}
    assert not world.cluster.down
    assert not world.ledger.open_faults()


@pytest.mark.parametrize("make", [crash_loop, restart])
def test_a_node_that_another_fault_holds_down_is_neither_killed_nor_started(
    make: Callable[..., Nemesis[Any]], world: Any
) -> None:
    perform(KillNemesis(KillOptions(), world.context()), "kill", {"nodes": ["n2", "n3"]})
    nemesis = make(world)
    f = "crash-loop" if make is crash_loop else "restart"
    world.cluster.calls.clear()
    result = perform(nemesis, f, {"kind": "all", "nodes": ["n1", "n2", "n3"], "down_ms": 1})
    assert killed_and_started(world) == [("kill", ["n1"]), ("start", ["n1"])]
    assert result["left alone"] == ["n2", "n3"]
    assert world.cluster.down == {"n2", "n3"}
    assert [fault.nodes for fault in world.ledger.open_faults("kill")] == [("n2", "n3")]


@pytest.mark.parametrize(
    ("make", "f", "value"),
    [
        (crash_loop, "crash-loop", "minority"),
        (slow_start, "slow-start", "minority"),
        (restart, "restart", "all"),
        (restart, "restart", "rolling"),
        (upgrade, "upgrade", "partial"),
        (upgrade, "upgrade", "rolling"),
    ],
)
def test_a_result_asks_for_the_same_again(
    make: Callable[..., Nemesis[Any]], f: str, value: str, world: Any
) -> None:
    first = perform(make(world), f, value)
    asked = list(world.cluster.calls)
    world.cluster.down.clear()
    world.cluster.runs = dict.fromkeys(NODES, "1")
    for seed in range(2, 5):
        world.cluster.calls.clear()
        nemesis = make(world, seed)
        nemesis.check_value(f, first, NODES)
        assert perform(nemesis, f, first) == first
        assert world.cluster.calls == asked
        world.cluster.down.clear()
        world.cluster.runs = dict.fromkeys(NODES, "1")


def test_a_rolling_restart_restarts_every_node_once_and_waits_for_each(world: Any) -> None:
    nemesis = RestartNemesis(RestartOptions(kinds="rolling"), world.context())
    steps = played(nemesis, world, 6)
    assert [operation.f for operation, _ in steps] == ["restart"] * 5 + ["end-restart"]
    assert sorted(node for _, result in steps[:5] for node in result["nodes"]) == NODES
    assert all(len(result["nodes"]) == 1 for _, result in steps[:5])
    assert len(world.ledger.all()) == 5
    assert not world.ledger.open_faults()


def test_a_restart_does_not_wait_for_ever(world: Any) -> None:
    world.unready.add("n4")
    result = perform(restart(world), "restart", {"kind": "all", "nodes": ["n3", "n4"], "down_ms": 1})
    assert result["not yet ready"] == ["n4"]
    assert world.runtime.slept_ns < 20_000_000_000
    assert not world.cluster.down


def test_a_slow_start_kills_then_starts_with_little_processor_and_then_feeds(world: Any) -> None:
    steps = played(slow_start(world), world, 3)
    assert [operation.f for operation, _ in steps] == ["slow-start", "start-slowly", "end-slow-start"]
    nodes = steps[0][1]["nodes"]
    percent = steps[1][1]["cpu_percent"]
    assert 5 <= percent <= 30
    assert world.cluster.calls == [
        ("kill", nodes),
        ("starve", ("cpu", dict.fromkeys(nodes, percent))),
        ("start", nodes),
        ("feed", nodes),
    ]
    assert [(fault.kind, fault.healed_ns is not None) for fault in read_ledger(world.ledger_path)] == [
        ("kill", True),
        ("starve", True),
    ]


def test_where_processor_cannot_be_limited_a_slow_start_is_only_late(world: Any) -> None:
    world.cluster.starves = frozenset()
    steps = played(slow_start(world), world, 3)
    assert killed_and_started(world) == world.cluster.calls
    assert steps[1][1]["started"] == steps[0][1]["nodes"]


def test_what_the_kill_nemesis_has_started_meanwhile_is_not_started_again(world: Any) -> None:
    nemesis = slow_start(world)
    perform(nemesis, "slow-start", {"nodes": ["n1"]})
    perform(KillNemesis(KillOptions(), world.context()), "start")
    assert perform(nemesis, "start-slowly")["started"] == []
    perform(nemesis, "end-slow-start")
    assert not world.ledger.open_faults()
    assert [name for name, _ in killed_and_started(world)] == ["kill", "start"]


def test_a_slow_start_leaves_down_whom_the_kill_nemesis_has_struck_meanwhile(world: Any) -> None:
    nemesis, kill = slow_start(world), KillNemesis(KillOptions(), world.context())
    perform(nemesis, "slow-start", {"nodes": ["n1", "n2"]})
    perform(kill, "kill", {"nodes": ["n2"]})
    assert perform(nemesis, "start-slowly")["started"] == ["n1"]
    assert world.cluster.down == {"n2"}
    perform(nemesis, "end-slow-start")
    assert [fault.nodes for fault in world.ledger.open_faults("kill")] == [("n2",)]
    assert perform(kill, "start")["nodes"] == ["n2"]


def test_an_upgrade_does_not_start_whom_another_fault_holds_down(world: Any) -> None:
    kill, nemesis = KillNemesis(KillOptions(), world.context()), upgrade(world)
    perform(kill, "kill", {"nodes": ["n2"]})
    result = perform(nemesis, "upgrade", {"versions": {"n1": "2", "n2": "2"}})
    assert (result["left alone"], world.cluster.down) == (["n2"], {"n2"})
    assert world.cluster.runs["n1"] == "2"
    perform(kill, "start")
    assert perform(nemesis, "finish-upgrade")["versions"].keys() == {"n2", "n3", "n4", "n5"}
    assert set(world.cluster.runs.values()) == {"2"}


def test_upgrades_are_finished_when_all_nodes_are_up_again(world: Any) -> None:
    kill = KillNemesis(KillOptions(), world.context())
    both = ComposedNemesis([upgrade(world), kill])
    asyncio.run(both.invoke(Operation(f="upgrade", value={"versions": {"n1": "2"}})))
    perform(kill, "kill", {"nodes": ["n2"]})
    events = simulate(gen.nemesis(gen.lift(both.final_generator())))
    for operation in [event for event in events if event.type is OperationType.INVOKE]:
        asyncio.run(both.invoke(operation))
    assert set(world.cluster.runs.values()) == {"2"}


def test_a_rolling_upgrade_brings_every_node_to_the_next_version(world: Any) -> None:
    nemesis = UpgradeNemesis(UpgradeOptions(kinds="rolling"), world.context())
    steps = played(nemesis, world, 6)
    assert [operation.f for operation, _ in steps] == ["upgrade"] * 5 + ["finish-upgrade"]
    assert world.cluster.runs == dict.fromkeys(NODES, "2")
    faults = read_ledger(world.ledger_path)
    assert [len(fault.nodes) for fault in faults] == [1] * 5
    assert all(fault.verified_ns is not None and fault.healed_ns is not None for fault in faults)
    assert faults[0].value["to"] == "2"
    assert set(faults[0].value["from"].values()) == {"1"}


def test_a_partial_upgrade_leaves_two_versions_side_by_side_for_a_while(world: Any) -> None:
    nemesis = UpgradeNemesis(UpgradeOptions(kinds="partial"), world.context())
    first = perform(nemesis, "upgrade", "partial")
    assert set(world.cluster.runs.values()) == {"1", "2"}
    assert sorted([*first["versions"], *first["left"]]) == NODES
    assert perform(nemesis, "finish-upgrade")["versions"] == dict.fromkeys(sorted(first["left"]), "2")
    assert set(world.cluster.runs.values()) == {"2"}


def test_there_is_nothing_beyond_the_newest_version_unless_nodes_may_go_back(world: Any) -> None:
    nemesis = upgrade(world)
    for to in ("2", "3"):
        assert perform(nemesis, "upgrade", "all")["to"] == to
    assert "the newest" in perform(nemesis, "upgrade", "all")["note"]
    back = UpgradeNemesis(UpgradeOptions(downgrade=True), world.context())
    for _ in range(6):
        perform(back, "upgrade", "all")
    seen = [fault.value["to"] for fault in read_ledger(world.ledger_path)]
    assert any(int(one) > int(two) for one, two in itertools.pairwise(seen))


def test_an_upgrade_that_does_not_take_is_a_fault_error(world: Any) -> None:
    world.cluster.ignores.add("upgrade")
    with pytest.raises(FaultError, match=r"not in version 2: n\d \(1\)"):
        perform(upgrade(world), "upgrade", "rolling")
    with pytest.raises(FaultError, match="the target has no version '4'"):
        perform(upgrade(world), "upgrade", {"versions": {"n1": "4"}})
