from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foreshock.harness.errors import FaultError, UsageError
from foreshock.harness.ledger import ends_with_harness, read_ledger
from foreshock.harness.operation import Operation
from foreshock.harness.options import parse_options
from foreshock.nemesis.stall import StallNemesis, StallOptions


def perform(nemesis: StallNemesis, f: str, value: str | None = None) -> Any:
    return asyncio.run(nemesis.invoke(Operation(f=f, value=value)))


def test_a_stall_is_recorded_before_it_strikes_verified_after_and_healed(world: Any) -> None:
    nemesis = StallNemesis(StallOptions(duration_ms_min=300, duration_ms_max=500), world.context())
    result = perform(nemesis, "stall", "all")
    assert result["processes"] == [0, 1, 2, 3, 4]
    assert 300 <= result["duration_ms"] <= 500
    assert set(world.stalls.held.values()) == {result["duration_ms"] * 1_000_000}
    (fault,) = read_ledger(world.ledger_path)
    assert fault.value == {"processes": [0, 1, 2, 3, 4], "duration_ms": result["duration_ms"]}
    assert ends_with_harness(fault.inverse)
    assert fault.verified_ns is not None
    assert fault.healed_ns is None
    assert perform(nemesis, "resume-clients")["before their time"] == [0, 1, 2, 3, 4]
    assert read_ledger(world.ledger_path)[0].healed_ns is not None
    assert not world.stalls.held


@pytest.mark.parametrize(("spec", "counts"), [("one", {1}), ("some", {1, 2, 3, 4, 5}), ("all", {5})])
def test_a_spec_says_how_many_clients_are_stalled(spec: str, counts: set[int], world: Any) -> None:
    found = set()
    for seed in range(40):
        world.stalls.held.clear()
        found.add(len(perform(StallNemesis(StallOptions(), world.context(seed)), "stall", spec)["processes"]))
    assert found == counts


def test_a_client_that_moves_in_its_stall_is_a_fault_error_and_a_failed_entry(world: Any) -> None:
    world.stalls.ignores.add("stall")
    with pytest.raises(FaultError, match="the clients of these processes moved: 0, 1, 2, 3, 4"):
        perform(StallNemesis(StallOptions(), world.context()), "stall", "all")
    assert "moved" in (read_ledger(world.ledger_path)[0].failure or "")


def test_a_client_that_does_not_go_on_is_a_fault_error_and_the_fault_stays_open(world: Any) -> None:
    nemesis = StallNemesis(StallOptions(), world.context())
    perform(nemesis, "stall", "all")
    world.stalls.ignores.add("release")
    with pytest.raises(FaultError, match="still stalled: 0, 1, 2, 3, 4"):
        perform(nemesis, "resume-clients")
    assert world.ledger.open_faults("stall")


def test_without_clients_there_is_nothing_to_stall_and_nothing_to_heal(world: Any) -> None:
    world.stalls.clients = ()
    nemesis = StallNemesis(StallOptions(), world.context())
    assert perform(nemesis, "stall", "all") == {"processes": [], "note": "there was no client to stall"}
    final = nemesis.final_generator()
    assert isinstance(final, Operation)
    assert perform(nemesis, final.f)["processes"] == []
    assert not world.ledger.all()


def test_durations_the_wrong_way_round_are_a_usage_error_that_names_both() -> None:
    with pytest.raises(UsageError, match="duration_ms_min is 9, more than duration_ms_max, 5"):
        parse_options(StallOptions, {"duration_ms_min": "9", "duration_ms_max": "5"}, owner="stall")
