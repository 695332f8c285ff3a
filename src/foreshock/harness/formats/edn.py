"""Jepsen's ``history.edn``: one map an event, each on a line of its own or all of them in one vector or list.

::

    {:index 0, :type :invoke, :process 0, :f :write, :value 5, :time 1234}
    {:index 1, :type :ok, :process 0, :f :write, :value 5, :time 2345}

``:process``, ``:type`` and ``:f`` must be there. The ``:value`` of an invocation is what was asked for, that of an
``:ok`` the result, except where a write only repeats what it wrote. ``:result``, ``:node``,
``:attempts`` and ``:outcome`` (how an operation of the nemesis ended) are our own additions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from foreshock.harness.errors import PlugInError, UsageError
from foreshock.harness.formats.assembly import EVENT_TYPES, Assembly, Malformed
from foreshock.harness.formats.edn_forms import SPACE, KeyedValue, NotEdn, Unfinished, parse
from foreshock.harness.formats.streams import LINE_BYTES_MAX, texts, too_long
from foreshock.harness.history import History
from foreshock.harness.history_columns import ATTEMPTS_MAX, TYPE_CODES
from foreshock.harness.history_values import NONE_PAYLOAD, json_text
from foreshock.harness.operation import NEMESIS

MEMO_MAX: Final = 1 << 14
"""How many texts of values are remembered with what they stand for."""

_VALUE: Final = r'(?:nil|true|false|-?[0-9]++|:[A-Za-z][\w.-]*+|"[^"\\]*+"|\[[^\[\](){}"\\;#]*+\])(?=[\s,}])'
_FIELDS: Final = {
    "process": "[0-9]{1,10}",
    "type": ":(?:invoke|ok|fail|info)",
    "f": r":[A-Za-z][\w.*+!?-]*+",
    "key": _VALUE,
    "value": _VALUE,
    "time": "-?[0-9]{1,18}",
    "index": "[0-9]{1,18}",
    "error": r":[A-Za-z][\w.-]*+",
}
"""The names in plain events, and how their values look there: so nearly all events are printed."""
_NAMES_OF: Final = re.compile(
    r"\{(?::(?:process|type|f|key|value|time|index|error)[ ](?:" + _VALUE + r")[\s,]*+)++\}", re.ASCII
)
_NAME: Final = re.compile(r":([a-z]++)[ ]" + _VALUE, re.ASCII)
_WRAPPED: Final = 4
"""How deep a value stands in an event at most: in a record's tag, its map, a tag of its own, and that one's vector."""
_REQUIRED: Final = frozenset({"process", "type", "f"})
SHAPES_MAX: Final = 8
"""How many orders of names are looked for in one file before the others are left to the parser."""
_CLOSES: Final = {"[": "]", "(": ")"}
_MAP: Final = re.compile(r"(?:#[\w.:]+)?\{")


class _Shape(NamedTuple):
    """Events that have the same names in the same order. Names that they lack are empty groups."""

    match: Callable[[str, int], re.Match[str] | None]
    groups: tuple[int, ...]
    """The groups of process, type, f, key, value, time, index and error."""


@lru_cache(maxsize=64)
def _shape(names: tuple[str, ...]) -> _Shape:
    present = [f":{name} ({_FIELDS[name]})" for name in names]
    absent = [name for name in _FIELDS if name not in names]
    pattern = r"\{" + r"[\s,]++".join(present) + r"[\s,]*+\}[\s,]*+" + "()" * len(absent)
    order = [*names, *absent]
    return _Shape(re.compile(pattern, re.ASCII).match, tuple(order.index(name) + 1 for name in _FIELDS))


class EdnFormat:
    """Jepsen's ``history.edn`` and the histories of Knossos."""

    name = "edn"
    suffix = ".edn"

    def detect(self, path: Path, head: bytes) -> bool:
        """Whether the first form is a map with ``:process`` and ``:type``, perhaps in a vector or a list."""
        return starts_an_event(path, head) and not is_key_value_log(head)

    def read(self, path: Path) -> History:
        """Read the file, streaming; raises :class:`UsageError` that names the line when it is broken."""
        return EdnReader(path).read()

    def write(self, history: History, path: Path) -> None:
        """Write the history, an event a line."""
        from foreshock.harness.formats.edn_writing import write_edn

        write_edn(history, path)


def starts_an_event(path: Path, head: bytes) -> bool:
    """Whether the first form in the first bytes of a file is an event in EDN; of an empty file its name says it."""
    text = head.decode("utf-8-sig", "replace")
    opening = _skip(text, 0)
    start = _skip(text, opening + 1) if text[opening : opening + 1] in _CLOSES else opening
    if _MAP.match(text, start):
        return re.search(r":process\s", text) is not None and re.search(r":type\s", text) is not None
    if start > opening and text[start : start + 1] == _CLOSES[text[opening]]:
        return True
    return not head and ".edn" in path.suffixes


