from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foreshock.harness.errors import FaultError
from foreshock.harness.ledger import read_ledger
from foreshock.harness.operation import Operation
from foreshock.nemesis.kill import KillNemesis, KillOptions
from foreshock.nemesis.power import PowerNemesis, PowerOptions


def perform(nemesis: Any, f: str, value: str | None = None) -> Any:
    return asyncio.run(nemesis.invoke(Operation(f=f, value=value)))


def test_a_power_cut_is_recorded_before_it_strikes_verified_after_and_healed(world: Any) -> None:
    nemesis = PowerNemesis(PowerOptions(), world.context())
    result = perform(nemesis, "cut-power", "all")
    assert world.cluster.calls == [("cut_power", ["n1", "n2", "n3", "n4", "n5"])]
    assert world.cluster.planned_before == [1]
    (fault,) = read_ledger(world.ledger_path)
    assert (fault.kind, list(fault.nodes), fault.verified_ns is not None) == ("power", result["nodes"], True)
    assert perform(nemesis, "restore-power") == {"nodes": result["nodes"]}
    assert read_ledger(world.ledger_path)[0].healed_ns is not None
    assert not world.cluster.down


def test_a_power_cut_that_does_not_take_is_a_fault_error(world: Any) -> None:
    world.cluster.ignores.add("cut_power")
    with pytest.raises(FaultError, match="cut-power did not take: not without power: n"):
        perform(PowerNemesis(PowerOptions(), world.context()), "cut-power", "one")


def test_what_the_kill_nemesis_starts_again_after_a_power_cut_had_not_ended_by_itself(world: Any) -> None:
    power = PowerNemesis(PowerOptions(), world.context())
    kill = KillNemesis(KillOptions(), world.context())
    struck = perform(power, "cut-power", "minority")["nodes"]
    assert perform(kill, "start") == {"nodes": struck}
    assert world.ledger.open_faults("power")
    assert perform(power, "restore-power") == {"nodes": []}
    assert not world.ledger.open_faults()
