"""The wire: one JSON object a line, shaped like Maelstrom's messages, for clients and peers alike.

``{"src": "c1", "dest": "n1", "body": {"type": ..., "msg_id": ...}}``. The first line of a connection between nodes is
a ``hello`` that names the protocol's version and the cluster; all other lines on it carry one protocol message each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any, Final

from foreshock.targets.reference.node.codes import MALFORMED, Body, error

VERSION: Final = 2
"""The version of what nodes say to each other; it goes up when a node could misunderstand an older one."""
CLIENT_LINE_BYTES_MAX: Final = 1 << 20
"""The longest line a node takes from a client."""
PEER_LINE_BYTES_MAX: Final = 64 << 20
"""The longest line a node takes from a peer."""

Message = dict[str, Any]


class BadLine(Exception):
    """A line is no message; the text says why in a sentence."""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    """A number that is out of a float's range would leave this node as ``Infinity``, which no peer could read."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is out of range")
    return number


_decode = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite).decode
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def decode_line(line: bytes | bytearray) -> Message:
    """The message in a line; raises :class:`BadLine` on anything that is no JSON object."""
    try:
        message = _decode(line.decode())
    except (ValueError, RecursionError) as problem:
        raise BadLine(f"the line is no JSON: {str(problem)[:120]}") from None
    if not isinstance(message, dict):
        raise BadLine("the line is no JSON object")
    return message


def encode_line(message: Any) -> bytes:
    """The message as a line, with its newline."""
    return _encode(message).encode() + b"\n"


def reply_to(message: Message, source: str, body: Body) -> Message:
    """The envelope of a reply to a message, with ``in_reply_to`` as the message asks for."""
    asked = message.get("body")
    identifier = asked.get("msg_id") if isinstance(asked, dict) else None
    return {"src": source, "dest": message.get("src"), "body": {**body, "in_reply_to": identifier}}


def refusal(source: str, code: int, text: str) -> Message:
    """An error reply to nothing in particular; the connection is closed after it."""
    return {"src": source, "dest": None, "body": {**error(code, text), "in_reply_to": None}}


def malformed(source: str, text: str) -> Message:
    """The error reply to something that could not be read as a message."""
    return refusal(source, MALFORMED, text)


def hello(source: str, destination: str, cluster: str, program: str) -> Message:
    """The first line on a connection to a peer."""
    return {
        "src": source,
        "dest": destination,
        "body": {"type": "hello", "version": VERSION, "cluster": cluster, "program": program},
    }


def is_hello(message: Message) -> bool:
    """Whether the message begins a connection between nodes."""
    body = message.get("body")
    return isinstance(body, dict) and body.get("type") == "hello"


def turned_away(message: Message, own: Message, peers: Collection[str]) -> str | None:
    """Why a peer's ``hello`` is not accepted by a node that says ``own``, as a sentence; ``None`` when it is."""
    source, body = message.get("src"), message["body"]
    name, cluster, program = own["src"], own["body"]["cluster"], own["body"]["program"]
    if body.get("version") != VERSION:
        return (
            f"{name} turned away the peer {source!r}: it speaks version {body.get('version')!r} of the "
            f"nodes' protocol and {name} speaks {VERSION}; run the same node.pyz on both"
        )
    if body.get("cluster") != cluster:
        return (
            f"{name} turned away the peer {source!r}: it belongs to the cluster {body.get('cluster')!r} and "
            f"{name} to {cluster!r}; give both the same --cluster, or mend the --peer address"
        )
    if body.get("program") != program:
        return (
            f"{name} turned away the peer {source!r}: it runs {body.get('program')!r} and {name} runs {program!r}; "
            "give both the same --program"
        )
    if message.get("dest") != name:
        return (
            f"{name} turned away the peer {source!r}, which took it for {message.get('dest')!r}; mend the "
            "--peer address there"
        )
    if not isinstance(source, str) or source not in peers:
        return f"{name} turned away the peer {source!r}, which is not among its --peer nodes ({', '.join(peers)})"
    return None
