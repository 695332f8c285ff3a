"""The options of the ``raft`` target, and the knobs that a simulated test draws from its seed."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.consensus_options import (
    ConsensusOptions,
    draw_batch_bytes,
    draw_election_times,
    draw_snapshots,
)
from foreshock.targets.reference.node.raft import RaftKnobs
from foreshock.targets.reference.options import knob

_knob = partial(knob, RaftKnobs)


class RaftOptions(ConsensusOptions, frozen=True):
    """Options of the ``raft`` target. A knob that is left out has the node's default, or the seed's draw."""

    election_timeout_min_ms: Annotated[
        int | None,
        _knob("election_timeout_min_ms", "Least silence of a leader before a follower campaigns (ms)."),
    ] = None
    election_timeout_max_ms: Annotated[
        int | None, _knob("election_timeout_max_ms", "Greatest silence before a follower campaigns (ms).")
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
    inflight_appends_max: Annotated[
        int | None, _knob("inflight_appends_max", "Append messages on their way to one follower at once.")
    ] = None
    uncommitted_entries_max: Annotated[
        int | None, _knob("uncommitted_entries_max", "Entries of a leader that may wait for commitment.")
    ] = None
    catch_up_rounds_max: Annotated[
        int | None, _knob("catch_up_rounds_max", "Rounds of replication that a new member gets to catch up.")
    ] = None


def draw_raft_knobs(rng: RandomStream) -> RaftKnobs:
    """Knobs that walk rare paths often: tiny batches, a snapshot every few entries, elections that tie."""
    return RaftKnobs(
        **draw_election_times(rng),
        prevote=not rng.chance(1, 8),
        batch_entries_max=rng.choice((1, 4, 16, 64, 64)),
        batch_bytes_max=draw_batch_bytes(rng),
        inflight_appends_max=rng.choice((1, 2, 8, 8)),
        **draw_snapshots(rng),
    )
