"""How the values of a history are kept in memory: one 64-bit integer each, and a side table for the rest.

A million operations have three million keys, values and results, nearly all of them small integers or ``None``.
Those are their own *payload*. Everything else is JSON text in a side table, and its payload says where. So what
is read back is always exactly what the file on disk holds: tuples are lists and structs are objects either way.
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from foreshock.harness.errors import PlugInError

INTEGER_LIMIT: Final = 1 << 61
"""Integers strictly between minus this and this are their own payload."""
NONE_PAYLOAD: Final = -(1 << 62)
"""The payload of ``None``; entry ``i`` of the side table has the payload ``NONE_PAYLOAD - 1 - i``."""
RECENT_TEXTS_MAX: Final = 1 << 14
"""How many texts are remembered so that one that comes again is stored once."""
DEPTH_MAX: Final = 100
"""How deep lists and objects may nest in a value."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class ValueTable:
    """The side table: JSON texts by number. Grows only; histories that share it keep their payloads."""

    __slots__ = ("_keys", "_recent", "texts")

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self._recent: dict[bytes, int] = {}
        self._keys: dict[bytes, int] = {}

    def payload(self, value: object) -> int:
        """The payload of a value that is neither a small integer nor ``None``, or is.

        Raises :class:`PlugInError` with a sentence when JSON cannot hold the value exactly.
        """
        if value is None:
            return NONE_PAYLOAD
        if type(value) is int and -INTEGER_LIMIT < value < INTEGER_LIMIT:
            return value
        return self.payload_of_text(json_text(value))

    def payload_of_text(self, text: bytes) -> int:
        """The payload of a value that is JSON text already; the text is neither a small integer nor ``null``."""
        recent = self._recent
        payload = recent.get(text)
        if payload is None:
            payload = NONE_PAYLOAD - 1 - len(self.texts)
            self.texts.append(text)
            if len(recent) >= RECENT_TEXTS_MAX:
                recent.clear()
            recent[text] = payload
        return payload

    def key_payload(self, key: object) -> int:
        """The payload of a key; equal keys have equal payloads, so that histories can be split by them."""
        if key is None:
            return NONE_PAYLOAD
        if type(key) is int and -INTEGER_LIMIT < key < INTEGER_LIMIT:
            return key
        text = json_text(key)
        payload = self._keys.get(text)
        if payload is None:
            payload = self._keys[text] = NONE_PAYLOAD - 1 - len(self.texts)
            self.texts.append(text)
        return payload

    def value(self, payload: int) -> Any:
        """The value of a payload; lists and objects are made anew each time, so nobody can change the history."""
        if payload > NONE_PAYLOAD:
            return payload
        if payload == NONE_PAYLOAD:
            return None
        return _decode(self.texts[NONE_PAYLOAD - 1 - payload])

    def values(self, payloads: list[int]) -> list[Any]:
        """The values of many payloads; all that is JSON text is decoded in one go."""
        texts = [self.texts[NONE_PAYLOAD - 1 - payload] for payload in payloads if payload < NONE_PAYLOAD]
        if not texts:
            return [None if payload == NONE_PAYLOAD else payload for payload in payloads]
        decoded = iter(_decode(b"[" + b",".join(texts) + b"]"))
        return [
            payload if payload > NONE_PAYLOAD else None if payload == NONE_PAYLOAD else next(decoded)
            for payload in payloads
        ]

    def text(self, payload: int) -> bytes:
        """The value of a payload as JSON text."""
        if payload > NONE_PAYLOAD:
            return b"%d" % payload
        if payload == NONE_PAYLOAD:
            return b"null"
        return self.texts[NONE_PAYLOAD - 1 - payload]


def json_text(value: object) -> bytes:
    """A value as JSON text that reads back as the same value (tuples as lists, structs as objects).

    Raises :class:`PlugInError` for what JSON would lose or change without a word: bytes, sets, NaN, keys that
    are not strings, half a surrogate pair.
    """
    try:
        return _encode(_plain(value, DEPTH_MAX))
    except UnicodeEncodeError:
        raise PlugInError(
            f"the text {value!r:.200} is not valid Unicode, so the history cannot hold it"
        ) from None
    except PlugInError:
        raise
    except Exception as error:
        # Its own code raised: a list, an object or a number with methods of its own, or a ``repr`` that fails.
        raise PlugInError(
            f"the history cannot hold a value of type {type(value).__name__}: looking at it raised "
            f"{type(error).__name__}"
        ) from error


def _plain(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if depth == 0:
        raise PlugInError(f"a value nests more than {DEPTH_MAX} deep, so the history cannot hold it")
    if isinstance(value, list | tuple):
        return [_plain(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {_plain_key(key, value): _plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, msgspec.Struct):
        # Through the encoder for its own rules (omitted defaults, renamed fields); its parts are looked at below.
        return _plain(
            msgspec.to_builtins(value, enc_hook=_refuse, builtin_types=(bytes, bytearray)), depth - 1
        )
    return _plain_scalar(value)


def _plain_key(key: object, owner: object) -> str:
    if type(key) is not str:
        raise PlugInError(
            f"the object {owner!r:.200} has the key {key!r}, which is no string, "
            "so the history, which is JSON, cannot hold it"
        )
    return key


def _plain_scalar(value: object) -> Any:
    """Floats, and subclasses such as enums and numpy's numbers where they are numbers or strings of Python."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise PlugInError(
                f"the number {value!r} is not finite, so the history, which is JSON, cannot hold it"
            )
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    return _refuse(value)


def _refuse(value: object) -> Any:
    raise PlugInError(
        f"the history, which is JSON, cannot hold {value!r:.200} of type {type(value).__name__}: "
        "return numbers, strings, lists, objects or None"
    )
