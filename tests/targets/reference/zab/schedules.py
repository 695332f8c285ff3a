"""The knobs under which Zab's replicas are moved at random."""

from __future__ import annotations

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.node.zab import ZabKnobs


def knobs_of(seed: int) -> ZabKnobs:
    """Knobs drawn so that rare paths are walked often."""
    rng = RandomStream(seed, "knobs")
    return ZabKnobs(
        heartbeat_ms=rng.choice([10, 20, 50]),
        sync_limit_ms=rng.choice([100, 200]),
        init_limit_ms=rng.choice([100, 300]),
        notification_min_ms=rng.choice([5, 20]),
        notification_max_ms=80,
        finalize_ms=rng.choice([0, 5, 30]),
        commit_delay_ms=rng.choice([0, 2, 15]),
        batch_entries_max=rng.choice([1, 2, 64]),
        batch_bytes_max=rng.choice([1, 100, 100_000]),
        inflight_messages_max=rng.choice([1, 2, 8]),
        snapshot_keep_entries=rng.choice([0, 1, 5]),
        snapshot_chunk_bytes=rng.choice([7, 100_000]),
        catch_up_timeout_ms=rng.choice([200, 2000]),
    )
