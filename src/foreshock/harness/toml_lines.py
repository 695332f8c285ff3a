"""Where in a TOML file each key and each value stands, for messages that name the line: ``tomllib`` does not say.

This reads text that ``tomllib`` has accepted, and so need not refuse anything: it follows tables, arrays of tables,
dotted and quoted keys, inline tables, arrays, and strings of all four kinds (TOML 1.0).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Final

Place = tuple[str | int, ...]
"""The way to a value: keys, and the numbers of elements, as in ``("include", 0, "target", 2)``."""

DOTTED_MAX: Final = 64
"""Of the parts of one key; each place below holds all above it, and thousands of them would take for ever."""
_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")


def lines_of(text: str) -> Mapping[Place, int]:
    """The line, counted from 1, of every table, key and element of a TOML document.

    A table that has no header of its own has the line of the first key in it. ``text`` must be valid TOML.
    """
    # Line breaks are one character to the reader below, and stay where they are.
    return _Reader(text.replace("\r\n", "\n")).read()


class _Reader:
    """Reads on from ``_at``; ``_lines`` is what it has found."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._lines: dict[Place, int] = {}
        self._elements: dict[Place, int] = {}
        """How many tables each array of tables has by now."""

    def read(self) -> dict[Place, int]:
        table: Place = ()
        while True:
            self._skip(_BLANK)
            if self._at >= len(self._text):
                return self._lines
            if self._text.startswith("[[", self._at):
                table = self._header("[[", "]]")
            elif self._text[self._at] == "[":
                table = self._header("[", "]")
            else:
                self._pair(table)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:  # what tomllib took and this does not: step on, so that it ends
            self._at += 1
            return ""
        self._at = found.end()
        return found[0]

    def _here(self) -> int:
        """The line of the place that is being read."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _header(self, opening: str, closing: str) -> Place:
        line = self._here()
        self._at += len(opening)
        keys = self._keys()
        self._at += len(closing)
        place: Place = ()
        for number, key in enumerate(keys):
            place = (*place, key)
            last = number == len(keys) - 1
            self._lines.setdefault(place, line)
            if last and opening == "[[":
                self._elements[place] = self._elements.get(place, -1) + 1
            elif last:
                self._lines[place] = line
            if place in self._elements:  # within an array of tables the newest of them is meant
                place = (*place, self._elements[place])
                self._lines.setdefault(place, line)
        return place

    def _keys(self) -> list[str]:
        """A key with its dots; where there are very many, what stands deeper has the line of the first of them."""
        keys = []
        while True:
            self._skip(_SPACE)
            if self._text[self._at] in "\"'":
                keys.append(_unquoted(self._skip(_STRING)))
            else:
                keys.append(self._skip(_BARE_KEY))
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return keys[:DOTTED_MAX]
            self._at += 1

    def _pair(self, table: Place) -> None:
        line = self._here()
        place = table
        for key in self._keys():
            place = (*place, key)
            self._lines.setdefault(place, line)
        self._lines[place] = line
        self._at += 1  # the sign =
        self._skip(_SPACE)
        self._value(place)

    def _value(self, place: Place) -> None:
        sign = self._text[self._at : self._at + 1]
        if sign in ("'", '"') and sign:
            self._skip(_STRING)
        elif sign == "[":
            self._array(place)
        elif sign == "{":
            self._inline_table(place)
        else:
            self._skip(_SCALAR)

    def _array(self, place: Place) -> None:
        self._at += 1
        number = 0
        while self._more("]"):
            self._lines[*place, number] = self._here()
            self._value((*place, number))
            number += 1

    def _inline_table(self, place: Place) -> None:
        self._at += 1
        while self._more("}"):
            self._pair(place)

    def _more(self, closing: str) -> bool:
        """Go on to the next element; false, and beyond the end, where there is none."""
        while True:
            self._skip(_BLANK)
            sign = self._text[self._at : self._at + 1]
            if sign == ",":
                self._at += 1
                continue
            if sign in (closing, ""):
                self._at += 1
                return False
            return True


def _unquoted(key: str) -> str:
    (found,) = tomllib.loads(f"{key} = 0")
    return found
