"""Random schedules: the invariants hold after every step, and a healed cluster comes back to life."""

from __future__ import annotations

import pytest
from tests.targets.reference.chaos import Chaos
from tests.targets.reference.paxos.harness import World, knobs_of


@pytest.mark.parametrize("block", range(8))
def test_invariants_hold_under_random_schedules(block: int) -> None:
    led = committed = 0
    for seed in range(block * 25, block * 25 + 25):
        world = World(3 if seed % 2 else 5, seed=seed, knobs=knobs_of(seed), joiners=1)
        chaos = Chaos(world, seed)
        try:
            chaos.run(2000)
            led += len(world.leaders)
            committed += world.highest_commit
            chaos.recover()
        except AssertionError as broken:
            raise AssertionError(f"seed {seed}: {broken}") from broken
    assert led > 25
    assert committed > 25 * 10
