from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from foreshock.harness.capabilities import ClockReading
from foreshock.harness.errors import FaultError, HarnessError, UsageError
from foreshock.harness.ledger import read_ledger
from foreshock.harness.operation import Operation
from foreshock.harness.options import parse_options
from foreshock.nemesis.clock import DRIFTS, ClockNemesis, ClockOptions

MS = 1_000_000


def make(world: Any, seed: int = 1, **options: Any) -> ClockNemesis:
    return ClockNemesis(ClockOptions(**options), world.context(seed))


def perform(nemesis: ClockNemesis, f: str, value: Any = None) -> Any:
    return asyncio.run(nemesis.invoke(Operation(f=f, value=value)))


@pytest.mark.parametrize("kind", ["jump", "drift", "drift-wall", "strobe"])
def test_a_skew_is_recorded_before_it_strikes_verified_after_and_healed(kind: str, world: Any) -> None:
    nemesis = make(world, targets="majority")
    result = perform(nemesis, "skew-clocks", kind)
    assert world.cluster.planned_before == [1]
    amounts = result["drift_ppm" if kind in DRIFTS else "jump_ms"]
    assert len(amounts) == 3
    (fault,) = read_ledger(world.ledger_path)
    assert (fault.kind, set(fault.nodes), fault.value) == ("clock", set(amounts), result)
    assert fault.inverse == {"backend": "recording", "fault": "clock", "nodes": sorted(amounts)}
    assert set(fault.observation) == set(amounts)
    assert perform(nemesis, "reset-clocks") == {"nodes": sorted(amounts)}
    assert read_ledger(world.ledger_path)[0].healed_ns is not None
    assert not world.cluster.offsets_ns | world.cluster.drifts_ppm


def test_amounts_stay_within_the_options_reach_them_and_go_both_ways(world: Any) -> None:
    jumps, drifts = [], []
    for seed in range(60):
        nemesis = make(world, seed, jump_ms_max=700, drift_percent_max=3, targets="all")
        jumps += perform(nemesis, "skew-clocks", "jump")["jump_ms"].values()
        drifts += perform(nemesis, "skew-clocks", "drift")["drift_ppm"].values()
        perform(nemesis, "reset-clocks")
    assert (min(jumps), max(jumps)) == (-700, 700)
    assert (min(drifts), max(drifts)) == (-30_000, 30_000)
    assert min(map(abs, drifts)) == 7_000


def test_the_smallest_drift_that_can_be_asked_for_is_seen_when_it_does_not_take(world: Any) -> None:
    world.cluster.ignores.add("drift_clocks")
    with pytest.raises(FaultError, match="skew-clocks did not take"):
        perform(make(world), "skew-clocks", {"kind": "drift", "drift_ppm": {"n1": 7_000}})


@pytest.mark.parametrize(
    ("kind", "ignored", "said"),
    [
        ("jump", "jump_clocks", "jumped n[1-5] by 0 ms in place of"),
        ("strobe", "jump_clocks", "jumped n[1-5] by 0 ms in place of"),
        ("drift", "drift_clocks", "the monotonic clock of n[1-5] gained 0 ns in place of"),
        ("drift-wall", "drift_clocks", "the wall clock of n[1-5] gained 0 ns in place of"),
    ],
)
def test_clocks_that_do_not_move_are_a_fault_error_and_a_failed_entry(
    kind: str, ignored: str, said: str, world: Any
) -> None:
    world.cluster.ignores.add(ignored)
    with pytest.raises(FaultError, match=f"skew-clocks did not take: .*{said}"):
        perform(make(world, targets="all", drift_percent_max=50), "skew-clocks", kind)
    assert "did not take" in (read_ledger(world.ledger_path)[0].failure or "")


@pytest.mark.parametrize("kind", ["jump", "drift"])
def test_clocks_that_cannot_be_set_right_are_a_fault_error_and_the_fault_stays_open(
    kind: str, world: Any
) -> None:
    nemesis = make(world, targets="all", drift_percent_max=50)
    perform(nemesis, "skew-clocks", kind)
    world.cluster.ignores.add("reset_clocks")
    with pytest.raises(FaultError, match="reset-clocks did not take: n1 is"):
        perform(nemesis, "reset-clocks")
    assert world.ledger.open_faults("clock")


def test_a_strobe_goes_on_until_the_clocks_are_reset(world: Any) -> None:
    nemesis = make(world)
    assert 10 <= perform(nemesis, "skew-clocks", "strobe")["every_ms"] <= 200
    assert not world.runtime.spawned["strobe"].cancelled
    perform(nemesis, "reset-clocks")
    assert world.runtime.spawned["strobe"].cancelled


def test_healing_is_harmless_when_nothing_is_wrong(world: Any) -> None:
    nemesis = make(world)
    final = nemesis.final_generator()
    assert isinstance(final, Operation)
    assert perform(nemesis, final.f) == {"nodes": []}
    assert world.cluster.calls == []


def test_a_kind_that_is_not_known_is_a_usage_error_that_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"kinds knows no 'drifts' .did you mean 'drift'"):
        parse_options(ClockOptions, {"kinds": "jump,drifts"}, owner="clock")


def test_wall_clocks_that_were_to_drift_alone_and_took_the_others_along_are_a_fault_error(world: Any) -> None:
    drift = world.cluster.drift_clocks

    async def drift_all(drift_ppm: Mapping[str, int], *, wall_only: bool) -> None:
        assert wall_only
        await drift(drift_ppm)

    world.cluster.drift_clocks = drift_all
    with pytest.raises(FaultError, match=r"the monotonic clock of n1 gained 100\d+ ns in place of 0 ns"):
        perform(make(world), "skew-clocks", {"kind": "drift-wall", "drift_ppm": {"n1": 500_000}})


