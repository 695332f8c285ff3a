"""What clients may ask of a node: every request is checked here, once, before anything is done about it.

After this, whatever reaches the log is well formed, of bounded depth and of bounded size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from foreshock.targets.reference.node.codes import MALFORMED, NOT_SUPPORTED, Body
from foreshock.targets.reference.node.consensus import Command
from foreshock.targets.reference.node.services.lock import MODES, PERMIT, PERMITS_MAX

KEY_LENGTH_MAX: Final = 1024
DEPTH_MAX: Final = 32
INTEGER_MAX: Final = (1 << 63) - 1
SESSION_TTL_MS_MIN: Final = 100
SESSION_TTL_MS_MAX: Final = 3_600_000
WAIT_MS_MAX: Final = 3_600_000


class BadRequest(Exception):
    """The request cannot be carried out by any node; ``code`` and the text go into the error reply."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Replicate(NamedTuple):
    """A request that goes through the log. ``wait_ms`` is how long its client will stand in line for a lock ``key``."""

    command: Command
    session: int | None = None
    key: int | str | None = None
    wait_ms: int = 0


class OpenSession(NamedTuple):
    """A new session with a time to live; the node adds its limit on sessions."""

    ttl_ms: int


class Query(NamedTuple):
    """A linearizable read: ``read`` a register, ``get`` of a cache that holds ``version``, or ``holder`` of a lock."""

    kind: str
    key: int | str
    version: int | None = None


class ChangeMembers(NamedTuple):
    """Add or remove one member of the cluster."""

    add: str | None
    remove: str | None


class Transfer(NamedTuple):
    """Hand leadership to ``target``, or to the most advanced follower."""

    target: str | None


class Status(NamedTuple):
    """How the node stands; answered at once by any node."""


Request = Replicate | OpenSession | Query | ChangeMembers | Transfer | Status


def parse_request(body: Body) -> Request:
    """The request in the body of a client's message; raises :class:`BadRequest`."""
    kind = body.get("type")
    parser = _PARSERS.get(kind) if isinstance(kind, str) else None
    if parser is None:
        raise BadRequest(
            NOT_SUPPORTED if isinstance(kind, str) else MALFORMED,
            f"there is no request of type {_shown(kind)}; there are {', '.join(sorted(_PARSERS))}",
        )
    return parser(body)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _bad(field: str, value: Any, wanted: str) -> BadRequest:
    return BadRequest(MALFORMED, f"{field} is {_shown(value)}; it must be {wanted}")


def _integer(body: Body, field: str, low: int, high: int, default: int | None = None) -> int:
    value = body.get(field, default)
    if type(value) is not int or not low <= value <= high:
        raise _bad(field, value, f"an integer from {low} to {high}")
    return value


def _key(body: Body) -> int | str:
    key = body.get("key")
    if type(key) is int and -INTEGER_MAX <= key <= INTEGER_MAX:
        return key
    if type(key) is str and len(key) <= KEY_LENGTH_MAX:
        return key
    raise _bad("key", key, f"a 64-bit integer or a string of at most {KEY_LENGTH_MAX} characters")


def _value(body: Body, field: str, *, null: bool = False) -> Any:
    value = body.get(field)
    if value is None and not null:
        raise _bad(field, value, "any JSON value but null")
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEPTH_MAX + 1):
        if not level:
            return value
        inner = (part for whole in level for part in (whole.values() if isinstance(whole, dict) else whole))
        level = [part for part in inner if isinstance(part, dict | list)]
    raise BadRequest(MALFORMED, f"{field} is nested more than {DEPTH_MAX} deep")


def _node(body: Body, field: str) -> str:
    name = body.get(field)
    if type(name) is not str or not name or len(name) > 255:
        raise _bad(field, name, "the name of a node")
    return name


def _in_session(body: Body, operation: list[Any], *, needed: bool = False, wait_ms: int = 0) -> Replicate:
    session: int | None = None
    sequence: int | None = None
    if needed or "client" in body or "seq" in body:
        session = _integer(body, "client", 1, INTEGER_MAX)
        sequence = _integer(body, "seq", 1, INTEGER_MAX)
    return Replicate(["do", session, sequence, operation], session, operation[1], wait_ms)


def _write(body: Body) -> Request:
    return _in_session(body, ["write", _key(body), _value(body, "value")])


def _cas(body: Body) -> Request:
    old, new = _value(body, "from", null=True), _value(body, "to")
    return _in_session(body, ["cas", _key(body), old, new])


def _put(body: Body) -> Request:
    return _in_session(body, ["put", _key(body), _value(body, "value")])


def _delete(body: Body) -> Request:
    return _in_session(body, ["delete", _key(body)])


def _acquire(body: Body) -> Request:
    wait_ms = _integer(body, "wait_ms", 0, WAIT_MS_MAX, default=0)
    operation = ["acquire", _key(body), wait_ms > 0]
    if "mode" in body or "permits" in body:
        mode = body.get("mode")
        if not isinstance(mode, str) or mode not in MODES:
            raise _bad("mode", mode, f"one of {', '.join(MODES)}")
        operation += [mode, _integer(body, "permits", 1, PERMITS_MAX if mode == PERMIT else 1, default=1)]
    return _in_session(body, operation, needed=True, wait_ms=wait_ms)


def _await(body: Body) -> Request:
    wait_ms = _integer(body, "wait_ms", 0, WAIT_MS_MAX, default=0)
    return _in_session(body, ["await", _key(body)], needed=True, wait_ms=wait_ms)


def _withdraw(body: Body) -> Request:
    return _in_session(body, ["withdraw", _key(body)], needed=True)


def _token(body: Body) -> int | None:
    return None if body.get("token") is None else _integer(body, "token", 1, INTEGER_MAX)


def _renew(body: Body) -> Request:
    return _in_session(body, ["renew", _key(body), _token(body)], needed=True)


def _release(body: Body) -> Request:
    return _in_session(body, ["release", _key(body), _token(body)], needed=True)


def _open(body: Body) -> Request:
    return OpenSession(_integer(body, "ttl_ms", SESSION_TTL_MS_MIN, SESSION_TTL_MS_MAX, default=60_000))


def _close(body: Body) -> Request:
    return Replicate(["close", _integer(body, "client", 1, INTEGER_MAX)])


def _read(body: Body) -> Request:
    return Query("read", _key(body))


def _get(body: Body) -> Request:
    version = None if body.get("version") is None else _integer(body, "version", 0, INTEGER_MAX)
    return Query("get", _key(body), version)


def _holder(body: Body) -> Request:
    return Query("holder", _key(body))


def _add_member(body: Body) -> Request:
    return ChangeMembers(add=_node(body, "node"), remove=None)


def _remove_member(body: Body) -> Request:
    return ChangeMembers(add=None, remove=_node(body, "node"))


def _transfer(body: Body) -> Request:
    return Transfer(None if body.get("node") is None else _node(body, "node"))


def _status(body: Body) -> Request:  # noqa: ARG001
    return Status()


_PARSERS: Final[dict[str, Callable[[Body], Request]]] = {
    "open": _open,
    "close": _close,
    "read": _read,
    "write": _write,
    "cas": _cas,
    "get": _get,
    "put": _put,
    "delete": _delete,
    "acquire": _acquire,
    "await": _await,
    "withdraw": _withdraw,
    "renew": _renew,
    "release": _release,
    "holder": _holder,
    "status": _status,
    "add_member": _add_member,
    "remove_member": _remove_member,
    "transfer_leadership": _transfer,
}
