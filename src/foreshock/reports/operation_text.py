"""Operations in words, as drawings, tables and the log path show them."""

from __future__ import annotations

from typing import Any

import msgspec

VALUE_CHARACTERS_MAX = 80


def clip(content: str, characters_max: int) -> str:
    """Shorten a text, and show by an ellipsis that it was."""
    return content if len(content) <= characters_max else content[: characters_max - 1] + "…"


def value_text(value: Any, characters_max: int = VALUE_CHARACTERS_MAX) -> str:
    """A value of a history as short JSON; absence is written out, since it is a value."""
    if value is None:
        return "nothing"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return clip(msgspec.json.encode(value, enc_hook=str).decode(), characters_max)


def operation_text(f: str, value: Any, result: Any, outcome: str, *, characters_max: int = 48) -> str:
    """What was asked and what came back: ``write 3``, ``read → 2``, ``cas 1, 2``."""
    asked = ""
    if isinstance(value, list | tuple):
        asked = " " + ", ".join(value_text(part, 24) for part in value)
    elif value is not None:
        asked = " " + value_text(value, characters_max)
    # What came back matters where it was asked for, or where it says more than that it happened.
    tells = outcome == "ok" and (result is not None or value is None) and result is not True
    return clip(f + asked + (f" → {value_text(result, characters_max)}" if tells else ""), characters_max)
