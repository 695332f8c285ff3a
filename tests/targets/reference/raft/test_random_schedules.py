"""Random schedules: the invariants hold after every step, and a healed cluster comes back to life."""

from __future__ import annotations

import pytest
from tests.targets.reference.raft.chaos import Chaos, knobs_of
from tests.targets.reference.raft.harness import World


@pytest.mark.parametrize("block", range(8))
def test_invariants_hold_under_random_schedules(block: int) -> None:
    elected = committed = 0
    for seed in range(block * 25, block * 25 + 25):
        world = World(3 if seed % 2 else 5, seed=seed, knobs=knobs_of(seed), joiners=1)
        chaos = Chaos(world, seed)
        try:
            chaos.run(2000)
            elected += len(world.leaders)
            committed += world.highest_commit
            chaos.calm()
        except AssertionError as broken:
            raise AssertionError(f"seed {seed}: {broken}") from broken
        leader = world.leader()
        assert leader is not None, f"seed {seed}: nobody leads after everything was healed"
        proposal = world.propose(leader)
        read = world.read(leader)
        world.deliver_all()
        world.pass_time(100)
        assert proposal in world.proposals_done, f"seed {seed}: no progress after everything was healed"
        assert read in world.reads_answered, f"seed {seed}: no read after everything was healed"
        for member in world.raft(leader).members:
            assert world.nodes[member].applied == world.highest_commit, f"seed {seed}: {member} lags"
    assert elected > 25
    assert committed > 25 * 10
