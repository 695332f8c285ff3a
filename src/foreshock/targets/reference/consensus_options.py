"""The options of the knobs that all three protocols have, and the draws that they share."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.node.raft import RaftKnobs
from foreshock.targets.reference.options import ReferenceOptions, knob

_knob = partial(knob, RaftKnobs)
"""Their defaults are the same in all three; a test holds that."""


class ConsensusOptions(ReferenceOptions, frozen=True):
    """Options of every target that runs a protocol on the reference node. What is left out is the node's default, or
    the seed's draw.
    """

    heartbeat_ms: Annotated[
        int | None, _knob("heartbeat_ms", "How often a leader speaks to every other node (ms).")
    ] = None
    batch_bytes_max: Annotated[
        int | None, _knob("batch_bytes_max", "About the most bytes of entries in one message.")
    ] = None
    pending_reads_max: Annotated[
        int | None, _knob("pending_reads_max", "Reads that may wait at one node.")
    ] = None
    snapshot_after_entries: Annotated[
        int | None, _knob("snapshot_after_entries", "Applied entries between two snapshots.")
    ] = None
    snapshot_keep_entries: Annotated[
        int | None,
        _knob("snapshot_keep_entries", "Entries before a snapshot that are kept for nodes a little behind."),
    ] = None
    snapshot_chunk_bytes: Annotated[
        int | None,
        _knob("snapshot_chunk_bytes", "A longer snapshot travels in pieces of this length (bytes)."),
    ] = None
    catch_up_timeout_ms: Annotated[
        int | None, _knob("catch_up_timeout_ms", "How long a new member gets to catch up (ms).")
    ] = None


def draw_election_times(rng: RandomStream) -> dict[str, Any]:
    """When followers campaign, and how often a leader speaks: close waits make elections tie."""
    election_min_ms = rng.between(150, 500)
    return {
        "election_timeout_min_ms": election_min_ms,
        "election_timeout_max_ms": election_min_ms + rng.between(100, 500),
        "heartbeat_ms": max(20, election_min_ms // rng.between(3, 6)),
    }


def draw_batch_bytes(rng: RandomStream) -> int:
    """How much one message carries at most: often a single entry."""
    return rng.choice((256, 4096, 256 * 1024, 256 * 1024))


def draw_snapshots(rng: RandomStream) -> dict[str, Any]:
    """When snapshots are taken, what is kept beside them, and in which pieces they travel."""
    return {
        "snapshot_after_entries": rng.choice((16, 64, 256, 1000, 4000)),
        "snapshot_keep_entries": rng.choice((0, 1, 8, 64)),
        "snapshot_chunk_bytes": rng.choice((1024, 16 * 1024, 512 * 1024)),
    }
