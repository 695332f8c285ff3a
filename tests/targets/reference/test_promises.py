from __future__ import annotations

import pytest

from foreshock.harness.errors import UsageError
from foreshock.harness.plan import resolve
from foreshock.harness.registry import Kind, load, names
from foreshock.harness.request import Request


def carried(target: str) -> set[str]:
    """The nemeses that a test of the target may have in the simulator."""
    found = set()
    for name in names(Kind.NEMESES):
        try:
            resolve(Request(target=target, nemesis=name, backend="sim"))
        except UsageError:
            continue
        found.add(name)
    return found


@pytest.mark.parametrize("target", ["raft", "paxos", "zab"])
def test_registers_are_promised_under_every_nemesis_that_the_simulator_can_carry(target: str) -> None:
    promised = {
        nemesis
        for promise in load(Kind.TARGETS, target).promises
        if promise.workload == "register"
        for nemesis in promise.nemeses
    }
    assert promised == carried(target) > {"partition", "packet", "disk", "restart", "primary"}
