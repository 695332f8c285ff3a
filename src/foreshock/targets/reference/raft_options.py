"""The options of the ``raft`` target, and the knobs that a simulated test draws from its seed."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.node.raft import RaftKnobs
from foreshock.targets.reference.options import ReferenceOptions, knob

_knob = partial(knob, RaftKnobs)


class RaftOptions(ReferenceOptions, frozen=True):
    """Options of the ``raft`` target. A knob that is left out has the node's default, or the seed's draw."""

    election_timeout_min_ms: Annotated[
        int | None,
        _knob("election_timeout_min_ms", "Least silence of a leader before a follower campaigns (ms)."),
    ] = None
    election_timeout_max_ms: Annotated[
        int | None, _knob("election_timeout_max_ms", "Greatest silence before a follower campaigns (ms).")
    ] = None
    heartbeat_ms: Annotated[
        int | None, _knob("heartbeat_ms", "How often a leader speaks to every follower (ms).")
    ] = None
    prevote: Annotated[bool | None, _knob("prevote", "Whether a node asks before it begins a term.")] = None
    reads: Annotated[
        Literal["read-index", "lease"] | None,
        _knob("reads", "How a leader knows that it may answer a read: it asks a majority, or trusts clocks."),
    ] = None
    clock_drift_percent: Annotated[
        int | None,
        _knob(
            "clock_drift_percent", "How much faster one node's clock runs than another's at most (percent)."
        ),
    ] = None
    batch_entries_max: Annotated[
        int | None, _knob("batch_entries_max", "Most log entries in one append message.")
    ] = None
    batch_bytes_max: Annotated[
        int | None, _knob("batch_bytes_max", "About the most bytes of entries in one append message.")
    ] = None
    inflight_appends_max: Annotated[
        int | None, _knob("inflight_appends_max", "Append messages on their way to one follower at once.")
    ] = None
    uncommitted_entries_max: Annotated[
        int | None, _knob("uncommitted_entries_max", "Entries of a leader that may wait for commitment.")
    ] = None
    pending_reads_max: Annotated[
        int | None, _knob("pending_reads_max", "Reads that may wait at a leader.")
    ] = None
    snapshot_after_entries: Annotated[
        int | None, _knob("snapshot_after_entries", "Applied entries between two snapshots.")
    ] = None
    snapshot_keep_entries: Annotated[
        int | None,
        _knob("snapshot_keep_entries", "Entries before a snapshot that are kept for slow followers."),
    ] = None
    snapshot_chunk_bytes: Annotated[
        int | None,
        _knob("snapshot_chunk_bytes", "A longer snapshot travels in pieces of this length (bytes)."),
    ] = None
    catch_up_rounds_max: Annotated[
        int | None, _knob("catch_up_rounds_max", "Rounds of replication that a new member gets to catch up.")
    ] = None
    catch_up_timeout_ms: Annotated[
        int | None, _knob("catch_up_timeout_ms", "How long a new member gets to catch up (ms).")
    ] = None


def draw_raft_knobs(rng: RandomStream) -> RaftKnobs:
    """Knobs that walk rare paths often: tiny batches, a snapshot every few entries, elections that tie."""
    election_min_ms = rng.between(150, 500)
    return RaftKnobs(
        election_timeout_min_ms=election_min_ms,
        election_timeout_max_ms=election_min_ms + rng.between(100, 500),
        heartbeat_ms=max(20, election_min_ms // rng.between(3, 6)),
        prevote=not rng.chance(1, 8),
        batch_entries_max=rng.choice((1, 4, 16, 64, 64)),
        batch_bytes_max=rng.choice((256, 4096, 256 * 1024, 256 * 1024)),
        inflight_appends_max=rng.choice((1, 2, 8, 8)),
        snapshot_after_entries=rng.choice((16, 64, 256, 1000, 4000)),
        snapshot_keep_entries=rng.choice((0, 1, 8, 64)),
        snapshot_chunk_bytes=rng.choice((1024, 16 * 1024, 512 * 1024)),
    )
