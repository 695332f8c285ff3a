"""The options of the ``paxos`` target, and the knobs that a simulated test draws from its seed."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.consensus_options import (
    ConsensusOptions,
    draw_batch_bytes,
    draw_election_times,
    draw_snapshots,
)
from foreshock.targets.reference.node.paxos import PaxosKnobs
from foreshock.targets.reference.options import knob

_knob = partial(knob, PaxosKnobs)


class PaxosOptions(ConsensusOptions, frozen=True):
    """Options of the ``paxos`` target. A knob that is left out has the node's default, or the seed's draw."""

    election_timeout_min_ms: Annotated[
        int | None,
        _knob("election_timeout_min_ms", "Least silence of a leader before another node wants to lead (ms)."),
    ] = None
    election_timeout_max_ms: Annotated[
        int | None,
        _knob("election_timeout_max_ms", "Greatest silence before another node wants to lead (ms)."),
    ] = None
    canvass: Annotated[bool | None, _knob("canvass", "Whether a node asks before it begins a ballot.")] = None
    window_slots: Annotated[
        int | None,
        _knob(
            "window_slots",
            "How far a leader runs ahead of what is chosen, and a change of members counts later (slots).",
        ),
    ] = None
    batch_slots_max: Annotated[int | None, _knob("batch_slots_max", "Most slots in one accept message.")] = (
        None
    )
    inflight_accepts_max: Annotated[
        int | None, _knob("inflight_accepts_max", "Accept messages on their way to one acceptor at once.")
    ] = None
    promise_slots_max: Annotated[
        int | None, _knob("promise_slots_max", "Most slots that one promise reports.")
    ] = None
    pending_proposals_max: Annotated[
        int | None, _knob("pending_proposals_max", "Commands that may wait at a leader.")
    ] = None
    catch_up_rounds_max: Annotated[
        int | None, _knob("catch_up_rounds_max", "Rounds of learning that a new member gets to catch up.")
    ] = None


def draw_paxos_knobs(rng: RandomStream) -> PaxosKnobs:
    """Knobs that walk rare paths often: tiny batches and windows, a snapshot every few entries, duels."""
    return PaxosKnobs(
        **draw_election_times(rng),
        canvass=not rng.chance(1, 8),
        window_slots=rng.choice((4, 16, 64, 512, 512)),
        batch_slots_max=rng.choice((1, 4, 16, 64, 64)),
        batch_bytes_max=draw_batch_bytes(rng),
        inflight_accepts_max=rng.choice((1, 2, 8, 8)),
        promise_slots_max=rng.choice((8, 64, 1024, 1024)),
        **draw_snapshots(rng),
    )
