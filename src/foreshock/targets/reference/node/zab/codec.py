"""Zab's messages as JSON and back; whatever comes from outside is checked in full before it becomes a message."""

from __future__ import annotations

from typing import Any, Final

from foreshock.targets.reference.node.consensus import Entry
from foreshock.targets.reference.node.decoding import (
    Decoders,
    check_piece,
    read_anything,
    read_count,
    read_entries,
    read_flag,
    read_members,
    read_number,
    read_tagged,
    shown,
)
from foreshock.targets.reference.node.zab import messages
from foreshock.targets.reference.node.zab.messages import Diff, Frame, Message, Payload, Proposal, Snap

STATES: Final = ("looking", "following", "leading")


def encode(message: Message) -> list[Any]:
    """A message as a JSON value: its tag, then its fields. Nothing is copied but the outermost tuples."""
    if type(message) is Frame:
        session, sequence, acknowledged, payload = message
        return ["frame", session, sequence, acknowledged, [_TAGS[type(payload)], *payload]]
    return [_TAGS[type(message)], *message]


def decode(value: Any) -> Message:
    """A message from a JSON value; raises ``ValueError`` that says what is wrong with it."""
    return read_tagged(value, _MESSAGES, "message of Zab")  # type: ignore[no-any-return]


def _payload(value: Any) -> Payload:
    payload = read_tagged(value, _PAYLOADS, "payload of Zab")
    kind = type(payload)
    if kind is Proposal:
        _check_proposal(payload)
    elif kind is Diff:
        _check_diff(payload)
    elif kind is Snap:
        _check_snapshot(payload)
    return payload  # type: ignore[no-any-return]


def _name(value: Any) -> str:
    if type(value) is not str or not value:
        raise ValueError(f"{shown(value)} is no node's name")
    return value


def _state(value: Any) -> str:
    if type(value) is not str or value not in STATES:
        raise ValueError(f"{shown(value)} is none of {', '.join(STATES)}")
    return value


def _check_proposal(message: Proposal) -> None:
    """A leader proposes in its own epoch only (section 4: a primary broadcasts values of its epoch)."""
    if not message.entries:
        raise ValueError("a proposal has at least one entry")
    _check_order(message.entries[0].position - 1, message.epoch, message.entries)
    if message.entries[-1].term != message.epoch:
        raise ValueError(f"an entry of epoch {message.entries[-1].term} is proposed in {message.epoch}")


def _check_diff(message: Diff) -> None:
    if (message.previous_position == 0) != (message.previous_term == 0):
        raise ValueError(f"no entry is at {message.previous_position} with epoch {message.previous_term}")
    _check_order(message.previous_position, message.previous_term, message.entries)
    last = message.entries[-1].term if message.entries else message.previous_term
    if last > message.epoch:
        raise ValueError(f"an entry of epoch {last} comes from a leader of {message.epoch}")


def _check_order(position: int, term: int, entries: tuple[Entry, ...]) -> None:
    """Positions go on without a gap, and epochs never fall."""
    for entry in entries:
        position += 1
        if entry.position != position:
            raise ValueError(f"the entry at position {entry.position} stands where {position} should")
        if entry.term < term:
            raise ValueError(f"the epoch of position {position} is {entry.term}, after {term}")
        term = entry.term


def _check_snapshot(message: Snap) -> None:
    if not 1 <= message.term <= message.epoch:
        raise ValueError(f"no snapshot ends with epoch {message.term} for a leader of {message.epoch}")
    check_piece(message.total, message.data)


_PAYLOADS: Final[Decoders] = {
    "cepoch": (messages.Cepoch, (read_number,)),
    "new_epoch": (messages.NewEpoch, (read_count,)),
    "ack_epoch": (messages.AckEpoch, (read_count, read_number, read_number, read_number, read_flag)),
    "trunc": (messages.Trunc, (read_count, read_number)),
    "diff": (messages.Diff, (read_count, read_number, read_number, read_entries)),
    "snap": (
        messages.Snap,
        (read_count, read_count, read_count, read_members, read_number, read_number, read_anything),
    ),
    "new_leader": (messages.NewLeader, (read_count, read_number)),
    "ack_leader": (messages.AckLeader, (read_count,)),
    "up_to_date": (messages.UpToDate, (read_count, read_number)),
    "propose": (messages.Proposal, (read_count, read_entries, read_number)),
    "ack": (messages.Ack, (read_count, read_number)),
    "commit": (messages.Commit, (read_count, read_number)),
    "sync": (messages.Sync, (read_count, read_number)),
    "sync_reply": (messages.SyncReply, (read_count, read_number, read_number)),
    "take_over": (messages.TakeOver, (read_count,)),
}

_MESSAGES: Final[Decoders] = {
    "notification": (
        messages.Notification,
        (read_number, _state, read_number, read_number, read_number, read_number, _name, read_number),
    ),
    "frame": (messages.Frame, (read_number, read_count, read_number, _payload)),
    "beat": (messages.Beat, (read_number, read_number, read_number, read_number)),
    "resend": (messages.Resend, (read_number, read_count, read_number)),
    "close": (messages.Close, (read_number,)),
}

_TAGS: Final[dict[Any, str]] = {
    kind: tag for table in (_MESSAGES, _PAYLOADS) for tag, (kind, _) in table.items()
}
