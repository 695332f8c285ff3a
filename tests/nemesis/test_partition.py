from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foreshock.harness.errors import FaultError
from foreshock.harness.ledger import read_ledger
from foreshock.harness.operation import Operation
from foreshock.nemesis.grudges import SHAPES
from foreshock.nemesis.partition import LISTEN_ATTEMPTS_MAX, PartitionNemesis, PartitionOptions


def make(world: Any) -> PartitionNemesis:
    return PartitionNemesis(PartitionOptions(), world.context())


def perform(nemesis: PartitionNemesis, f: str, value: str | None = None) -> Any:
    return asyncio.run(nemesis.invoke(Operation(f=f, value=value)))


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_each_kind_is_recorded_before_it_cuts_verified_after_and_healed(kind: str, world: Any) -> None:
    nemesis = make(world)
    result = perform(nemesis, "start-partition", kind)
    assert result["kind"] == kind
    assert world.cluster.calls == [("cut", result["grudge"])]
    assert world.cluster.planned_before == [1]
    (fault,) = read_ledger(world.ledger_path)
    cut = sum(len(senders) for senders in result["grudge"].values())
    assert fault.value == result
    assert fault.inverse["nodes"] == ["n1", "n2", "n3", "n4", "n5"]
    assert fault.observation == {"cut": cut, "heard": 20 - cut}
    assert perform(nemesis, "stop-partition") == {"healed": 1}
    assert world.cluster.grudge == {}
    assert read_ledger(world.ledger_path)[0].healed_ns is not None


def test_isolate_primary_asks_who_leads_at_that_moment(world: Any) -> None:
    world.leaders = frozenset({"n4"})
    assert perform(make(world), "start-partition", "isolate-primary")["grudge"]["n4"] == [
        "n1",
        "n2",
        "n3",
        "n5",
    ]


def test_a_cut_that_cut_nothing_is_a_fault_error_and_a_failed_entry(world: Any) -> None:
    world.cluster.ignores.add("cut")
    with pytest.raises(FaultError, match="the partition did not take: still heard from n"):
        perform(make(world), "start-partition", "halves")
    (fault,) = read_ledger(world.ledger_path)
    assert fault.verified_ns is None
    assert "did not take" in (fault.failure or "")
    assert [f.id for f in world.ledger.open_faults()] == [0]


def test_a_cut_that_cut_too_much_is_a_fault_error(world: Any) -> None:
    world.cluster.deaf = {("n1", "n2"), ("n2", "n1"), ("n1", "n3"), ("n1", "n4"), ("n1", "n5"), ("n5", "n1")}
    world.leaders = frozenset({"n5"})
    with pytest.raises(FaultError, match="the partition cut too much: nothing heard from n1 to n2"):
        perform(make(world), "start-partition", "isolate-primary")


def test_a_partition_that_does_not_heal_is_a_fault_error_and_stays_open(world: Any) -> None:
    nemesis = make(world)
    perform(nemesis, "start-partition", "ring")
    world.cluster.ignores.add("cut")
    with pytest.raises(FaultError, match="did not heal"):
        perform(nemesis, "stop-partition")
    assert world.ledger.open_faults("partition")
    world.cluster.ignores.clear()
    assert perform(nemesis, "stop-partition") == {"healed": 1}


def test_lost_datagrams_are_asked_again_and_are_no_cut(world: Any) -> None:
    world.cluster.losses = LISTEN_ATTEMPTS_MAX - 1
    perform(make(world), "start-partition", "one")
    assert read_ledger(world.ledger_path)[0].verified_ns is not None


def test_a_partition_in_place_of_another_heals_the_earlier_one(world: Any) -> None:
    nemesis = make(world)
    perform(nemesis, "start-partition", "one")
    perform(nemesis, "start-partition", "bridge")
    first, second = read_ledger(world.ledger_path)
    assert first.healed_ns is not None
    assert second.healed_ns is None


def test_healing_is_harmless_when_nothing_is_cut(world: Any) -> None:
    nemesis = make(world)
    final = nemesis.final_generator()
    assert isinstance(final, Operation)
    assert perform(nemesis, final.f) == {"healed": 0}
    assert world.ledger.all() == ()
