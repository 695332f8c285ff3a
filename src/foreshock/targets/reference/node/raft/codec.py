"""Raft's messages as JSON and back; whatever comes from outside is checked in full before it becomes a message."""

from __future__ import annotations

from typing import Any, Final

from foreshock.targets.reference.node.decoding import (
    Decoders,
    check_piece,
    read_anything,
    read_entries,
    read_flag,
    read_members,
    read_number,
    read_tagged,
)
from foreshock.targets.reference.node.raft.messages import (
    Append,
    AppendReply,
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteReply,
    SnapshotReply,
    TimeoutNow,
    Vote,
    VoteReply,
)

_TAGS: Final[dict[type[Any], str]] = {
    PreVote: "prevote",
    PreVoteReply: "prevote_reply",
    Vote: "vote",
    VoteReply: "vote_reply",
    Append: "append",
    AppendReply: "append_reply",
    InstallSnapshot: "snapshot",
    SnapshotReply: "snapshot_reply",
    TimeoutNow: "timeout_now",
}


def encode(message: Message) -> list[Any]:
    """A message as a JSON value: its tag, then its fields. Nothing is copied but the outermost tuple."""
    return [_TAGS[type(message)], *message]


def decode(value: Any) -> Message:
    """A message from a JSON value; raises ``ValueError`` that says what is wrong with it."""
    message: Message = read_tagged(value, _DECODERS, "message of Raft")
    if type(message) is Append:
        _check_entries(message)
    elif type(message) is InstallSnapshot:
        _check_snapshot(message)
    return message


def _check_entries(message: Append) -> None:
    """Positions go on from the previous one without a gap; terms never fall and never pass the sender's."""
    position, term = message.previous_position, message.previous_term
    if (position == 0) != (term == 0):
        raise ValueError(f"no entry is at position {position} with term {term}")
    for entry in message.entries:
        position += 1
        if entry.position != position:
            raise ValueError(f"the entry at position {entry.position} stands where {position} should")
        if entry.term < max(term, 1):
            raise ValueError(f"the term of position {position} is {entry.term}, after {term}")
        term = entry.term
    if term > message.term:
        raise ValueError(f"an entry of term {term} in a message of term {message.term}")


def _check_snapshot(message: InstallSnapshot) -> None:
    if not 1 <= message.snapshot_term <= message.term or message.position < 1:
        raise ValueError(f"no snapshot ends at position {message.position} with term {message.snapshot_term}")
    check_piece(message.total, message.data)


_DECODERS: Final[Decoders] = {
    "prevote": (PreVote, (read_number, read_number, read_number)),
    "prevote_reply": (PreVoteReply, (read_number, read_number, read_flag)),
    "vote": (Vote, (read_number, read_number, read_number, read_flag)),
    "vote_reply": (VoteReply, (read_number, read_flag)),
    "append": (Append, (read_number, read_number, read_number, read_entries, read_number, read_number)),
    "append_reply": (
        AppendReply,
        (read_number, read_flag, read_number, read_number, read_number, read_number),
    ),
    "snapshot": (
        InstallSnapshot,
        (
            read_number,
            read_number,
            read_number,
            read_members,
            read_number,
            read_number,
            read_anything,
            read_number,
        ),
    ),
    "snapshot_reply": (SnapshotReply, (read_number, read_number, read_number, read_number)),
    "timeout_now": (TimeoutNow, (read_number,)),
}
