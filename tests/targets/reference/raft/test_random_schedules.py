"""Random schedules: the invariants hold after every step, and a healed cluster comes back to life."""

from __future__ import annotations

import pytest

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.node.raft import RaftKnobs
from tests.targets.reference.raft.harness import Chaos, World


def knobs_of(seed: int) -> RaftKnobs:
    """Knobs drawn so that rare paths are walked often."""
    rng = RandomStream(seed, "knobs")
    return RaftKnobs(
        election_timeout_min_ms=100,
        election_timeout_max_ms=rng.choice([120, 200, 300]),
        heartbeat_ms=rng.choice([10, 20, 50]),
        prevote=rng.chance(4, 5),
        batch_entries_max=rng.choice([1, 2, 64]),
        batch_bytes_max=rng.choice([1, 100, 100_000]),
        inflight_appends_max=rng.choice([1, 2, 8]),
        snapshot_keep_entries=rng.choice([0, 1, 5]),
        snapshot_chunk_bytes=rng.choice([7, 100_000]),
    )


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