def is_key_value_log(head: bytes) -> bool:
    """Whether the first event in the first bytes of a file gets, puts or appends to a key that is a string."""
    text = head.decode("utf-8-sig", "replace")
    start = text.find("{")
    event = text[start : text.find("}", start)]
    return (
        re.search(r':key\s+"', event) is not None
        and re.search(r":f\s+:(?:get|put|append)\b", event) is not None
    )


def _skip(text: str, position: int) -> int:
    return SPACE.match(text, position).end()  # type: ignore[union-attr]


class EdnReader:
    """Reads one file. ``operations`` are the only ones that it may hold, on keys that are strings, if any are given."""

    def __init__(self, path: Path, operations: frozenset[str] | None = None) -> None:
        self._path = path
        self._operations = operations
        self._assembly = Assembly()
        self._shapes: list[_Shape] = []
        self._payloads: dict[str, int] = {}
        self._keys: dict[str, int] = {}
        self._text = ""
        self._position = 0
        self._line = 1
        self._closes: str | None = None
        self._opened_in_line = 0
        self._started = self._ended = False

    def read(self) -> History:
        """The history; raises :class:`UsageError` that names the line when something is wrong."""
        pieces: list[str] = []
        waiting, wanted = 0, 0
        for piece in texts(self._path):
            pieces.append(piece)
            waiting += len(piece)
            if waiting >= wanted:
                self._take("".join(pieces), final=False)
                pieces, waiting = [], 0
                # A form that is not yet whole is not looked at again before twice as much of it is there.
                wanted = len(self._text)
        self._take("".join(pieces), final=True)
        if self._closes is not None:
            raise self._error(f"{self._closes!r} is missing", self._opened_in_line)
        return self._assembly.history()

    def _take(self, more: str, *, final: bool) -> None:
        """Read all events that are whole, and keep the rest."""
        self._text = text = self._text + more
        try:
            self._events(final=final)
        except Unfinished:
            if final:
                raise self._error("what begins here never ends") from None
        except NotEdn as error:
            raise self._error(str(error), self._line_at(error.position)) from None
        except (Malformed, PlugInError) as error:
            raise self._error(str(error)) from None
        self._line = self._line_at(self._position)
        self._text = text[self._position :]
        self._position = 0
        if len(self._text) > LINE_BYTES_MAX:
            raise too_long(self._path, self._line)

    def _line_at(self, position: int) -> int:
        return self._line + self._text.count("\n", 0, position)

    def _error(self, problem: str, line: int = 0) -> UsageError:
        return UsageError(f"{self._path}, line {line or self._line_at(self._position)}: {problem}")

    def _events(self, *, final: bool) -> None:
        text = self._text
        while True:
            end = _skip(text, self._position)
            if end == len(text):
                # The last comment may go on in what is yet to come.
                self._position = (
                    end if final else max(self._position, text.rfind("\n", self._position, end) + 1)
                )
                return
            self._position = end
            if not self._ended:
                self._plain_events()
            if self._position == end and (self._ended or not self._learn()):
                self._structure(text[end], final=final)

    def _structure(self, sign: str, *, final: bool) -> None:
        """What stands between plain events: the ends of the sequence, and whatever takes a parser."""
        if self._ended:
            raise Malformed(
                f"the history has ended, but {self._text[self._position : self._position + 20]!r} follows"
            )
        if sign in _CLOSES and not self._started:
            self._closes = _CLOSES[sign]
            self._opened_in_line = self._line_at(self._position)
            self._started = True
            self._position += 1
        elif sign == self._closes:
            self._closes = None
            self._ended = True
            self._position += 1
        elif self._text.startswith("#_", self._position):
            _, self._position = parse(self._text, self._position + 2, final=final)
        else:
            if sign == "#" and not final and self._position + 2 > len(self._text):
                raise Unfinished
            form, end = parse(self._text, self._position, final=final, depth=-_WRAPPED)
            if not isinstance(form, dict):
                raise Malformed(f"{form!r:.50} is no event: a map with :process, :type and :f is")
            self._general(form)
            self._started = True
            self._position = end

    # --- events -------------------------------------------------------------------------------------------

    def _learn(self) -> bool:
        """Learn the shape of the event that comes next, if it is a plain one of a shape not known yet."""
        match = _NAMES_OF.match(self._text, self._position)
        if match is None or len(self._shapes) == SHAPES_MAX:
            return False
        names = tuple(_NAME.findall(match[0]))
        shape = _shape(names) if len(names) == len(set(names)) and _REQUIRED.issubset(names) else None
        if shape is None or shape in self._shapes or shape.match(self._text, self._position) is None:
            return False
        self._shapes.append(shape)
        return True

    def _plain_events(self) -> None:
        """Add events as long as they are of a known shape."""
        text, shapes, payloads, keys = self._text, self._shapes, self._payloads, self._keys
        while True:
            for shape in shapes:
                match = shape.match(text, self._position)
                if match is not None:
                    break
            else:
                return
            process, kind, f, key, value, time, index, error = match.group(*shape.groups)
            payload = payloads.get(value)
            if payload is None:
                payload = self._payload_of(value)
            keyed = keys.get(key)
            if keyed is None:
                keyed = self._key_of(key)
            time_ns, number = int(time) if time else -1, int(index) if index else -1
            self._add(kind[1:], int(process), f[1:], keyed, payload, time_ns, number, error[1:] or None)
            self._started = True
            self._position = match.end()

    def _key_of(self, text: str) -> int:
        if self._operations is not None and text[:1] != '"':
            raise Malformed(f":key is {text or 'missing'}, but must be a string")
        keyed = self._key(_simple(text)) if text else NONE_PAYLOAD
        self._remember(self._keys, text, keyed)
        return keyed

    def _payload_of(self, text: str) -> int:
        if not text:
            payload = NONE_PAYLOAD
        elif text[0] == '"' and text.isascii() and text.isprintable():
            # A string without escapes is the same text in JSON.
            payload = self._assembly.values.payload_of_text(text.encode())
        else:
            payload = self._assembly.values.payload(_simple(text))
        self._remember(self._payloads, text, payload)
        return payload

    @staticmethod
    def _remember(memo: dict[str, int], text: str, payload: int) -> None:
        if len(text) < 100:
            if len(memo) >= MEMO_MAX:
                memo.clear()
            memo[text] = payload

    def _key(self, key: Any) -> int:
        if key is not None and (type(key) is not int and type(key) is not str):
            key = json_text(key).decode()
        return self._assembly.values.key_payload(key)

    def _add(
        self,
        kind: str,
        process: int,
        f: str,
        key: int,
        value: int,
        time_ns: int,
        index: int,
        error: str | None,
        form: dict[str, Any] | None = None,
    ) -> None:
        """Add an event; ``form`` is where it says more than most do."""
        assembly = self._assembly
        if self._operations is not None and f not in self._operations:
            raise Malformed(f"{f!r} is none of {', '.join(sorted(self._operations))}")
        if kind == "invoke":
            node = None if form is None else form.get("node")
            assembly.invoke(process, f, value, key, time_ns, index, node if isinstance(node, str) else None)
            return
        asked = assembly.asked(process, f, key)
        result = assembly.result(f, asked, value) if kind == "ok" else NONE_PAYLOAD
        code = TYPE_CODES[kind]
        if form is None:
            assembly.complete(process, code, result, time_ns, index, error)
            return
        if "result" in form:
            result = assembly.values.payload(form["result"])
        attempts = _integer(form, "attempts", 1)
        if not 0 <= attempts <= ATTEMPTS_MAX:
            raise Malformed(f":attempts is {attempts}, which is not between 0 and {ATTEMPTS_MAX}")
        assembly.complete(process, code, result, time_ns, index, error, attempts)

    def _general(self, form: dict[str, Any]) -> None:
        """Add an event of any shape."""
        kind, f, process = form.get("type"), form.get("f"), form.get("process")
        if kind not in EVENT_TYPES:
            raise Malformed(f":type is {kind!r}, which is none of {', '.join(EVENT_TYPES)}")
        if not isinstance(f, str):
            raise Malformed(f":f is {f!r:.50}, which is no name of an operation")
        key, value = form.get("key"), form.get("value")
        if isinstance(value, KeyedValue):
            key, value = value
        values = self._assembly.values
        keyed, payload = self._key(key), values.payload(value)
        time_ns, index = _integer(form, "time", -1), _integer(form, "index", -1)
        if process in ("nemesis", NEMESIS):
            process = NEMESIS
            if self._assembly.nemesis_begins(kind, f):
                kind = "invoke"
            elif form.get("outcome") in TYPE_CODES:
                kind = form["outcome"]
        if type(process) is not int or process < NEMESIS:
            raise Malformed(f":process is {process!r:.50}, which is neither a number from 0 on nor :nemesis")
        if self._operations is not None and type(key) is not str:
            raise Malformed(f":key is {key!r:.50}, which is no string")
        self._add(kind, process, f, keyed, payload, time_ns, index, _error_text(form.get("error")), form)


def _simple(text: str) -> Any:
    try:
        return parse(text, 0, final=True)[0]
    except NotEdn as error:
        raise Malformed(str(error)) from None


def _integer(form: dict[str, Any], name: str, default: int) -> int:
    value = form.get(name)
    if value is None:
        return default
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise Malformed(f":{name} is {value!r:.50}, which is no integer of 64 bits")
    return value


def _error_text(error: Any) -> str | None:
    return error if error is None or isinstance(error, str) else json_text(error).decode()
