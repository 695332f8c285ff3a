"""Paxos's messages as JSON and back; whatever comes from outside is checked in full before it becomes a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from foreshock.targets.reference.node.paxos.messages import (
    Accept,
    Acceptance,
    Accepted,
    Canvass,
    CanvassReply,
    Chosen,
    Learn,
    Message,
    Nack,
    Prepare,
    Promise,
    SnapshotPiece,
    TakeOver,
    Value,
)
from foreshock.targets.reference.node.paxos.synod import Ballot

NUMBER_MAX: Final = 2**53 - 1
"""The greatest number in a message: what every JSON implementation carries exactly."""
NAME_LENGTH_MAX: Final = 255
"""The longest name of a node in a message."""


def encode(message: Message) -> list[Any]:
    """A message as a JSON value: its tag, then its fields. Nothing is copied but the outermost tuple."""
    return [_TAGS[type(message)], *message]


def decode(value: Any) -> Message:
    """A message from a JSON value; raises ``ValueError`` that says what is wrong with it."""
    if type(value) is not list or not value or type(value[0]) is not str:
        raise ValueError("a message of Paxos is a list that begins with its tag")
    decoder = _DECODERS.get(value[0])
    if decoder is None:
        raise ValueError(f"no message of Paxos has the tag {value[0][:40]!r}")
    kind, readers = decoder
    if len(value) != len(readers) + 1:
        raise ValueError(f"a {value[0]} has {len(readers)} fields, not {len(value) - 1}")
    fields = [reader(field) for reader, field in zip(readers, value[1:], strict=True)]
    message: Message = kind(*fields)
    check = _CHECKS.get(kind)
    if check is not None:
        check(message)
    return message


def read_acceptance(value: Any) -> Acceptance:
    """An acceptance from its JSON, ``[slot, ballot, kind, data]``; raises ``ValueError``."""
    if type(value) not in (list, Acceptance) or len(value) != 4:
        raise ValueError(f"{_shown(value)} is no acceptance: slot, ballot, kind, data")
    slot, ballot, kind, data = value
    _check_value(kind, data)
    return Acceptance(_slot(slot), read_ballot(ballot), kind, data)


def read_ballot(value: Any) -> Ballot:
    """A ballot from its JSON, ``[round, node]``; raises ``ValueError``."""
    if type(value) not in (list, Ballot) or len(value) != 2:
        raise ValueError(f"{_shown(value)} is no ballot: round, node")
    number, node = value
    if type(node) is not str or len(node) > NAME_LENGTH_MAX:
        raise ValueError(f"{_shown(node)} is no node's name")
    return Ballot(_number(number), node)


def _ballot(value: Any) -> Ballot:
    ballot = read_ballot(value)
    if ballot.round < 1:
        raise ValueError(f"no ballot has the round {ballot.round}")
    return ballot


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise ValueError(f"{_shown(value)} is no integer from 0 to {NUMBER_MAX}")
    return value


def _slot(value: Any) -> int:
    if _number(value) < 1:
        raise ValueError("slots count from 1")
    return int(value)


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


def _values(value: Any) -> tuple[Value, ...]:
    if type(value) is not list:
        raise ValueError(f"{_shown(value)} is no list of values")
    return tuple([_value(item) for item in value])


def _value(value: Any) -> Value:
    if type(value) is not list or len(value) != 2:
        raise ValueError(f"{_shown(value)} is no value: kind, data")
    kind, data = value
    _check_value(kind, data)
    return Value(kind, data)


def _check_value(kind: Any, data: Any) -> None:
    if kind == "configuration":
        _names(data)
    elif kind not in ("command", "noop") or (kind == "command") == (data is None):
        raise ValueError(f"{_shown(kind)} with {_shown(data)} is no value")


def _acceptances(value: Any) -> tuple[Acceptance, ...]:
    if type(value) is not list:
        raise ValueError(f"{_shown(value)} is no list of acceptances")
    return tuple([read_acceptance(item) for item in value])


def _check_accept(message: Accept) -> None:
    if message.first + len(message.values) > NUMBER_MAX:
        raise ValueError(f"{message.first} is no slot from which so many follow")


def _check_promise(message: Promise) -> None:
    """Acceptances go up, within the slots that the promise is about."""
    before = max(message.first - 1, message.base)
    if message.following and message.following <= before:
        raise ValueError(
            f"a promise from slot {message.first} on is not followed by slot {message.following}"
        )
    for acceptance in message.accepted:
        if acceptance.slot <= before:
            raise ValueError(f"slot {acceptance.slot} is reported after {before}")
        if acceptance.ballot > message.ballot:
            raise ValueError(f"an acceptance of {acceptance.ballot} in a promise of {message.ballot}")
        before = acceptance.slot
    if message.following and before >= message.following:
        raise ValueError(f"slot {before} is reported, but the next piece begins with {message.following}")


def _check_chosen(message: Chosen) -> None:
    for slot, acceptance in enumerate(message.accepted, start=message.first):
        if acceptance.slot != slot:
            raise ValueError(f"slot {acceptance.slot} stands where {slot} should")
    if message.chosen < message.first + len(message.accepted) - 1:
        raise ValueError(f"more values are there than up to slot {message.chosen}")


def _check_piece(message: SnapshotPiece) -> None:
    if message.total and (type(message.data) is not str or not message.data):
        raise ValueError(f"the piece of a snapshot is {_shown(message.data)}, not its text")


def _shown(value: Any) -> str:
    return repr(value)[:60]


_Readers = tuple[Callable[[Any], Any], ...]
_DECODERS: Final[dict[str, tuple[type[Any], _Readers]]] = {
    "canvass": (Canvass, (read_ballot, _number)),
    "canvass_reply": (CanvassReply, (read_ballot, read_ballot, _flag, _number)),
    "prepare": (Prepare, (_ballot, _slot, _flag)),
    "promise": (Promise, (_ballot, _slot, _number, _number, _number, _acceptances)),
    "accept": (Accept, (_ballot, _slot, _values, _number, _number)),
    "accepted": (Accepted, (_ballot, _number, _number, _number, _number)),
    "nack": (Nack, (_ballot, _ballot)),
    "learn": (Learn, (_slot, _number, _number)),
    "chosen": (Chosen, (_slot, _acceptances, _number)),
    "snapshot": (SnapshotPiece, (_slot, _number, _names, _number, _number, _anything)),
    "take_over": (TakeOver, (_ballot,)),
}
_TAGS: Final = {kind: tag for tag, (kind, _) in _DECODERS.items()}
_CHECKS: Final[dict[type[Any], Callable[[Any], None]]] = {
    Accept: _check_accept,
    Promise: _check_promise,
    Chosen: _check_chosen,
    SnapshotPiece: _check_piece,
}
