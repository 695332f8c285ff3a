"""Paxos's messages as JSON and back; whatever comes from outside is checked in full before it becomes a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from foreshock.targets.reference.node.decoding import (
    NUMBER_MAX,
    Decoders,
    check_content,
    check_piece,
    read_anything,
    read_count,
    read_flag,
    read_members,
    read_number,
    read_tagged,
    shown,
)
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

NAME_LENGTH_MAX: Final = 255
"""The longest name of a node in a message."""


def encode(message: Message) -> list[Any]:
    """A message as a JSON value: its tag, then its fields. Nothing is copied but the outermost tuple."""
    return [_TAGS[type(message)], *message]


def decode(value: Any) -> Message:
    """A message from a JSON value; raises ``ValueError`` that says what is wrong with it."""
    message: Message = read_tagged(value, _DECODERS, "message of Paxos")
    check = _CHECKS.get(type(message))
    if check is not None:
        check(message)
    return message


def read_acceptance(value: Any) -> Acceptance:
    """An acceptance from its JSON, ``[slot, ballot, kind, data]``; raises ``ValueError``."""
    if type(value) not in (list, Acceptance) or len(value) != 4:
        raise ValueError(f"{shown(value)} is no acceptance: slot, ballot, kind, data")
    slot, ballot, kind, data = value
    check_content(kind, data, "value")
    return Acceptance(read_count(slot), read_ballot(ballot), kind, data)


def read_ballot(value: Any) -> Ballot:
    """A ballot from its JSON, ``[round, node]``; raises ``ValueError``."""
    if type(value) not in (list, Ballot) or len(value) != 2:
        raise ValueError(f"{shown(value)} is no ballot: round, node")
    number, node = value
    if type(node) is not str or len(node) > NAME_LENGTH_MAX:
        raise ValueError(f"{shown(node)} is no node's name")
    return Ballot(read_number(number), node)


def _ballot(value: Any) -> Ballot:
    ballot = read_ballot(value)
    if ballot.round < 1:
        raise ValueError(f"no ballot has the round {ballot.round}")
    return ballot


def _values(value: Any) -> tuple[Value, ...]:
    if type(value) is not list:
        raise ValueError(f"{shown(value)} is no list of values")
    return tuple([_value(item) for item in value])


def _value(value: Any) -> Value:
    if type(value) is not list or len(value) != 2:
        raise ValueError(f"{shown(value)} is no value: kind, data")
    kind, data = value
    check_content(kind, data, "value")
    return Value(kind, data)


def _acceptances(value: Any) -> tuple[Acceptance, ...]:
    if type(value) is not list:
        raise ValueError(f"{shown(value)} is no list of acceptances")
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
    check_piece(message.total, message.data)


_DECODERS: Final[Decoders] = {
    "canvass": (Canvass, (read_ballot, read_number)),
    "canvass_reply": (CanvassReply, (read_ballot, read_ballot, read_flag, read_number)),
    "prepare": (Prepare, (_ballot, read_count, read_flag)),
    "promise": (Promise, (_ballot, read_count, read_number, read_number, read_number, _acceptances)),
    "accept": (Accept, (_ballot, read_count, _values, read_number, read_number)),
    "accepted": (Accepted, (_ballot, read_number, read_number, read_number, read_number)),
    "nack": (Nack, (_ballot, _ballot)),
    "learn": (Learn, (read_count, read_number, read_number)),
    "chosen": (Chosen, (read_count, _acceptances, read_number)),
    "snapshot": (
        SnapshotPiece,
        (read_count, read_number, read_members, read_number, read_number, read_anything),
    ),
    "take_over": (TakeOver, (_ballot,)),
}
_TAGS: Final = {kind: tag for tag, (kind, _) in _DECODERS.items()}
_CHECKS: Final[dict[type[Any], Callable[[Any], None]]] = {
    Accept: _check_accept,
    Promise: _check_promise,
    Chosen: _check_chosen,
    SnapshotPiece: _check_piece,
}
