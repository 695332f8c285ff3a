from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foreshock.harness.capabilities import PowerCut, Starve
from foreshock.harness.errors import FaultError
from foreshock.harness.ledger import read_ledger
from foreshock.harness.operation import Operation
from foreshock.nemesis.kill import KillNemesis, KillOptions
from foreshock.nemesis.pause import PauseNemesis, PauseOptions
from foreshock.nemesis.power import PowerNemesis, PowerOptions
from foreshock.nemesis.primary import KINDS, PrimaryNemesis, PrimaryOptions

LEDGER_KIND = {"isolate": "partition", "deaf": "partition", "mute": "partition"}


def make(world: Any, seed: int = 1, kinds: str = ",".join(KINDS)) -> PrimaryNemesis:
    return PrimaryNemesis(PrimaryOptions(kinds=kinds), world.context(seed))


def perform(nemesis: PrimaryNemesis, f: str, value: Any = None) -> Any:
    return asyncio.run(nemesis.invoke(Operation(f=f, value=value)))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_whoever_leads_is_struck_verified_and_released(kind: str, world: Any) -> None:
    nemesis = make(world)
    result = perform(nemesis, "strike-primary", kind)
    assert (result["kind"], result["nodes"]) == (kind, ["n3"])
    (fault,) = read_ledger(world.ledger_path)
    assert fault.kind == LEDGER_KIND.get(kind, kind)
    assert fault.verified_ns is not None
    assert world.cluster.planned_before[0] == 1
    assert perform(nemesis, "release-primary") == {"nodes": ["n3"]}
    assert read_ledger(world.ledger_path)[0].healed_ns is not None
    assert (world.cluster.down, world.cluster.stopped, world.cluster.grudge) == (set(), set(), {})


def test_the_cut_is_as_its_kind_says(world: Any) -> None:
    others = frozenset({"n1", "n2", "n4", "n5"})
    alone = dict.fromkeys(others, frozenset({"n3"}))
    for kind, grudge in (("deaf", {"n3": others}), ("mute", alone), ("isolate", {"n3": others, **alone})):
        nemesis = make(world)
        perform(nemesis, "strike-primary", kind)
        assert world.cluster.grudge == grudge
        perform(nemesis, "release-primary")


def test_the_result_of_a_strike_asks_for_the_same_whoever_leads_by_then(world: Any) -> None:
    for kind in sorted(KINDS):
        first = perform(make(world), "strike-primary", kind)
        perform(make(world), "release-primary")
        world.cluster.__init__(world.ledger_path, world.runtime.now)
        world.leaders = frozenset({"n1"})
        assert perform(make(world, 7), "strike-primary", first) == first
        world.leaders = frozenset({"n3"})


def test_it_follows_leadership_and_never_strikes_more_than_a_minority(world: Any) -> None:
    nemesis = make(world)
    struck: list[set[str]] = []
    for leader in ("n1", "n2", "n3", "n4", "n5"):
        world.leaders = frozenset({leader})
        result = perform(nemesis, "strike-primary", "kill")
        assert result["nodes"] == [leader]
        struck.append(set(world.cluster.down))
    assert struck == [{"n1"}, {"n1", "n2"}, {"n2", "n3"}, {"n3", "n4"}, {"n4", "n5"}]
    assert perform(nemesis, "release-primary") == {"nodes": ["n4", "n5"]}
    assert not world.ledger.open_faults()


def test_leaders_that_are_cut_off_one_after_the_other_stay_cut_off_together(world: Any) -> None:
    nemesis = make(world)
    perform(nemesis, "strike-primary", "isolate")
    world.leaders = frozenset({"n1"})
    perform(nemesis, "strike-primary", "deaf")
    assert world.cluster.grudge["n1"] == {"n2", "n3", "n4", "n5"}
    assert world.cluster.grudge["n2"] == {"n3"}
    assert len(world.ledger.open_faults("partition")) == 1
    perform(nemesis, "release-primary")
    assert not world.cluster.grudge


@pytest.mark.parametrize("leaders", [None, frozenset()])
def test_nobody_is_struck_when_nobody_leads(leaders: frozenset[str] | None, world: Any) -> None:
    world.leaders = leaders
    assert perform(make(world), "strike-primary", "kill")["nodes"] == []
    assert not world.ledger.all()


def test_a_leader_that_is_struck_already_is_not_struck_again(world: Any) -> None:
    nemesis = make(world)
    perform(nemesis, "strike-primary", "isolate")
    assert "already" in perform(nemesis, "strike-primary", "pause")["note"]


def test_what_its_kinds_need_is_needed_of_the_cluster() -> None:
    base = PrimaryNemesis.needs(PrimaryOptions())
    assert base == PrimaryNemesis.requires
    assert PrimaryNemesis.needs(PrimaryOptions(kinds="kill,starve")) - base == {Starve}
    assert PrimaryNemesis.needs(PrimaryOptions(kinds="power")) - base == {PowerCut}


def test_a_kind_that_was_not_asked_for_cannot_strike(world: Any) -> None:
    with pytest.raises(FaultError, match="cannot strike whoever leads by 'power'"):
        perform(make(world, kinds="kill"), "strike-primary", "power")


@pytest.mark.parametrize(
    ("kind", "cls", "options", "strike"),
    [
        ("kill", KillNemesis, KillOptions(), "kill"),
        ("power", KillNemesis, KillOptions(), "kill"),
        ("kill", PowerNemesis, PowerOptions(), "cut-power"),
        ("pause", PauseNemesis, PauseOptions(), "pause"),
    ],
)
def test_a_release_leaves_what_another_fault_still_does_to_the_node(
    kind: str, cls: Any, options: Any, strike: str, world: Any
) -> None:
    nemesis, other = make(world), cls(options, world.context())
    perform(nemesis, "strike-primary", kind)
    asyncio.run(other.invoke(Operation(f=strike, value={"nodes": ["n3"]})))
    perform(nemesis, "release-primary")
    assert world.cluster.down | world.cluster.stopped == {"n3"}
    assert [fault.healed_ns is None for fault in read_ledger(world.ledger_path)] == [False, True]
    asyncio.run(other.invoke(Operation(f=other.words.stop)))
    assert not world.cluster.down | world.cluster.stopped
    assert not world.ledger.open_faults()
