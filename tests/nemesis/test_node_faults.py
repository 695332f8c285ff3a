from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foreshock.harness.errors import FaultError, UsageError
from foreshock.harness.ledger import read_ledger
from foreshock.harness.nemesis import Nemesis
from foreshock.harness.operation import Operation
from foreshock.nemesis.kill import KillNemesis, KillOptions
from foreshock.nemesis.pause import PauseNemesis, PauseOptions


def perform(nemesis: Nemesis[Any], f: str, value: Any = None) -> Any:
    return asyncio.run(nemesis.invoke(Operation(f=f, value=value)))


def make(kind: str, world: Any, seed: int = 1) -> Nemesis[Any]:
    if kind == "kill":
        return KillNemesis(KillOptions(), world.context(seed))
    return PauseNemesis(PauseOptions(), world.context(seed))


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
    assert (fault.kind, list(fault.nodes)) == (kind, result["nodes"])
    assert fault.value == ("majority" if kind == "kill" else {"spec": "majority", "means": "signal"})
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


@both
def test_the_result_of_a_strike_asks_for_the_same_strike_on_the_same_nodes(
    kind: str, start: str, stop: str, world: Any
) -> None:
    first = perform(make(kind, world), start, "minority")
    perform(make(kind, world), stop)
    for seed in range(2, 6):
        nemesis = make(kind, world, seed)
        assert perform(nemesis, start, first) == first
        assert perform(nemesis, stop, {"nodes": first["nodes"][:1], "left": first["nodes"][1:]}) == {
            "nodes": first["nodes"][:1],
            "left": first["nodes"][1:],
        }
        perform(nemesis, stop)


@both
def test_a_value_that_names_no_node_is_a_fault_error(kind: str, start: str, stop: str, world: Any) -> None:
    nemesis = make(kind, world)
    with pytest.raises(FaultError, match="there is no node 'n9'"):
        perform(nemesis, start, {"nodes": ["n9"]})
    with pytest.raises(FaultError, match=r"'minorty' does not say which nodes.*minority"):
        perform(nemesis, start, "minorty")
    with pytest.raises(ValueError, match="needs nodes"):
        nemesis.check_value(start, {}, ["n1"])
    nemesis.check_value(start, {"spec": "all"}, ["n1"])
    nemesis.check_value(stop, None, ["n1"])
    assert not world.cluster.calls


def test_the_means_of_a_pause_are_drawn_unless_they_are_asked_for(world: Any) -> None:
    world.cluster.means = ("signal", "freezer")
    nemesis = PauseNemesis(PauseOptions(), world.context())
    used = [perform(nemesis, "pause", "one")["means"] for _ in range(12)]
    assert set(used) == {"signal", "freezer"}
    assert world.cluster.paused_by == used
    assert perform(nemesis, "pause", {"nodes": ["n1"], "means": "freezer"})["means"] == "freezer"
    only = PauseNemesis(PauseOptions(means="freezer"), world.context())
    assert {perform(only, "pause", "one")["means"] for _ in range(5)} == {"freezer"}


def test_means_that_a_cluster_lacks_are_refused(world: Any) -> None:
    with pytest.raises(UsageError, match="cannot be paused by 'frezer' here"):
        PauseNemesis(PauseOptions(means="frezer"), world.context())
    with pytest.raises(FaultError, match="cannot be paused by 'freezer' here"):
        perform(PauseNemesis(PauseOptions(), world.context()), "pause", {"nodes": ["n1"], "means": "freezer"})
    assert not world.ledger.all()
