"""What Paxos's nodes say to each other.

The phases are those of Lamport, "Paxos Made Simple", 2001: section 2.2 for one value, and section 3 for a log of them,
where one message of phase 1 stands for infinitely many instances.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from foreshock.targets.reference.node.paxos.synod import Ballot


class Value(NamedTuple):
    """What a slot can hold. ``kind`` is ``command``, ``noop`` or ``configuration``, as an ``Entry``'s."""

    kind: str
    data: Any


class Acceptance(NamedTuple):
    """What an acceptor has accepted in a slot, last and so with the greatest ballot: its durable record too."""

    slot: int
    ballot: Ballot
    kind: str
    data: Any


class Canvass(NamedTuple):
    """Would you promise me a ballot after ``ballot``? Changes nothing at either end.

    All up to the slot ``chosen`` is known here to be chosen.
    """

    ballot: Ballot
    chosen: int


class CanvassReply(NamedTuple):
    """The answer to a :class:`Canvass` about ``asked``; ``ballot`` is the greatest promised here."""

    ballot: Ballot
    asked: Ballot
    granted: bool
    chosen: int


class Prepare(NamedTuple):
    """Phase 1 (a) for all slots from ``first`` on.

    ``transfer`` says that the leader itself wants the sender to lead, so that nobody need be loyal to that leader.
    """

    ballot: Ballot
    first: int
    transfer: bool


class Promise(NamedTuple):
    """Phase 1 (b) for the slots from ``first`` up to ``following``, or for all of them when that is 0.

    Durable. What was accepted there is in ``accepted``, by slot; all up to ``chosen`` is known to be chosen, with just
    these values. Nothing is reported up to ``base``, which a snapshot has taken over: all of that is chosen.
    """

    ballot: Ballot
    first: int
    following: int
    base: int
    chosen: int
    accepted: tuple[Acceptance, ...]


class Accept(NamedTuple):
    """Phase 2 (a) for the slots from ``first`` on, or for none: a heartbeat.

    All up to ``chosen`` is chosen. ``round`` numbers the leader's rounds of confirmation; acceptors echo the latest.
    """

    ballot: Ballot
    first: int
    values: tuple[Value, ...]
    chosen: int
    round: int


class Accepted(NamedTuple):
    """Phase 2 (b), durable, for the slots ``first`` to ``last`` (none when ``last`` is less).

    All up to ``chosen`` is known here to be chosen. If that includes all slots before a configuration counts, then this
    is known durably.
    """

    ballot: Ballot
    first: int
    last: int
    chosen: int
    round: int


class Nack(NamedTuple):
    """``rejected`` came too late: ``ballot`` is promised. It is for speed alone (the end of section 2.2)."""

    ballot: Ballot
    rejected: Ballot


class Learn(NamedTuple):
    """What is chosen from the slot ``first`` on?

    Of the snapshot at ``position`` there are ``offset`` characters here already.
    """

    first: int
    position: int
    offset: int


class Chosen(NamedTuple):
    """What is chosen in the slots from ``first`` on; all up to ``chosen`` can be asked for."""

    first: int
    accepted: tuple[Acceptance, ...]
    chosen: int


class SnapshotPiece(NamedTuple):
    """A snapshot, or a piece of one: the answer to a :class:`Learn` about slots that are in the log no more.

    ``position``, ``term`` and ``members`` are those of the snapshot. With ``total`` 0, ``data`` is the state machine's
    data itself; else it is the piece from ``offset`` of its JSON text of ``total`` characters.
    """

    position: int
    term: int
    members: tuple[str, ...]
    offset: int
    total: int
    data: Any


class TakeOver(NamedTuple):
    """Begin a ballot at once: you are to lead after ``ballot``."""

    ballot: Ballot


Message = (
    Canvass
    | CanvassReply
    | Prepare
    | Promise
    | Accept
    | Accepted
    | Nack
    | Learn
    | Chosen
    | SnapshotPiece
    | TakeOver
)
