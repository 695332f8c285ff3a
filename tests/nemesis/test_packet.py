from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foreshock.harness.capabilities import LinkShape
from foreshock.harness.errors import FaultError, UsageError
from foreshock.harness.ledger import read_ledger
from foreshock.harness.operation import Operation
from foreshock.harness.options import parse_options
from foreshock.nemesis.packet import PacketNemesis, PacketOptions
from foreshock.nemesis.packet_faults import KINDS

OF_LINKS = [kind for kind in KINDS if kind not in ("reset", "names")]
ALL_LINKS = 20


def make(world: Any, seed: int = 1, **options: Any) -> PacketNemesis:
    return PacketNemesis(PacketOptions(**options), world.context(seed))


def perform(nemesis: PacketNemesis, f: str, value: Any = None) -> Any:
    return asyncio.run(nemesis.invoke(Operation(f=f, value=value)))


@pytest.mark.parametrize("kind", OF_LINKS)
def test_a_shape_is_recorded_before_it_is_put_in_force_verified_after_and_healed(
    kind: str, world: Any
) -> None:
    for seed in range(8):
        nemesis = make(world, seed)
        world.cluster.calls.clear()
        result = perform(nemesis, "shape-packets", kind)
        *_, fault = read_ledger(world.ledger_path)
        assert (fault.kind, fault.value, fault.failure) == ("packet", result, None)
        assert fault.inverse["fault"] == "packet"
        assert [name for name, _ in world.cluster.calls] == ["shape"]
        assert world.cluster.planned_before[-1] == seed + 1
        in_force = {f"{sender} to {receiver}" for sender, receiver in world.cluster.shapes}
        assert set(fault.observation["shaped"]) == in_force
        assert set(fault.nodes) == {node for link in world.cluster.shapes for node in link}
        assert fault.observation["as before"] > 0 or len(in_force) == ALL_LINKS
        assert perform(nemesis, "restore-packets") == {"healed": 1}
        assert not world.cluster.shapes
        assert read_ledger(world.ledger_path)[-1].healed_ns is not None


@pytest.mark.parametrize("kind", OF_LINKS)
def test_a_shape_that_did_not_take_is_a_fault_error_and_a_failed_entry(kind: str, world: Any) -> None:
    world.cluster.ignores.add("shape")
    for seed in range(8):
        with pytest.raises(FaultError, match=r"shape-packets did not take: from n\d to n\d, .* in place of"):
            perform(make(world, seed), "shape-packets", kind)
        assert "did not take" in (read_ledger(world.ledger_path)[-1].failure or "")
        world.ledger.healed(seed)


@pytest.mark.parametrize("kind", ["delay", "loss", "duplicate", "reorder", "corrupt", "rate", "slow-link"])
def test_a_shape_that_does_a_tenth_of_what_was_asked_is_a_fault_error(kind: str, world: Any) -> None:
    world.cluster.scale_percent = 10
    with pytest.raises(FaultError, match="shape-packets did not take"):
        perform(make(world), "shape-packets", kind)


def test_a_link_that_is_shaped_although_nobody_asked_is_a_fault_error(world: Any) -> None:
    nemesis = make(world, targets="pair")
    value = {"kind": "delay", "links": {"n1": {"n2": {"delay_us": 50_000}}}}
    for shape, said in (
        (LinkShape(delay_us=50_000), "the fastest probe took 49980 us longer than before"),
        (LinkShape(loss_ppm=200_000), "40 of 200 probes lost in place of 3 at most"),
    ):
        real = world.cluster.shape

        async def shape_too_much(links: Any, real: Any = real, shape: LinkShape = shape) -> None:
            await real(links)
            world.cluster.also_shaped = {("n2", "n1"): shape} if links else {}

        world.cluster.shape = shape_too_much
        with pytest.raises(FaultError, match=f"did not take: from n2 to n1, {said}"):
            perform(nemesis, "shape-packets", value)
        world.cluster.shape = real
        world.cluster.also_shaped = {}
        perform(nemesis, "restore-packets")


@pytest.mark.parametrize("kind", OF_LINKS)
def test_a_shape_that_cannot_be_ended_is_a_fault_error_and_the_fault_stays_open(
    kind: str, world: Any
) -> None:
    nemesis = make(world)
    perform(nemesis, "shape-packets", kind)
    world.cluster.ignores.add("shape")
    with pytest.raises(FaultError, match="restore-packets did not take: from n"):
        perform(nemesis, "restore-packets")
    assert world.ledger.open_faults("packet")


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_given_as_a_value_does_the_same_again_without_a_draw(kind: str, world: Any) -> None:
    world.cluster.connections = dict.fromkeys([("n1", "n2"), ("n3", "n4")], 1)
    result = perform(make(world), "shape-packets", kind)
    done = world.cluster.calls[-1]
    perform(make(world), "restore-packets")
    replayed = make(world, seed=99)
    PacketNemesis.check_value("shape-packets", result, world.context().nodes)
    assert perform(replayed, "shape-packets", result) == result
    assert world.cluster.calls[-1] == done


