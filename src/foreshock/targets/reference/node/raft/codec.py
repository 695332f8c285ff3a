"""Raft's messages as JSON and back; whatever comes from outside is checked in full before it becomes a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from foreshock.targets.reference.node.consensus import Entry
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

NUMBER_MAX: Final = 2**53 - 1
"""The greatest number in a message: what every JSON implementation carries exactly."""

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
    if type(value) is not list or not value or type(value[0]) is not str:
        raise ValueError("a message of Raft is a list that begins with its tag")
    decoder = _DECODERS.get(value[0])
    if decoder is None:
        raise ValueError(f"no message of Raft has the tag {value[0][:40]!r}")
    kind, readers = decoder
    if len(value) != len(readers) + 1:
        raise ValueError(f"a {value[0]} has {len(readers)} fields, not {len(value) - 1}")
    fields = [reader(field) for reader, field in zip(readers, value[1:], strict=True)]
    message: Message = kind(*fields)
    if type(message) is Append:
        _check_entries(message)
    elif type(message) is InstallSnapshot:
        _check_snapshot(message)
    return message


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise ValueError(f"{_shown(value)} is no integer from 0 to {NUMBER_MAX}")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{_shown(value)} is neither true nor false")
    return value


def _anything(value: Any) -> Any:
    return value


def _names(value: Any) -> tuple[str, ...]:
    if type(value) is not list or not value or not all(type(name) is str and name for name in value):
        raise ValueError(f"{_shown(value)} is no list of members' names")
    if len(set(value)) != len(value):
        raise ValueError(f"{_shown(value)} names a member twice")
    return tuple(sorted(value))


def _entries(value: Any) -> tuple[Entry, ...]:
    if type(value) is not list:
        raise ValueError(f"{_shown(value)} is no list of entries")
    return tuple([_entry(fields) for fields in value])


def _entry(value: Any) -> Entry:
    if type(value) is not list or len(value) != 4:
        raise ValueError(f"{_shown(value)} is no entry: position, term, kind, data")
    position, term, kind, data = value
    _number(position)
    _number(term)
    if kind == "configuration":
        _names(data)
    elif (kind == "command") == (data is None) or kind not in ("command", "noop"):
        raise ValueError(f"{_shown(kind)} with {_shown(data)} is no entry")
    return Entry(position, term, kind, data)


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
    if message.total and (type(message.data) is not str or not message.data):
        raise ValueError(f"the piece of a snapshot is {_shown(message.data)}, not its text")


def _shown(value: Any) -> str:
    return repr(value)[:60]


_DECODERS: Final[dict[str, tuple[Callable[..., Any], tuple[Callable[[Any], Any], ...]]]] = {
    "prevote": (PreVote, (_number, _number, _number)),
    "prevote_reply": (PreVoteReply, (_number, _number, _flag)),
    "vote": (Vote, (_number, _number, _number, _flag)),
    "vote_reply": (VoteReply, (_number, _flag)),
    "append": (Append, (_number, _number, _number, _entries, _number, _number)),
    "append_reply": (AppendReply, (_number, _flag, _number, _number, _number, _number)),
    "snapshot": (
        InstallSnapshot,
        (_number, _number, _number, _names, _number, _number, _anything, _number),
    ),
    "snapshot_reply": (SnapshotReply, (_number, _number, _number, _number)),
    "timeout_now": (TimeoutNow, (_number,)),
}
