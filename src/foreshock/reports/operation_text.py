"""Operations in words, as drawings, tables and the log path show them."""

from __future__ import annotations

import re
from typing import Any

import msgspec

VALUE_CHARACTERS_MAX = 80
TEXT_CHARACTERS_MAX = 20_000
"""No text on a page is longer, whatever a history, a reason or a name holds."""
_DECEIVING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
"""Control characters, marks that change the direction of text, what has no width, and half surrogates."""


def clip(content: str, characters_max: int) -> str:
    """Shorten a text, and show by an ellipsis that it was."""
    return content if len(content) <= characters_max else content[: characters_max - 1] + "…"


def presentable(content: str) -> str:
    """A text as a page may show it: what would hide or turn around its neighbours is written out, and it has an end."""
    if len(content) > TEXT_CHARACTERS_MAX:
        left_out = len(content) - TEXT_CHARACTERS_MAX
        content = f"{content[:TEXT_CHARACTERS_MAX]}… ({left_out} more characters)"
    return spelled_out(content)


def spelled_out(content: str) -> str:
    """A text in which nothing hides or turns around its neighbours."""
    return _DECEIVING.sub(lambda found: f"\\u{ord(found.group()):04x}", content)


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
