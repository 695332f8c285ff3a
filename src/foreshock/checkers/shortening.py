"""Long values cut for people: the beginning, the end, and how long it was."""

from __future__ import annotations

from typing import Any, Final

import msgspec

TEXT_CHARACTERS_MAX: Final = 100
"""The length from which words about an operation or a state are cut."""
VALUE_CHARACTERS_MAX: Final = 1_000
"""The length (as JSON) from which a value is cut where a whole row is shown or stored."""
_DIFFERENCE_BEFORE: Final = 12
_DIFFERENCE_AFTER: Final = 24
_TAIL_MAX: Final = 60


def shortened(text: str, characters_max: int = TEXT_CHARACTERS_MAX) -> str:
    """A text of bounded length; what is left out is counted in its middle."""
    if len(text) <= characters_max:
        return text
    mark = f"…({len(text):,} characters)…"
    kept = max(characters_max - len(mark), 8)
    end = kept // 3
    return text[: kept - end] + mark + text[len(text) - end :]


def shortened_value(value: Any, characters_max: int = VALUE_CHARACTERS_MAX) -> Any:
    """A value of a history as it is, or cut as a text where it is too long to be shown."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return shortened(value, characters_max)
    text = msgspec.json.encode(value, enc_hook=str).decode()
    return value if len(text) <= characters_max else shortened(text, characters_max)


def difference(found: str, wanted: str) -> str:
    """Where two long texts part, in words; empty where both can be read whole, or are equal."""
    if max(len(found), len(wanted)) <= TEXT_CHARACTERS_MAX // 2 or found == wanted:
        return ""
    at = next(
        (place for place, (one, other) in enumerate(zip(found, wanted, strict=False)) if one != other),
        min(len(found), len(wanted)),
    )
    if at == len(wanted):
        return (
            f"which goes on, {len(found) - at:,} characters longer, with {shortened(found[at:], _TAIL_MAX)!r}"
        )
    return f"they part after {at:,} characters: {_around(found, at)} and not {_around(wanted, at)}"


def _around(text: str, at: int) -> str:
    start, end = max(at - _DIFFERENCE_BEFORE, 0), at + _DIFFERENCE_AFTER
    before, after = "…" if start else "", "…" if end < len(text) else ", where it ends"
    return f"{before}{text[start:end]!r}{after}"