def test_every_kind_and_both_directions_come_and_amounts_reach_their_bounds(world: Any) -> None:
    delays, chances, directions = [], [], set()
    for seed in range(60):
        nemesis = make(world, seed, delay_ms_max=700, loss_percent_max=20, targets="node")
        for shapes in perform(nemesis, "shape-packets", "delay")["links"].values():
            delays += [shape["delay_us"] for shape in shapes.values()]
        perform(nemesis, "restore-packets")
        links = perform(nemesis, "shape-packets", "loss")["links"]
        perform(nemesis, "restore-packets")
        chances += [shape["loss_ppm"] for shapes in links.values() for shape in shapes.values()]
        directions.add((len(links) > 1, max(map(len, links.values())) > 1))
    assert (max(delays), min(delays) >= 10_000) == (700_000, True)
    assert (min(chances), max(chances)) == (50_000, 200_000)
    assert directions == {(True, False), (False, True), (True, True)}  # in, out, both


def test_half_open_and_slow_links_strike_one_direction_of_every_two_nodes(world: Any) -> None:
    for kind in ("half-open", "slow-link"):
        for seed in range(12):
            nemesis = make(world, seed)
            perform(nemesis, "shape-packets", kind)
            assert not [link for link in world.cluster.shapes if link[::-1] in world.cluster.shapes]
            perform(nemesis, "restore-packets")


def test_a_fault_is_aimed_at_who_leads_or_at_the_nodes_that_are_given(world: Any) -> None:
    for seed in range(10):
        nemesis = make(world, seed, targets="primaries")
        for value, node in (("delay", "n3"), ({"kind": "delay", "nodes": ["n5"]}, "n5")):
            perform(nemesis, "shape-packets", value)
            assert all(node in link for link in world.cluster.shapes)
            perform(nemesis, "restore-packets")


def test_links_that_another_fault_cuts_are_not_looked_at(world: Any) -> None:
    nemesis = make(world)
    links = {"n1": {"n2": {"loss_ppm": 500_000}, "n3": {"loss_ppm": 500_000}}}
    world.cluster.grudge = {"n2": frozenset({"n1"})}
    perform(nemesis, "shape-packets", {"kind": "loss", "links": links})
    assert set(read_ledger(world.ledger_path)[0].observation["shaped"]) == {"n1 to n3"}
    assert read_ledger(world.ledger_path)[0].observation["cut off"] == 1
    world.cluster.grudge = {"n3": frozenset({"n1"})}
    assert perform(nemesis, "restore-packets") == {"healed": 1}
    assert all(("n1", "n2") not in probed for probed, _, _ in world.cluster.probed)
    result = perform(
        nemesis, "shape-packets", {"kind": "loss", "links": {"n1": {"n3": {"loss_ppm": 500_000}}}}
    )
    assert "another fault has cut all these links" in result["note"]
    assert len(read_ledger(world.ledger_path)) == 1


def test_a_shape_in_place_of_another_ends_it_first(world: Any) -> None:
    nemesis = make(world)
    perform(nemesis, "shape-packets", "loss")
    perform(nemesis, "shape-packets", "delay")
    first, second = read_ledger(world.ledger_path)
    assert first.healed_ns is not None
    assert second.healed_ns is None
    assert [name for name, _ in world.cluster.calls] == ["shape"] * 3


def test_connections_are_reset_once_and_the_fault_is_over(world: Any) -> None:
    nemesis = make(world, targets="all")
    world.cluster.connections = {("n1", "n2"): 2, ("n4", "n3"): 1}
    result = perform(nemesis, "shape-packets", "reset")
    assert (result["connections"], result["duration_ms"]) == (3, 0)
    (fault,) = read_ledger(world.ledger_path)
    assert fault.healed_ns is not None
    assert perform(nemesis, "restore-packets") == {"healed": 0}


def test_where_there_is_no_connection_the_result_says_so(world: Any) -> None:
    assert perform(make(world), "shape-packets", "reset")["note"] == "there was no connection to reset"
    assert world.runtime.slept_ns


def test_names_are_not_found_on_some_nodes_and_then_again(world: Any) -> None:
    nemesis = make(world)
    result = perform(nemesis, "shape-packets", "names")
    assert world.cluster.nameless == frozenset(result["nodes"])
    assert perform(nemesis, "restore-packets") == {"healed": 1}
    assert not world.cluster.nameless


