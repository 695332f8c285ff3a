"""Random schedules: the invariants hold after every step, and a healed cluster comes back to life."""

from __future__ import annotations

import pytest
from tests.targets.reference.chaos import Chaos, survive
from tests.targets.reference.paxos.harness import World, knobs_of


def schedule(seed: int) -> Chaos:
    world = World(3 if seed % 2 else 5, seed=seed, knobs=knobs_of(seed), joiners=1)
    return Chaos(world, seed)


@pytest.mark.parametrize("block", range(8))
def test_invariants_hold_under_random_schedules(block: int) -> None:
    survived = survive(schedule, range(block * 25, block * 25 + 25), steps=2000)
    assert survived.led > 25
    assert survived.committed > 25 * 10
