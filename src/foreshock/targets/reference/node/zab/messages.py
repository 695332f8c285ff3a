"""What Zab's nodes say to each other.

*Phases* are those of Junqueira, Reed & Serafini, "Zab: High-performance broadcast for primary-backup systems", DSN
2011; the paper's algorithms 1 to 3 name the messages (CEPOCH, NEWEPOCH, ACK-E, NEWLEADER, ...), ZooKeeper names DIFF,
TRUNC, SNAP and UPTODATE. A zxid, which orders everything, is the pair of an entry's epoch (its ``term``) and its
position in the log: positions count on across the epochs, and within one epoch they are the paper's counter.

Peers may lose, repeat and reorder messages; Zab wants FIFO channels. So what belongs to the phases travels as the
*payload* of a :class:`Frame` on a channel (see ``channel.py``); notifications of the election need no order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from foreshock.targets.reference.node.consensus import Entry

# --- election -------------------------------------------------------------------------------------------------


class Notification(NamedTuple):
    """How the sender stands in the election of ``round``, and for whom it votes.

    ``state`` is ``looking``, ``following`` or ``leading``. ``epoch``, ``last_term`` and ``last_position`` are the
    sender's own (current epoch, last zxid); ``weight`` is 1, or 2 for one that its leader wants for a successor, or 0
    for one whose removal is in its history and not known to be committed. ``leader`` is
    its choice. ``established`` is the epoch that it leads, 0 for everybody but an established leader.
    """

    round: int
    state: str
    epoch: int
    last_term: int
    last_position: int
    weight: int
    leader: str
    established: int


# --- channels -------------------------------------------------------------------------------------------------


class Frame(NamedTuple):
    """The payload with this number on the channel; everything up to ``acknowledged`` has arrived the other way."""

    session: int
    sequence: int
    acknowledged: int
    payload: Payload


class Beat(NamedTuple):
    """A sign of life: so much was sent, so much has arrived; ``round`` numbers the leader's rounds of confirmation.

    Those of a later epoch are greater: a channel may be opened anew by a late copy of its CEPOCH.
    """

    session: int
    sent: int
    acknowledged: int
    round: int


class Resend(NamedTuple):
    """Send these frames again."""

    session: int
    first: int
    last: int


class Close(NamedTuple):
    """The sender knows no such channel, or wants it no more."""

    session: int


# --- discovery ------------------------------------------------------------------------------------------------


class Cepoch(NamedTuple):
    """Follower: I want to follow you; I have accepted no epoch later than this (CEPOCH, algorithm 1)."""

    accepted: int


class NewEpoch(NamedTuple):
    """Leader: promise to follow nobody of an earlier epoch than this (NEWEPOCH, algorithm 1)."""

    epoch: int


class AckEpoch(NamedTuple):
    """Follower: promised, and durable; here my history ends (ACK-E, algorithm 1).

    ``promised`` is false when the epoch was accepted before, maybe from another leader: such an answer lets the
    follower be synchronized, but does not count in the quorum that makes a leader of the epoch.
    """

    epoch: int
    current: int
    last_term: int
    last_position: int
    promised: bool


# --- synchronization ------------------------------------------------------------------------------------------


class Trunc(NamedTuple):
    """Leader: everything after this position in your log is not in my history: forget it."""

    epoch: int
    position: int


class Diff(NamedTuple):
    """Leader: the entries of my history after ``previous_position``, or the next of them."""

    epoch: int
    previous_position: int
    previous_term: int
    entries: tuple[Entry, ...]


class Snap(NamedTuple):
    """Leader: a snapshot in place of entries that I have no more, or a piece of it.

    ``position``, ``term`` and ``members`` are those of the snapshot. With ``total`` 0, ``data`` is the state machine's
    data itself; else it is the piece from ``offset`` of its JSON text of ``total`` characters.
    """

    epoch: int
    position: int
    term: int
    members: tuple[str, ...]
    offset: int
    total: int
    data: Any


class NewLeader(NamedTuple):
    """Leader: my history ends at ``position``, and now yours does: make my epoch your own (NEWLEADER, algorithm 2)."""

    epoch: int
    position: int


class AckLeader(NamedTuple):
    """Follower: done, and all of it is durable (ACK of NEWLEADER)."""

    epoch: int


class UpToDate(NamedTuple):
    """Leader: a quorum follows; everything up to ``commit`` is committed (COMMIT of algorithm 2, UPTODATE)."""

    epoch: int
    commit: int


# --- broadcast ------------------------------------------------------------------------------------------------


class Proposal(NamedTuple):
    """Leader: the next entries; everything up to ``commit`` is committed (PROPOSE, algorithm 3)."""

    epoch: int
    entries: tuple[Entry, ...]
    commit: int


class Ack(NamedTuple):
    """Follower: everything up to ``position`` is durable here (ACK, algorithm 3)."""

    epoch: int
    position: int


class Commit(NamedTuple):
    """Leader: everything up to ``position`` is committed (COMMIT, algorithm 3)."""

    epoch: int
    position: int


class Sync(NamedTuple):
    """Follower: tell me, for the read of this number, what you have committed."""

    epoch: int
    read: int


class SyncReply(NamedTuple):
    """Leader: by the answer to this read, everything up to ``position`` was committed."""

    epoch: int
    read: int
    position: int


class TakeOver(NamedTuple):
    """Leader: you have all that I have; look for a leader, and be it."""

    epoch: int


Payload = (
    Cepoch
    | NewEpoch
    | AckEpoch
    | Trunc
    | Diff
    | Snap
    | NewLeader
    | AckLeader
    | UpToDate
    | Proposal
    | Ack
    | Commit
    | Sync
    | SyncReply
    | TakeOver
)

Message = Notification | Frame | Beat | Resend | Close
