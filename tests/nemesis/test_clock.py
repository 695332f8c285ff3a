from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foreshock.harness.errors import FaultError, UsageError
from foreshock.harness.ledger import read_ledger
from foreshock.harness.operation import Operation
from foreshock.harness.options import parse_options
from foreshock.nemesis.clock import ClockNemesis, ClockOptions

MS = 1_000_000


def make(world: Any, seed: int = 1, **options: Any) -> ClockNemesis:
    return ClockNemesis(ClockOptions(**options), world.context(seed))


def perform(nemesis: ClockNemesis, f: str, value: str | None = None) -> Any:
    return asyncio.run(nemesis.invoke(Operation(f=f, value=value)))


@pytest.mark.parametrize("kind", ["jump", "drift", "strobe"])
def test_a_skew_is_recorded_before_it_strikes_verified_after_and_healed(kind: str, world: Any) -> None:
    nemesis = make(world, targets="majority")
    result = perform(nemesis, "skew-clocks", kind)
    assert world.cluster.planned_before == [1]
    amounts = result["drift_ppm" if kind == "drift" else "jump_ms"]
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


@pytest.mark.parametrize(
    ("kind", "ignored", "said"),
    [
        ("jump", "jump_clocks", "jumped n[1-5] by 0 ms in place of"),
        ("strobe", "jump_clocks", "jumped n[1-5] by 0 ms in place of"),
        ("drift", "drift_clocks", "gained 0 ns in place of"),
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
