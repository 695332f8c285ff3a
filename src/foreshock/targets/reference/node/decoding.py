"""Readers of what peers send: each takes a JSON value and gives what it stands for, or raises ``ValueError``.

The protocols' codecs are tables of these, with readers of their own for what only their papers know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from foreshock.targets.reference.node.consensus import Entry

NUMBER_MAX: Final = 2**53 - 1
"""The greatest number in a message: what every JSON implementation carries exactly."""

Reader = Callable[[Any], Any]
"""From a JSON value to what it stands for; raises ``ValueError`` that says what is wrong with it."""
Decoders = dict[str, tuple[Callable[..., Any], tuple[Reader, ...]]]
"""By tag: what makes a message of its fields, and the readers of these, in their order."""


def read_tagged(value: Any, decoders: Decoders, what: str) -> Any:
    """A message from the list of its tag and its fields; ``what`` is what a person calls such a message."""
    if type(value) is not list or not value or type(value[0]) is not str:
        raise ValueError(f"a {what} is a list that begins with its tag")
    decoder = decoders.get(value[0])
    if decoder is None:
        raise ValueError(f"no {what} has the tag {value[0][:40]!r}")
    kind, readers = decoder
    if len(value) != len(readers) + 1:
        raise ValueError(f"a {value[0]} has {len(readers)} fields, not {len(value) - 1}")
    return kind(*[reader(field) for reader, field in zip(readers, value[1:], strict=True)])


def read_number(value: Any) -> int:
    """A whole number from 0 to ``NUMBER_MAX``."""
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise ValueError(f"{shown(value)} is no integer from 0 to {NUMBER_MAX}")
    return value


def read_count(value: Any) -> int:
    """A number of something that counts from 1."""
    if type(value) is not int or not 1 <= value <= NUMBER_MAX:
        read_number(value)
        raise ValueError("0 is no number that counts from 1")
    return value


def read_flag(value: Any) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise ValueError(f"{shown(value)} is neither true nor false")
    return value


def read_anything(value: Any) -> Any:
    """Whatever it is, as it is."""
    return value


def read_members(value: Any) -> tuple[str, ...]:
    """A configuration: the members' names, at least one and none twice, in their order."""
    if type(value) is not list or not value or not all(type(name) is str and name for name in value):
        raise ValueError(f"{shown(value)} is no list of members' names")
    if len(set(value)) != len(value):
        raise ValueError(f"{shown(value)} names a member twice")
    return tuple(sorted(value))


def read_entries(value: Any) -> tuple[Entry, ...]:
    """Entries of the log, each ``[position, term, kind, data]``; whether one may follow the other is not checked."""
    if type(value) is not list:
        raise ValueError(f"{shown(value)} is no list of entries")
    return tuple([_read_entry(fields) for fields in value])


def _read_entry(value: Any) -> Entry:
    if type(value) is not list or len(value) != 4:
        raise ValueError(f"{shown(value)} is no entry: position, term, kind, data")
    position, term, kind, data = value
    read_count(position)
    read_count(term)
    check_content(kind, data, "entry")
    return Entry(position, term, kind, data)


def check_content(kind: Any, data: Any, what: str) -> None:
    """Raise ``ValueError`` unless data of this kind may stand in the log (see ``consensus.Entry``), as a ``what``."""
    if kind == "configuration":
        read_members(data)
    elif (kind == "command") == (data is None) or kind not in ("command", "noop"):
        raise ValueError(f"{shown(kind)} with {shown(data)} is no {what}")


def check_piece(total: int, data: Any) -> None:
    """Raise ``ValueError`` if a snapshot travels in pieces (``total`` is not 0) and this is none of its text."""
    if total and (type(data) is not str or not data):
        raise ValueError(f"the piece of a snapshot is {shown(data)}, not its text")


def shown(value: Any) -> str:
    """The beginning of a value, for a message to a person."""
    return repr(value)[:60]
