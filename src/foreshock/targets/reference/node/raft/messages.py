"""What Raft's nodes say to each other.

The figures and sections are those of Ongaro & Ousterhout, "In Search of an Understandable Consensus Algorithm
(Extended Version)", 2014, and of Ongaro's dissertation, "Consensus: Bridging Theory and Practice", 2014. Every
message carries the sender's current term.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from foreshock.targets.reference.node.consensus import Entry


class PreVote(NamedTuple):
    """Would you vote for me in the term after ``term``? Changes nothing at either end (dissertation 9.6)."""

    term: int
    last_position: int
    last_term: int


class PreVoteReply(NamedTuple):
    """The answer to a :class:`PreVote` that would begin the term ``proposed``."""

    term: int
    proposed: int
    granted: bool


class Vote(NamedTuple):
    """Vote for me in ``term`` (RequestVote, figure 2).

    ``transfer`` says that the leader itself asked for this election, so that nobody need stick to that leader
    (dissertation 3.10 and 4.2.3).
    """

    term: int
    last_position: int
    last_term: int
    transfer: bool


class VoteReply(NamedTuple):
    """The answer to a :class:`Vote`; a granted one is durable."""

    term: int
    granted: bool


class Append(NamedTuple):
    """Entries after ``previous_position``, or none of them: a heartbeat (AppendEntries, figure 2).

    ``round`` numbers the leader's rounds of confirmation (dissertation 6.4); followers echo the latest.
    """

    term: int
    previous_position: int
    previous_term: int
    entries: tuple[Entry, ...]
    commit: int
    round: int


class AppendReply(NamedTuple):
    """The answer to an :class:`Append` or to a whole snapshot.

    Accepted: the follower's log equals the leader's, and is durable, up to ``position``. Not accepted: the
    append after ``rejected`` did not fit; ``position`` is where the follower's entries of ``conflict_term``
    begin, or, when ``conflict_term`` is 0, the first position that it lacks (the fast back-up of section 5.3).
    """

    term: int
    accepted: bool
    position: int
    conflict_term: int
    rejected: int
    round: int


class InstallSnapshot(NamedTuple):
    """A snapshot, or a piece of one (section 7).

    ``position``, ``snapshot_term`` and ``members`` are those of the snapshot. With ``total`` 0, ``data`` is the
    state machine's data itself; else it is the piece from ``offset`` of its JSON text of ``total`` characters.
    """

    term: int
    position: int
    snapshot_term: int
    members: tuple[str, ...]
    offset: int
    total: int
    data: Any
    round: int


class SnapshotReply(NamedTuple):
    """So far the follower has ``offset`` characters of the snapshot at ``position``."""

    term: int
    position: int
    offset: int
    round: int


class TimeoutNow(NamedTuple):
    """Campaign at once: you are to lead (dissertation 3.10)."""

    term: int


Message = (
    PreVote
    | PreVoteReply
    | Vote
    | VoteReply
    | Append
    | AppendReply
    | InstallSnapshot
    | SnapshotReply
    | TimeoutNow
)
