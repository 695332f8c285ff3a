"""Zab's messages as JSON and back; whatever comes from outside is checked in full before it becomes a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from foreshock.targets.reference.node.consensus import Entry
from foreshock.targets.reference.node.zab import messages
from foreshock.targets.reference.node.zab.messages import Diff, Frame, Message, Payload, Proposal, Snap

NUMBER_MAX: Final = 2**53 - 1
"""The greatest number in a message: what every JSON implementation carries exactly."""

STATES: Final = ("looking", "following", "leading")


def encode(message: Message) -> list[Any]:
    """A message as a JSON value: its tag, then its fields. Nothing is copied but the outermost tuples."""
    if type(message) is Frame:
        session, sequence, acknowledged, payload = message
        return ["frame", session, sequence, acknowledged, [_TAGS[type(payload)], *payload]]
    return [_TAGS[type(message)], *message]


def decode(value: Any) -> Message:
    """A message from a JSON value; raises ``ValueError`` that says what is wrong with it."""
    return _decode(value, _MESSAGES, "message")  # type: ignore[no-any-return]


def _payload(value: Any) -> Payload:
    payload = _decode(value, _PAYLOADS, "payload")
    kind = type(payload)
    if kind is Proposal:
        _check_proposal(payload)
    elif kind is Diff:
        _check_diff(payload)
    elif kind is Snap:
        _check_snapshot(payload)
    return payload  # type: ignore[no-any-return]


def _decode(value: Any, decoders: _Decoders, what: str) -> Any:
    if type(value) is not list or not value or type(value[0]) is not str:
        raise ValueError(f"a {what} of Zab is a list that begins with its tag")
    decoder = decoders.get(value[0])
    if decoder is None:
        raise ValueError(f"no {what} of Zab has the tag {value[0][:40]!r}")
    kind, readers = decoder
    if len(value) != len(readers) + 1:
        raise ValueError(f"a {value[0]} has {len(readers)} fields, not {len(value) - 1}")
    return kind(*[reader(field) for reader, field in zip(readers, value[1:], strict=True)])


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise ValueError(f"{_shown(value)} is no integer from 0 to {NUMBER_MAX}")
    return value


def _count(value: Any) -> int:
    if not _number(value):
        raise ValueError("0 is no number that counts from 1")
    return int(value)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{_shown(value)} is neither true nor false")
    return value


def _anything(value: Any) -> Any:
    return value


def _name(value: Any) -> str:
    if type(value) is not str or not value:
        raise ValueError(f"{_shown(value)} is no node's name")
    return value


def _state(value: Any) -> str:
    if type(value) is not str or value not in STATES:
        raise ValueError(f"{_shown(value)} is none of {', '.join(STATES)}")
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
        raise ValueError(f"{_shown(value)} is no entry: position, epoch, kind, data")
    position, term, kind, data = value
    _count(position)
    _count(term)
    if kind == "configuration":
        _names(data)
    elif (kind == "command") == (data is None) or kind not in ("command", "noop"):
        raise ValueError(f"{_shown(kind)} with {_shown(data)} is no entry")
    return Entry(position, term, kind, data)


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
    if message.total and (type(message.data) is not str or not message.data):
        raise ValueError(f"the piece of a snapshot is {_shown(message.data)}, not its text")


def _shown(value: Any) -> str:
    return repr(value)[:60]


_Decoders = dict[str, tuple[Callable[..., Any], tuple[Callable[[Any], Any], ...]]]

_PAYLOADS: Final[_Decoders] = {
    "cepoch": (messages.Cepoch, (_number,)),
    "new_epoch": (messages.NewEpoch, (_count,)),
    "ack_epoch": (messages.AckEpoch, (_count, _number, _number, _number, _flag)),
    "trunc": (messages.Trunc, (_count, _number)),
    "diff": (messages.Diff, (_count, _number, _number, _entries)),
    "snap": (messages.Snap, (_count, _count, _count, _names, _number, _number, _anything)),
    "new_leader": (messages.NewLeader, (_count, _number)),
    "ack_leader": (messages.AckLeader, (_count,)),
    "up_to_date": (messages.UpToDate, (_count, _number)),
    "propose": (messages.Proposal, (_count, _entries, _number)),
    "ack": (messages.Ack, (_count, _number)),
    "commit": (messages.Commit, (_count, _number)),
    "sync": (messages.Sync, (_count, _number)),
    "sync_reply": (messages.SyncReply, (_count, _number, _number)),
    "take_over": (messages.TakeOver, (_count,)),
}

_MESSAGES: Final[_Decoders] = {
    "notification": (
        messages.Notification,
        (_number, _state, _number, _number, _number, _number, _name, _number),
    ),
    "frame": (messages.Frame, (_number, _count, _number, _payload)),
    "beat": (messages.Beat, (_number, _number, _number, _number)),
    "resend": (messages.Resend, (_number, _count, _number)),
    "close": (messages.Close, (_number,)),
}

_TAGS: Final[dict[Any, str]] = {
    kind: tag for table in (_MESSAGES, _PAYLOADS) for tag, (kind, _) in table.items()
}
