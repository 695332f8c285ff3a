"""Random schedules: the invariants hold after every step, and a healed cluster comes back to life."""

from __future__ import annotations

import pytest
from tests.targets.reference.chaos import Chaos, survive
from tests.targets.reference.zab.harness import World
from tests.targets.reference.zab.schedules import knobs_of


def schedule(seed: int) -> Chaos:
    world = World(3 if seed % 2 else 5, seed=seed, knobs=knobs_of(seed), joiners=1)
    return Chaos(world, seed)


@pytest.mark.parametrize("block", range(4))
def test_invariants_hold_under_random_schedules(block: int) -> None:
    survived = survive(schedule, range(block * 16, block * 16 + 16), steps=2000)
    assert survived.led > 16
    assert survived.committed > 16 * 8


class Restless(Chaos):
    """Members come and go all the time, so that the nodes' configurations are far apart when all is healed."""

    def move(self) -> None:
        """One random step; one in twenty asks for another configuration."""
        if self.rng.chance(1, 20):
            self.change_members()
        else:
            super().move()


@pytest.mark.parametrize("block", range(4))
def test_nodes_with_different_configurations_find_a_leader(block: int) -> None:
    """One that must lead may be no member by the others' word, or one that is to follow by its leader's."""

    def restless(seed: int) -> Chaos:
        return Restless(World(5, seed=seed, knobs=knobs_of(seed)), seed, crashes=seed % 2 == 0)

    survive(restless, range(block * 15, block * 15 + 15), steps=1200)


@pytest.mark.parametrize("mode", ["sync", "local"])
def test_weaker_reads_leave_everything_else_as_it_is(mode: str) -> None:
    """They see a past; nothing else that is checked breaks."""
    for seed in range(12):
        world = World(3, seed=seed, knobs=knobs_of(seed)._replace(reads=mode))
        world.read = lambda name, world=world: world.propose(name)  # type: ignore[method-assign]
        chaos = Chaos(world, seed)
        chaos.run(1500)
        chaos.calm()
        leader = world.leader()
        assert leader is not None
        for name in world.zab(leader).members:
            World.read(world, name)
        world.pass_time(200)
        assert len(world.reads_answered) == len(world.zab(leader).members)
