"""What the client of a lock server may say: every message is checked here, once."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from foreshock.targets.reference.node.codes import MALFORMED, NOT_SUPPORTED, Body
from foreshock.targets.reference.node.requests import INTEGER_MAX, KEY_LENGTH_MAX, WAIT_MS_MAX, BadRequest

KINDS: Final = ("acquire", "holder", "pong", "release", "renew", "status")


class LockRequest(NamedTuple):
    """A message of a client; ``wait_ms`` belongs to ``acquire``, ``token`` to ``renew`` and ``release``."""

    kind: str
    key: int | str = ""
    wait_ms: int = 0
    token: int | None = None


def parse_lock_request(message: Any, name: str) -> LockRequest:
    """The request in a client's message to the node of this name; raises :class:`BadRequest`."""
    body = message.get("body") if isinstance(message, dict) else None
    if not isinstance(body, dict):
        text = 'a message must be an object with a body, such as {"body": {"type": "status"}}'
        raise BadRequest(MALFORMED, text)
    if message.get("dest", name) != name:
        raise BadRequest(MALFORMED, f"this is the node {name}, not the one in dest")
    kind = body.get("type")
    if kind not in KINDS:
        code = NOT_SUPPORTED if isinstance(kind, str) else MALFORMED
        raise BadRequest(code, f"there is no request of type {kind!r:.60}; there are {', '.join(KINDS)}")
    if kind in ("pong", "status"):
        return LockRequest(kind)
    return LockRequest(kind, _key(body), _wait_ms(body), _token(body))


def _key(body: Body) -> int | str:
    key = body.get("key")
    if type(key) is int and -INTEGER_MAX <= key <= INTEGER_MAX:
        return key
    if type(key) is str and len(key) <= KEY_LENGTH_MAX:
        return key
    text = (
        f"key is {key!r:.60}; it must be a 64-bit integer or a string of at most {KEY_LENGTH_MAX} characters"
    )
    raise BadRequest(MALFORMED, text)


def _wait_ms(body: Body) -> int:
    wait_ms = body.get("wait_ms", 0)
    if type(wait_ms) is int and 0 <= wait_ms <= WAIT_MS_MAX:
        return wait_ms
    raise BadRequest(MALFORMED, f"wait_ms is {wait_ms!r:.60}; it must be an integer from 0 to {WAIT_MS_MAX}")


def _token(body: Body) -> int | None:
    token = body.get("token")
    if token is None or (type(token) is int and 1 <= token <= INTEGER_MAX):
        return token
    raise BadRequest(MALFORMED, f"token is {token!r:.60}; it must be an integer from 1 to {INTEGER_MAX}")
