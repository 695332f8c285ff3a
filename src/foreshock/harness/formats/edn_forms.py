"""Forms of EDN (https://github.com/edn-format/edn), with what Clojure's printer adds, as values that JSON can hold.

==========================  =========================================================================================
keywords, symbols           strings, without the colon
lists, vectors              lists
sets                        lists in a fixed order: numbers and strings by size, anything else by its JSON text
maps                        objects; a name that is no keyword, symbol or string becomes the JSON text of what it is
integers, with ``N`` too    integers
floats, with ``M`` too      floats; a decimal that no float holds exactly is a string
ratios                      integers where they are, else strings in lowest terms
characters, instants        strings
``##NaN``, ``##Inf``        strings
tagged elements, records    what is tagged, but ``#jepsen.independent/tuple [key value]`` is a :class:`KeyedValue`
==========================  =========================================================================================
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple

from foreshock.harness.errors import PlugInError
from foreshock.harness.history_values import DEPTH_MAX, json_text

DIGITS_MAX: Final = 4300
"""The most characters that a number may have, which is as much as Python and our own files take."""
HEXADECIMAL_DIGITS_MAX: Final = 3500

_TOKEN: Final = re.compile(
    r"""
      (?P<open>   [\[({] | \#\{ )
    | (?P<close>  [\])}] )
    | " (?P<string> [^"\\]*+ (?: \\. [^"\\]*+ )*+ ) "
    | (?P<discard> \#_ )
    | \#\# (?P<special> (?:NaN|Inf|-Inf) (?![\w-]) )
    | \# (?P<tag> :{0,2} [A-Za-z] [\w.*+!?$%&=<>/|-]*+ )
    | \\ (?P<char> (?: newline | return | space | tab | formfeed | backspace | u[0-9a-fA-F]{4} | o[0-7]{1,3} )
                   (?!\w) | \S )
    | (?P<atom>   [^\s,()\[\]{}"';@^`~\\#\x00-\x1f] [^\s,()\[\]{}"@^`~\\;\x00-\x1f]*+ )
    """,
    re.VERBOSE | re.DOTALL,
)
SPACE: Final = re.compile(r"(?:[\s,]++|;[^\n]*+)*+")
_CLOSES: Final = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_WORDS: Final[dict[str, Any]] = {"nil": None, "true": True, "false": False}
_CHARS: Final = {
    "newline": "\n",
    "return": "\r",
    "space": " ",
    "tab": "\t",
    "formfeed": "\f",
    "backspace": "\b",
}
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES: Final = {"t": "\t", "r": "\r", "n": "\n", "b": "\b", "f": "\f", "\\": "\\", '"': '"', "'": "'"}
_INTEGER: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]*)N?")
_HEXADECIMAL: Final = re.compile(r"[+-]?0[xX][0-9a-fA-F]+N?")
_DECIMAL: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?M?")
_RATIO: Final = re.compile(r"[+-]?[0-9]+/[0-9]+")
_KEYED: Final = re.compile(r"(?:.*[./])?MapEntry|jepsen\.independent[./][Tt]uple")


class Unfinished(Exception):
    """The text ends before the form does."""


class NotEdn(Exception):
    """What stands at ``position`` is no EDN, or none that a history can hold."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(problem)
        self.position = position


class KeyedValue(NamedTuple):
    """A value of one of several independent keys, as Jepsen's ``independent`` name space tags it."""

    key: Any
    value: Any


def parse(text: str, position: int, *, final: bool, depth: int = 0) -> tuple[Any, int]:
    """The form that begins at a position, after space and comments, and the position after it.

    ``depth`` is that of the form itself: below zero, what it holds may nest as deep as if it stood alone.
    Raises :class:`Unfinished` when the text ends first (or, unless ``final``, could go on), and :class:`NotEdn`.
    """
    parser = _Parser(text, final=final)
    value = parser.form(position, depth)
    return value, parser.position


class _Parser:
    """Recursive, no deeper than a history's values may nest."""

    def __init__(self, text: str, *, final: bool) -> None:
        self._text = text
        self._final = final
        self.position = 0

    def form(self, position: int, depth: int) -> Any:
        """The next form; there must be one."""
        return self._form(self._token(position, depth), depth)

    def _token(self, position: int, depth: int) -> re.Match[str]:
        """The next token that is not discarded."""
        text = self._text
        if depth > DEPTH_MAX:
            raise NotEdn(position, f"this nests more than {DEPTH_MAX} deep")
        while True:
            space = SPACE.match(text, position)
            match = _TOKEN.match(text, position if space is None else space.end())
            if match is None:
                raise self._problem(position if space is None else space.end())
            kind = match.lastgroup
            self.position = match.end()
            if self.position == len(text) and not self._final and kind not in ("open", "close", "string"):
                raise Unfinished
            if kind != "discard":
                return match
            self.form(self.position, depth + 1)
            position = self.position

    def _problem(self, position: int) -> Exception:
        text = self._text
        if position >= len(text) or text[position] == '"' or (not self._final and position + 16 > len(text)):
            return Unfinished()
        return NotEdn(position, f"{text[position : position + 20]!r} is not EDN")

    def _form(self, match: re.Match[str], depth: int) -> Any:
        kind, start = match.lastgroup, match.start()
        try:
            if kind == "atom":
                return _atom(match[0])
            if kind == "string":
                return _string(match["string"])
            if kind == "open":
                return _collection(match[0], self._items(match, depth))
            if kind == "tag":
                return _tagged(match["tag"], self.form(match.end(), depth + 1))
            if kind == "char":
                return _character(match["char"])
            if kind == "special":
                return match[0]
            raise ValueError(f"{match[0]!r} closes nothing that is open")
        except (ValueError, PlugInError) as error:
            raise NotEdn(start, str(error)) from None

    def _items(self, opening: re.Match[str], depth: int) -> list[Any]:
        items: list[Any] = []
        while (match := self._token(self.position, depth + 1)).lastgroup != "close":
            items.append(self._form(match, depth + 1))
        if match[0] != _CLOSES[opening[0]]:
            raise NotEdn(match.start(), f"{match[0]!r} closes a {opening[0]!r}")
        return items


def _collection(opening: str, items: list[Any]) -> Any:
    if opening == "{":
        return _object(items)
    return _ordered(items) if opening == "#{" else items


def _object(items: list[Any]) -> dict[str, Any]:
    if len(items) % 2:
        raise ValueError("a map has a name without a value")
    found: dict[str, Any] = {}
    for name, value in zip(items[::2], items[1::2], strict=True):
        text = name if isinstance(name, str) else json_text(name).decode()
        if text in found:
            raise ValueError(f"a map has {text!r} twice")
        found[text] = value
    return found


def _ordered(items: list[Any]) -> list[Any]:
    """Sets that are equal become lists that are equal."""
    for kind in (int, str):
        if all(type(item) is kind for item in items):
            return sorted(items)
    return sorted(items, key=json_text)


def _tagged(tag: str, value: Any) -> Any:
    if tag.startswith(":"):
        # A map whose names all stand in one name space: #:jepsen{:type 1}. Those of an operation stand in none.
        if not isinstance(value, dict):
            raise ValueError(f"'#{tag}' needs a map")
        return value
    if _KEYED.fullmatch(tag):
        parts = list(value.values()) if isinstance(value, dict) else value
        if not isinstance(parts, list) or len(parts) != 2:
            raise ValueError(f"'#{tag}' needs a key and a value")
        return KeyedValue(*parts)
    return value


def _atom(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == ":":
        if len(text) == 1:
            raise ValueError("':' is no keyword")
        return text[1:]
    if text[0].isdecimal() or (text[0] in "+-" and text[1:2].isdecimal()):
        return _number(text)
    return text


def _number(text: str) -> Any:
    most = HEXADECIMAL_DIGITS_MAX if _HEXADECIMAL.match(text) else DIGITS_MAX
    if len(text) > most:
        raise ValueError(f"a number has {len(text)} characters; {most} are the most")
    if _INTEGER.fullmatch(text):
        return int(text.rstrip("N"))
    if _DECIMAL.fullmatch(text):
        number = float(text.rstrip("M"))
        if number - number != 0:
            raise ValueError(f"the number {text} is too great")
        try:
            exact = text[-1] != "M" or Decimal(text[:-1]) == Decimal(number) or repr(number) == text[:-1]
        except ArithmeticError:
            raise ValueError(f"the exponent of {text} is out of reach") from None
        return number if exact else text[:-1]
    if _RATIO.fullmatch(text):
        above, _, below = text.partition("/")
        if int(below) == 0:
            raise ValueError(f"the ratio {text} divides by zero")
        ratio = Fraction(int(above), int(below))
        return ratio.numerator if ratio.denominator == 1 else str(ratio)
    if _HEXADECIMAL.fullmatch(text):
        return int(text.rstrip("N"), 16)
    raise ValueError(f"{text!r} is no number of EDN")


def _character(text: str) -> str:
    if text in _CHARS:
        return _CHARS[text]
    if len(text) == 1:
        return text
    return _whole(chr(int(text[1:], 16 if text[0] == "u" else 8)))


def _string(text: str) -> str:
    return _whole(_ESCAPE.sub(_unescaped, text)) if "\\" in text else text


def _unescaped(match: re.Match[str]) -> str:
    text = match[1]
    if text[0] == "u" and len(text) == 5:
        return chr(int(text[1:], 16))
    if text[0].isdecimal():
        return chr(int(text, 8))
    if text not in _ESCAPES:
        raise ValueError(f"a string has the escape {match[0]!r}, which EDN does not know")
    return _ESCAPES[text]


def _whole(text: str) -> str:
    """Join the halves of surrogate pairs, which is how Java writes what lies beyond 16 bits."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ValueError("a string has half a surrogate pair, which is no text") from None