def test_what_is_drawn_by_default_leaves_drifts_of_wall_clocks_alone_to_those_who_ask(world: Any) -> None:
    assert "drift-wall" not in ClockOptions().kinds
    asked = make(world, kinds="drift-wall").generator()
    assert asked.faults.kinds == ("drift-wall",)


@pytest.mark.parametrize("kind", ["jump", "drift", "drift-wall", "strobe"])
def test_a_result_asked_for_again_does_the_same_without_a_draw(kind: str, world: Any) -> None:
    first = make(world, 7, targets="minority")
    result = perform(first, "skew-clocks", kind)
    done = world.cluster.calls[-1]
    perform(first, "reset-clocks")
    again = make(world, 8)
    assert perform(again, "skew-clocks", result) == result
    assert world.cluster.calls[-1] == done
    assert again._rng.bits(64) == make(world, 8)._rng.bits(64)
    perform(again, "reset-clocks")


def test_what_a_table_leaves_open_is_drawn(world: Any) -> None:
    nemesis = make(world, jump_ms_max=5)
    assert perform(nemesis, "skew-clocks", {"kind": "jump", "nodes": ["n2"]})["jump_ms"].keys() == {"n2"}
    perform(nemesis, "reset-clocks")
    leaders = {"kind": "drift", "spec": "primaries", "drift_ppm": -400_000}
    assert perform(nemesis, "skew-clocks", leaders) == {"kind": "drift", "drift_ppm": {"n3": -400_000}}
    perform(nemesis, "reset-clocks")
    strobe = {"kind": "strobe", "jump_ms": {"n4": 3}}
    result = perform(nemesis, "skew-clocks", strobe)
    assert result == {**strobe, "every_ms": result["every_ms"]}
    perform(nemesis, "reset-clocks")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("leap", r"its value 'leap' is not known"),
        ({"jump_ms": {"n1": 1}}, r"its kind None is none of jump, drift, drift-wall, strobe"),
        ({"kind": "jump", "jump_ms": {"n9": 1}}, r"there is no node 'n9'"),
        ({"kind": "jump", "jump_ms": {}}, r"its jump_ms names no node"),
        ({"kind": "jump", "jump_ms": {"n1": 0}}, r"its jump_ms is 0, and must be a whole number"),
        ({"kind": "drift", "drift_ppm": {"n1": 500_001}}, r"is 500001, and must be .* up to 500000"),
        ({"kind": "drift", "drift_ppm": -6_999}, r"is -6999, and must be a whole number from 7000 up to"),
        ({"kind": "drift", "drift_ppm": "fast"}, r"its drift_ppm is 'fast'"),
        ({"kind": "drift", "spec": "primary"}, r"its spec 'primary' is not known .did you mean 'primaries'"),
        ({"kind": "drift", "nodes": ["n9"]}, r"there is no node 'n9'"),
        ({"kind": "strobe", "every_ms": 0.5}, r"its every_ms is 0.5"),
    ],
)
def test_a_value_that_makes_no_sense_is_said_before_anything_is_deployed_and_never_done(
    value: Any, said: str, world: Any
) -> None:
    with pytest.raises(ValueError, match=said):
        ClockNemesis.check_value("skew-clocks", value, world.context().nodes)
    with pytest.raises(FaultError, match="skew-clocks cannot do as it is told"):
        perform(make(world), "skew-clocks", value)
    assert world.cluster.calls == []
    assert world.ledger.all() == ()


def test_readings_may_come_late_since_each_says_when_it_was_taken(world: Any) -> None:
    nemesis = make(world)
    read = world.cluster.read_clocks

    async def read_late(nodes: frozenset[str]) -> Mapping[str, ClockReading]:
        world.cluster.lag_ns += 700 * MS
        return await read(nodes)  # type: ignore[no-any-return]

    world.cluster.read_clocks = read_late
    perform(nemesis, "skew-clocks", {"kind": "drift", "drift_ppm": {"n1": -20_000}})
    assert read_ledger(world.ledger_path)[0].observation == {"n1": -20_000}


def test_the_ledger_says_whose_clocks_nobody_could_look_at(world: Any) -> None:
    world.cluster.down.add("n2")
    perform(make(world), "skew-clocks", {"kind": "jump", "jump_ms": {"n1": 40, "n2": 60}})
    (fault,) = read_ledger(world.ledger_path)
    assert fault.observation == {"n1": 40, "n2": 60, "down, so by file": ["n2"]}


def test_a_strobe_that_goes_no_further_is_a_failed_entry_and_told_when_the_clocks_are_reset(
    world: Any,
) -> None:
    nemesis = make(world)
    perform(nemesis, "skew-clocks", "strobe")
    strobe = world.runtime.spawned["strobe"]

    async def lost(by_ns: Mapping[str, int]) -> None:
        raise HarnessError("the host is lost")

    world.cluster.jump_clocks = lost
    asyncio.run(strobe.wait())
    assert "the strobe went no further: the host is lost" in (world.ledger.all()[0].failure or "")
    with pytest.raises(FaultError, match="skew-clocks did not last: the strobe went no further"):
        perform(nemesis, "reset-clocks")
    assert not world.ledger.open_faults("clock")
