"""The options of the ``zab`` target, and the knobs that a simulated test draws from its seed."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from msgspec import Meta

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.consensus_options import (
    ConsensusOptions,
    draw_batch_bytes,
    draw_snapshots,
)
from foreshock.targets.reference.node.zab import ZabKnobs
from foreshock.targets.reference.options import knob

_knob = partial(knob, ZabKnobs)


class ZabOptions(ConsensusOptions, frozen=True):
    """Options of the ``zab`` target. A knob that is left out has the node's default, or the seed's draw."""

    reads: Annotated[
        Literal["linearizable", "sync", "local"],
        Meta(
            description="How a node reads: after a quorum's word, after ZooKeeper's sync, or its own state."
        ),
    ] = "linearizable"
    sync_limit_ms: Annotated[
        int | None, _knob("sync_limit_ms", "Silence after which leader and follower part (ms).")
    ] = None
    init_limit_ms: Annotated[
        int | None, _knob("init_limit_ms", "How long a new leader may be without progress (ms).")
    ] = None
    notification_min_ms: Annotated[
        int | None, _knob("notification_min_ms", "First wait before a vote is repeated (ms).")
    ] = None
    notification_max_ms: Annotated[
        int | None, _knob("notification_max_ms", "Longest wait before a vote is repeated (ms).")
    ] = None
    finalize_ms: Annotated[
        int | None, _knob("finalize_ms", "How long an elected node waits for a better one (ms).")
    ] = None
    commit_delay_ms: Annotated[
        int | None, _knob("commit_delay_ms", "How long a COMMIT waits for a proposal to carry it (ms).")
    ] = None
    batch_entries_max: Annotated[
        int | None, _knob("batch_entries_max", "Most log entries in one message.")
    ] = None
    inflight_messages_max: Annotated[
        int | None, _knob("inflight_messages_max", "Messages with entries on their way to one follower.")
    ] = None
    uncommitted_entries_max: Annotated[
        int | None, _knob("uncommitted_entries_max", "Entries of a leader that may wait for commitment.")
    ] = None


def draw_zab_knobs(rng: RandomStream) -> ZabKnobs:
    """Knobs that walk rare paths often: tiny batches, a snapshot every few entries, hasty and slow elections."""
    sync_limit_ms = rng.between(200, 700)
    notification_min_ms = rng.between(20, 100)
    return ZabKnobs(
        heartbeat_ms=max(20, sync_limit_ms // rng.between(3, 6)),
        sync_limit_ms=sync_limit_ms,
        init_limit_ms=rng.between(500, 1_500),
        notification_min_ms=notification_min_ms,
        notification_max_ms=notification_min_ms * rng.choice((2, 8)),
        finalize_ms=rng.choice((0, 10, 40, 100)),
        commit_delay_ms=rng.choice((0, 5, 5, 30)),
        batch_entries_max=rng.choice((1, 4, 16, 64, 64)),
        batch_bytes_max=draw_batch_bytes(rng),
        inflight_messages_max=rng.choice((1, 2, 8, 8)),
        **draw_snapshots(rng),
    )
