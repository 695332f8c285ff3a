"""What may be tuned in a Paxos node; every value may be drawn from a test's seed."""

from __future__ import annotations

from typing import NamedTuple

from foreshock.targets.reference.node.knob_checks import (
    check_election_timeouts,
    check_heartbeat,
    check_integers,
)


class PaxosKnobs(NamedTuple):
    """Time-outs and limits of one replica. None of them can break safety, only speed and liveness; but
    ``window_slots`` must be the same on every node of a cluster and for ever, and a node makes sure of its own.
    """

    election_timeout_min_ms: int = 300
    """The least silence of a leader after which another node wants to lead, and how long it is loyal to the leader."""

    election_timeout_max_ms: int = 600
    """The greatest; each wait is drawn between the two. Also how long a leader leads without a quorum's word."""

    heartbeat_ms: int = 60
    """How often a leader speaks to every other node, and repeats what may have been lost."""

    canvass: bool = True
    """Ask whether a majority would promise before a ballot is begun, so that it disturbs nobody in vain."""

    window_slots: int = 512
    """How far a leader may run ahead of what is chosen, in slots, and after how many slots a change of the members
    counts: Lamport's alpha. The same on every node of a cluster, for as long as it lives."""

    batch_slots_max: int = 64
    """The most slots in one accept message, and in one answer to a learner."""

    batch_bytes_max: int = 256 * 1024
    """About the most bytes of values in one message; a single larger value still goes, alone."""

    inflight_accepts_max: int = 8
    """How many accept messages may be on their way to one acceptor before it answers."""

    promise_slots_max: int = 1024
    """The most slots that one promise reports; what is left is asked for."""

    pending_proposals_max: int = 4096
    """How many commands may wait at a leader before it refuses new ones."""

    pending_reads_max: int = 4096
    """How many reads may wait at a leader before it refuses new ones."""

    snapshot_after_entries: int = 1000
    """How many applied entries the driver lets pass before it takes a snapshot (the core leaves that to it)."""

    snapshot_keep_entries: int = 64
    """How many slots before a snapshot stay in memory, so that a learner a little behind needs no snapshot."""

    snapshot_chunk_bytes: int = 512 * 1024
    """A snapshot whose JSON text is longer than this travels in pieces of this length."""

    catch_up_rounds_max: int = 10
    """How many rounds a new member gets to learn what is chosen before it becomes one."""

    catch_up_timeout_ms: int = 10_000
    """How long a new member gets to catch up in all."""

    def checked(self) -> PaxosKnobs:
        """These knobs again; raises ``ValueError`` with a sentence when they cannot work together."""
        check_integers(self, from_zero=("snapshot_keep_entries", "canvass"))
        check_election_timeouts(self, "proposers duel for ever")
        check_heartbeat(self, "election_timeout_min_ms")
        return self
