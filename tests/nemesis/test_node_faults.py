from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foreshock.harness.errors import FaultError
from foreshock.harness.ledger import read_ledger
from foreshock.harness.nemesis import Nemesis
from foreshock.harness.operation import Operation
from foreshock.nemesis.kill import KillNemesis, KillOptions
from foreshock.nemesis.pause import PauseNemesis, PauseOptions


def perform(nemesis: Nemesis[Any], f: str, value: str | None = None) -> Any:
    return asyncio.run(nemesis.invoke(Operation(f=f, value=value)))


def make(kind: str, world: Any) -> Nemesis[Any]:
    if kind == "kill":
        return KillNemesis(KillOptions(), world.context())
    return PauseNemesis(PauseOptions(), world.context())


both = pytest.mark.parametrize(
    ("kind", "start", "stop"), [("kill", "kill", "start"), ("pause", "pause", "resume")]
)


@both
def test_a_fault_is_recorded_before_it_strikes_verified_after_and_healed(
    kind: str, start: str, stop: str, world: Any
) -> None:
    nemesis = make(kind, world)
    result = perform(nemesis, start, "majority")
    assert world.cluster.calls == [(start, result["nodes"])]
    assert len(result["nodes"]) == 3
    assert world.cluster.planned_before == [1]
    (fault,) = read_ledger(world.ledger_path)
    assert (fault.kind, list(fault.nodes), fault.value) == (kind, result["nodes"], "majority")
    assert fault.inverse == {"backend": "recording", "fault": kind, "nodes": result["nodes"]}
    assert fault.verified_ns is not None
    assert fault.healed_ns is None
    assert perform(nemesis, stop) == {"nodes": result["nodes"]}
    assert read_ledger(world.ledger_path)[0].healed_ns is not None
    assert not world.cluster.down | world.cluster.stopped


@both
def test_a_fault_that_does_not_take_is_a_fault_error_and_a_failed_entry(
    kind: str, start: str, stop: str, world: Any
) -> None:
    world.cluster.ignores.add(start)
    with pytest.raises(FaultError, match=f"{start} did not take: not .*: n"):
        perform(make(kind, world), start, "one")
    (fault,) = read_ledger(world.ledger_path)
    assert fault.verified_ns is None
    assert "did not take" in (fault.failure or "")
    assert world.ledger.open_faults(kind)


@both
def test_a_fault_that_does_not_heal_is_a_fault_error_and_stays_open(
    kind: str, start: str, stop: str, world: Any
) -> None:
    nemesis = make(kind, world)
    perform(nemesis, start, "one")
    world.cluster.ignores.add(stop)
    with pytest.raises(FaultError, match=f"{stop} did not take: still"):
        perform(nemesis, stop)
    assert "did not take" in (read_ledger(world.ledger_path)[0].failure or "")
    world.cluster.ignores.clear()
    perform(nemesis, stop)
    assert not world.ledger.open_faults()


@both
def test_healing_is_harmless_when_nothing_is_wrong(kind: str, start: str, stop: str, world: Any) -> None:
    nemesis = make(kind, world)
    final = nemesis.final_generator()
    assert isinstance(final, Operation)
    assert perform(nemesis, final.f) == {"nodes": []}
    assert world.cluster.calls == []


@both
def test_the_primaries_are_asked_for_at_that_moment(kind: str, start: str, stop: str, world: Any) -> None:
    nemesis = make(kind, world)
    world.leaders = frozenset({"n2", "n5"})
    assert perform(nemesis, start, "primaries")["nodes"] == ["n2", "n5"]


@both
def test_a_cluster_that_does_not_say_who_leads_in_time_gets_a_random_node_struck(
    kind: str, start: str, stop: str, world: Any
) -> None:
    nemesis = make(kind, world)
    world.runtime.expire = True
    assert len(perform(nemesis, start, "primaries")["nodes"]) == 1


def test_a_killed_node_is_not_paused(world: Any) -> None:
    world.cluster.down |= {"n1", "n2", "n3", "n4"}
    pause = make("pause", world)
    assert perform(pause, "pause", "all")["nodes"] == ["n5"]
    world.cluster.down.add("n5")
    assert perform(pause, "pause", "all") == {"nodes": [], "note": "there was no node to pause"}
    assert len(world.ledger.all()) == 1


def test_a_paused_node_that_is_killed_and_started_is_healed_by_resume_without_a_call(world: Any) -> None:
    pause, kill = make("pause", world), make("kill", world)
    perform(pause, "pause", "all")
    perform(kill, "kill", "all")
    perform(kill, "start")
    assert perform(pause, "resume") == {"nodes": []}
    assert not world.ledger.open_faults()


def test_a_node_that_went_down_by_itself_is_started_and_named(world: Any) -> None:
    kill = make("kill", world)
    world.cluster.down.add("n4")
    assert perform(kill, "start") == {"nodes": ["n4"], "not by us": ["n4"]}


@both
def test_undoing_some_leaves_the_fault_open_until_every_node_is_well(
    kind: str, start: str, stop: str, world: Any
) -> None:
    nemesis = make(kind, world)
    perform(nemesis, start, "all")
    well: list[str] = []
    while len(well) < 5:
        assert world.ledger.open_faults(kind)
        result = perform(nemesis, stop, "some")
        assert result["nodes"]
        well += result["nodes"]
        assert sorted(well + result.get("left", [])) == ["n1", "n2", "n3", "n4", "n5"]
    assert not world.ledger.open_faults()
    assert perform(nemesis, stop, "some") == {"nodes": []}
