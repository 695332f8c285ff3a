from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foreshock.harness.errors import FaultError, UsageError
from foreshock.harness.ledger import read_ledger
from foreshock.harness.operation import Operation
from foreshock.nemesis.starve import RESOURCES, StarveNemesis, StarveOptions


def make(world: Any, seed: int = 1, **options: str) -> StarveNemesis:
    return StarveNemesis(StarveOptions(**options), world.context(seed))


def perform(nemesis: StarveNemesis, f: str, value: Any = None) -> Any:
    return asyncio.run(nemesis.invoke(Operation(f=f, value=value)))


@pytest.mark.parametrize("resource", sorted(RESOURCES))
def test_a_shortage_is_recorded_with_what_was_before_verified_and_healed(resource: str, world: Any) -> None:
    nemesis = make(world, targets="minority")
    result = perform(nemesis, "starve", resource)
    assert len(result["levels"]) == 2
    least, greatest = RESOURCES[resource]
    assert all(least <= level <= greatest for level in result["levels"].values())
    assert world.cluster.calls == [("starve", (resource, result["levels"]))]
    assert world.cluster.planned_before == [1]
    (fault,) = read_ledger(world.ledger_path)
    assert (fault.kind, list(fault.nodes)) == ("starve", sorted(result["levels"]))
    assert fault.value["before"] == {node: {"files": 1024} for node in fault.nodes}
    assert fault.observation == {
        node: {resource: world.cluster.short[node][resource]} for node in sorted(fault.nodes)
    }
    assert perform(nemesis, "feed")["nodes"] == list(fault.nodes)
    assert read_ledger(world.ledger_path)[0].healed_ns is not None
    assert not any(world.cluster.short.values())


def test_the_result_of_a_shortage_asks_for_the_same_one(world: Any) -> None:
    first = perform(make(world), "starve", "cpu")
    perform(make(world), "feed")
    for seed in range(2, 6):
        nemesis = make(world, seed)
        assert perform(nemesis, "starve", first) == first
        perform(nemesis, "feed")


def test_a_shortage_that_does_not_take_is_a_fault_error(world: Any) -> None:
    world.cluster.ignores.add("starve")
    with pytest.raises(FaultError, match="n3 has as much cpu as before"):
        perform(make(world), "starve", {"resource": "cpu", "levels": {"n3": 10}})
    (fault,) = read_ledger(world.ledger_path)
    assert fault.verified_ns is None
    assert "did not take" in (fault.failure or "")


@pytest.mark.parametrize("resource", ["memory", "files"])
def test_a_shortage_that_does_not_end_is_a_fault_error(resource: str, world: Any) -> None:
    nemesis = make(world)
    perform(nemesis, "starve", {"resource": resource, "levels": {"n2": 5}})
    world.cluster.ignores.add("feed")
    with pytest.raises(FaultError, match="feed did not take: still limited: n2"):
        perform(nemesis, "feed")
    assert world.ledger.open_faults("starve")


def test_a_node_that_ended_of_hunger_had_its_fault_and_is_started_when_it_is_fed(world: Any) -> None:
    nemesis = make(world)
    world.cluster.dies_of = {"memory"}
    perform(nemesis, "starve", {"resource": "memory", "levels": {"n1": 105, "n4": 105}})
    assert read_ledger(world.ledger_path)[0].verified_ns is not None
    assert nemesis.fells == {"starve"}
    assert perform(nemesis, "feed") == {"nodes": ["n1", "n4"], "started": ["n1", "n4"]}
    assert not world.cluster.down


def test_a_node_that_another_fault_holds_down_is_not_started_by_feeding(world: Any) -> None:
    nemesis = make(world)
    perform(nemesis, "starve", {"resource": "cpu", "levels": {"n1": 5, "n2": 5}})
    world.ledger.planned("kill", frozenset({"n1"}), inverse={})
    world.cluster.down |= {"n1", "n2"}
    assert perform(nemesis, "feed")["started"] == ["n2"]
    assert world.cluster.down == {"n1"}


def test_that_a_limit_ended_with_its_process_is_noted(world: Any) -> None:
    nemesis = make(world)
    perform(nemesis, "starve", {"resource": "files", "levels": {"n1": 2, "n2": 2}})
    world.cluster.short["n1"].pop("files")  # a process that was started again has what it had
    assert perform(nemesis, "feed") == {"nodes": ["n1", "n2"], "gone before": ["n1"]}


def test_feeding_is_harmless_when_nobody_is_short_of_anything(world: Any) -> None:
    assert perform(make(world), "feed") == {"nodes": []}
    assert world.cluster.calls == []


def test_a_resource_that_the_backend_cannot_limit_is_refused_before_anything_is_deployed(world: Any) -> None:
    world.cluster.starves = frozenset({"files"})
    with pytest.raises(UsageError, match="cannot be starved of 'cpu' here"):
        make(world, kinds="cpu")
    nemesis = make(world)
    with pytest.raises(FaultError, match="cannot be starved of 'memory' here"):
        perform(nemesis, "starve", "memory")
    assert list(perform(nemesis, "starve", "files")["levels"])


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("cp", "is not known.*cpu"),
        ({"resource": "cpu", "levels": {"n9": 5}}, "there is no node 'n9'"),
        ({"resource": "cpu", "levels": {"n1": -5}}, "whole numbers"),
        ({"resource": "cpu", "spec": "most"}, "'most' is not known"),
    ],
)
def test_a_schedule_s_value_is_checked(value: Any, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        StarveNemesis.check_value("starve", value, ["n1", "n2"])
    StarveNemesis.check_value("starve", {"resource": "cpu", "levels": {"n1": 5}}, ["n1", "n2"])
