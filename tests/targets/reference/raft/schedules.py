"""The knobs under which Raft's replicas are moved at random."""

from __future__ import annotations

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.node.raft import RaftKnobs


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
