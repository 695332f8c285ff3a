"""What may be tuned in a Raft node; every value may be drawn from a test's seed."""

from __future__ import annotations

from typing import Final, NamedTuple

from foreshock.targets.reference.node.knob_checks import (
    check_choice,
    check_election_timeouts,
    check_heartbeat,
    check_integers,
)

READS: Final = ("read-index", "lease")
"""What the knob ``reads`` may be."""


class RaftKnobs(NamedTuple):
    """Time-outs and limits of one replica. None of them can break safety, only speed and liveness, with one exception:
    reads by lease trust the clocks' rates. ``election_timeout_min_ms``, ``reads`` and ``clock_drift_percent`` must
    then be the same on every node.
    """

    election_timeout_min_ms: int = 300
    """The least silence of a leader after which a follower campaigns, and how long it sticks to the leader."""

    election_timeout_max_ms: int = 600
    """The greatest; each wait is drawn between the two. Also how long a leader leads without a quorum's word."""

    heartbeat_ms: int = 60
    """How often a leader speaks to every follower."""

    prevote: bool = True
    """Ask for permission before a term is begun (dissertation 9.6)."""

    reads: str = "read-index"
    """How a leader makes sure that it still leads before it answers a read: ``read-index`` asks a majority
    (dissertation 6.4), ``lease`` counts on those that answered lately (6.4.1), and on the rates of their clocks."""

    clock_drift_percent: int = 20
    """By how much, at most, one node's clock runs faster than another's: a lease is shorter by that."""

    batch_entries_max: int = 64
    """The most entries in one append message."""

    batch_bytes_max: int = 256 * 1024
    """About the most bytes of entries in one append message; a single larger entry still goes, alone."""

    inflight_appends_max: int = 8
    """How many append messages may be on their way to one follower before it answers."""

    uncommitted_entries_max: int = 4096
    """How many entries of a leader may wait for their commitment before it refuses new ones."""

    pending_reads_max: int = 4096
    """How many reads may wait at a leader before it refuses new ones."""

    snapshot_after_entries: int = 1000
    """How many applied entries the driver lets pass before it takes a snapshot (the core leaves that to it)."""

    snapshot_keep_entries: int = 64
    """How many entries before a snapshot stay in memory, so that a follower a little behind needs no snapshot."""

    snapshot_chunk_bytes: int = 512 * 1024
    """A snapshot whose JSON text is longer than this travels in pieces of this length."""

    catch_up_rounds_max: int = 10
    """How many rounds of replication a new member gets to catch up (dissertation 4.2.1)."""

    catch_up_timeout_ms: int = 10_000
    """How long a new member gets to catch up in all."""

    def checked(self) -> RaftKnobs:
        """These knobs again; raises ``ValueError`` with a sentence when they cannot work together."""
        check_choice("reads", self.reads, READS)
        from_zero = ("snapshot_keep_entries", "prevote", "clock_drift_percent")
        check_integers(self, from_zero=from_zero, besides=("reads",))
        check_election_timeouts(self, "elections never stop to tie")
        check_heartbeat(self, "election_timeout_min_ms")
        return self