def test_names_that_do_not_go_or_come_back_are_a_fault_error(world: Any) -> None:
    nemesis = make(world)
    names_of_two = {"kind": "names", "nodes": ["n1", "n2"]}
    world.cluster.ignores.add("break_names")
    with pytest.raises(FaultError, match="shape-packets did not take: names are still found on n1, n2"):
        perform(nemesis, "shape-packets", names_of_two)
    world.cluster.ignores.clear()
    perform(nemesis, "shape-packets", names_of_two)
    world.cluster.ignores.add("break_names")
    with pytest.raises(FaultError, match="restore-packets did not take: names are not found on n1, n2"):
        perform(nemesis, "restore-packets")
    assert world.ledger.open_faults("packet")


def test_names_that_nobody_finds_anyway_are_a_fault_error(world: Any) -> None:
    world.cluster.nameless = frozenset({"n1"})
    with pytest.raises(FaultError, match="names are not found on n1 although nothing was done"):
        perform(make(world), "shape-packets", {"kind": "names", "nodes": ["n1"]})


def test_healing_is_harmless_when_nothing_is_wrong(world: Any) -> None:
    nemesis = make(world)
    final = nemesis.final_generator()
    assert isinstance(final, Operation)
    assert perform(nemesis, final.f) == {"healed": 0}
    assert world.cluster.calls == []


def test_what_the_cluster_cannot_carry_is_left_out_or_refused_when_it_is_named(world: Any) -> None:
    world.cluster.carries = frozenset({"delay", "loss"})
    generator = make(world).generator()
    assert set(generator.faults.kinds) <= {"delay", "loss", "half-open", "mixed"}
    with pytest.raises(FaultError, match=r"cannot carry .* kind names, rate .it can: delay, loss, half-open"):
        make(world, kinds="names,rate,loss").generator()
    value = {"kind": "rate", "links": {"n1": {"n2": {"rate_bytes_per_s": 10_000}}}}
    with pytest.raises(FaultError, match=r"cannot carry .* kind rate"):
        perform(make(world), "shape-packets", value)


def test_what_kinds_named_outright_are_made_of_is_known_before_deployment() -> None:
    asked = PacketNemesis.mechanisms_asked
    assert asked(PacketOptions()) == frozenset()
    assert asked(PacketOptions(kinds="slow-link,names")) == {"packet/delay", "packet/rate", "packet/names"}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("delays", "its value 'delays' is not known .did you mean 'delay'"),
        ({"kind": "dealy", "links": {}}, "its kind 'dealy' is not known .did you mean 'delay'"),
        ({"kind": "names"}, "its nodes must be a list of nodes, not None"),
        ({"kind": "delay"}, "its links cannot be read"),
        ({"kind": "delay", "links": {"n1": {"n9": {"delay_us": 1}}}}, "there is no node 'n9'"),
        ({"kind": "delay", "links": {"n1": {"n1": {"delay_us": 1}}}}, "on no link: name two nodes"),
        ({"kind": "delay", "links": {"n1": {"n2": {"delay_ms": 1}}}}, "unknown field `delay_ms`"),
        ({"kind": "delay", "links": {"n1": {"n2": {}}}}, "from n1 to n2 does nothing"),
        ({"kind": "loss", "links": {"n1": {"n2": {"loss_ppm": 2_000_000}}}}, "give 20000 to 1000000"),
        ({"kind": "loss", "links": {"n1": {"n2": {"loss_ppm": 19_999}}}}, "which probes can tell from none"),
        ({"kind": "delay", "links": {"n1": {"n2": {"delay_us": 999}}}}, "has delay_us = 999: give 1000 to"),
        ({"kind": "delay", "links": {"n1": {"n2": {"jitter_us": 9_000}}}}, "no delay that it could vary"),
        ({"kind": "rate", "links": {"n1": {"n2": {"rate_bytes_per_s": 10**9}}}}, "give 1 to 900000"),
        ({"kind": "delay", "links": {"n1": {"n2": {"delay_us": -5}}}}, "has delay_us = -5"),
        ({"nodes": ["n1"]}, "its kind None is neither a name nor a table"),
    ],
)
def test_a_value_that_cannot_be_is_said_before_anything_is_deployed(value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PacketNemesis.check_value("shape-packets", value, ("n1", "n2", "n3"))


def test_a_kind_that_is_not_known_is_a_usage_error_that_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"kinds knows no 'delays' .did you mean 'delay'"):
        parse_options(PacketOptions, {"kinds": "loss,delays"}, owner="packet")
