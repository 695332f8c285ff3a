"""What clients may ask of the nodes of a cache: each request is checked here, once, before it is acted upon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from foreshock.targets.reference.node.cache.messages import Key
from foreshock.targets.reference.node.codes import MALFORMED, NOT_SUPPORTED, Body
from foreshock.targets.reference.node.requests import DEPTH_MAX, INTEGER_MAX, KEY_LENGTH_MAX, BadRequest


class ReadRow(NamedTuple):
    """Asks the origin for a row; ``version`` is that of a copy at hand, ``None`` when there is none.

    ``lease_for`` names a store that wants to keep what is read, and has no way of being asked for it again.
    """

    key: Key
    version: int | None
    lease_for: str | None


class WriteRow(NamedTuple):
    """Asks the origin, or a node that passes it on, for a change; ``value`` is ``None`` for a delete."""

    key: Key
    value: Any


class Get(NamedTuple):
    """Reads through the cache what the key held after ``need`` changes or later."""

    key: Key
    need: int


class Lookup(NamedTuple):
    """Asks a node for its copy alone, and for leave to fill it in when there is none."""

    key: Key


class Ticket(NamedTuple):
    """Leave to fill a key: which life of the node gave it, under which number, and when by that node's clock."""

    boot: int
    number: int
    issued_ns: int


class Fill(NamedTuple):
    """Gives a node its copy, as it was read from the origin after the ticket had been issued."""

    key: Key
    ticket: Ticket
    version: int
    as_of: int
    value: Any


class Invalidate(NamedTuple):
    """Has a node drop its copy."""

    key: Key


class Status(NamedTuple):
    """How the node stands."""


Request = ReadRow | WriteRow | Get | Lookup | Fill | Invalidate | Status


def parse_request(body: Body) -> Request:
    """The request in the body of a client's message; raises :class:`BadRequest`."""
    kind = body.get("type")
    parser = _PARSERS.get(kind) if isinstance(kind, str) else None
    if parser is None:
        raise BadRequest(
            NOT_SUPPORTED if isinstance(kind, str) else MALFORMED,
            f"there is no request of type {str(kind)[:60]!r}; there are {', '.join(sorted(_PARSERS))}",
        )
    return parser(body)


def _bad(field: str, value: Any, wanted: str) -> BadRequest:
    return BadRequest(MALFORMED, f"{field} is {str(value)[:60]!r}; it must be {wanted}")


def _count(field: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= INTEGER_MAX:
        raise _bad(field, value, f"an integer from 0 to {INTEGER_MAX}")
    return value


def _key(body: Body) -> Key:
    key = body.get("key")
    if type(key) is int and abs(key) <= INTEGER_MAX:
        return key
    if type(key) is str and len(key) <= KEY_LENGTH_MAX:
        return key
    raise _bad("key", key, f"a 64-bit integer or a string of at most {KEY_LENGTH_MAX} characters")


def _value(body: Body) -> Any:
    value = body.get("value")
    layer = [value]
    for _ in range(DEPTH_MAX + 1):
        inner: list[Any] = []
        for part in layer:
            if isinstance(part, dict | list):
                inner.extend(part.values() if isinstance(part, dict) else part)
        layer = inner
        if not layer:
            return value
    raise BadRequest(MALFORMED, f"value is nested more than {DEPTH_MAX} deep")


def _read(body: Body) -> Request:
    version = body.get("version")
    lease_for = body.get("lease_for")
    if lease_for is not None and (type(lease_for) is not str or not 0 < len(lease_for) <= 255):
        raise _bad("lease_for", lease_for, "the name of a store")
    return ReadRow(_key(body), None if version is None else _count("version", version), lease_for)


def _put(body: Body) -> Request:
    value = _value(body)
    if value is None:
        raise _bad("value", value, "any JSON value but null, which is what an absent key reads as")
    return WriteRow(_key(body), value)


def _delete(body: Body) -> Request:
    return WriteRow(_key(body), None)


def _get(body: Body) -> Request:
    return Get(_key(body), _count("need", body.get("need", 0)))


def _lookup(body: Body) -> Request:
    return Lookup(_key(body))


def _fill(body: Body) -> Request:
    ticket = body.get("ticket")
    if not isinstance(ticket, list) or len(ticket) != len(Ticket._fields):
        raise _bad("ticket", ticket, "the ticket that the lookup was answered with")
    parts = [_count("each number of a ticket", part) for part in ticket]
    version, as_of = _count("version", body.get("version")), _count("as_of", body.get("as_of"))
    return Fill(_key(body), Ticket(*parts), version, as_of, _value(body))


def _invalidate(body: Body) -> Request:
    return Invalidate(_key(body))


def _status(body: Body) -> Request:  # noqa: ARG001
    return Status()


_PARSERS: Final[dict[str, Callable[[Body], Request]]] = {
    "read": _read,
    "put": _put,
    "delete": _delete,
    "get": _get,
    "lookup": _lookup,
    "fill": _fill,
    "invalidate": _invalidate,
    "status": _status,
}
