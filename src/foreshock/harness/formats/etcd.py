"""The logs of Jepsen's test of etcd: one event of the register a line, among whatever else was logged.

::

    INFO  jepsen.util - 3	:invoke	:cas	[1 4]
    INFO  jepsen.util - 3	:info	:cas	:timed-out

The last part is what was asked for (``:invoke``), the result (``:ok`` of a read) or what went wrong. A write or a
compare-and-set that timed out may have happened, so it is ``info``, also where the log calls it ``:fail``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from foreshock.harness.errors import PlugInError, UsageError
from foreshock.harness.formats.assembly import Assembly, Malformed
from foreshock.harness.formats.edn_forms import NotEdn, Unfinished, parse
from foreshock.harness.formats.streams import blocks
from foreshock.harness.history import History
from foreshock.harness.history_columns import INFO_CODE, OK_CODE, TYPE_CODES
from foreshock.harness.history_values import INTEGER_LIMIT, NONE_PAYLOAD, json_text
from foreshock.harness.operation import NEMESIS

_MARK: Final = "jepsen.util - "
_EVENT: Final = re.compile(
    r"jepsen\.util - ([0-9]{1,10}|:nemesis)[ \t]+:(invoke|ok|fail|info)[ \t]+:([^\s:]+)[ \t]+([^\r\n]+)",
)
_ALMOST: Final = re.compile(r"jepsen\.util - (?:[0-9]+|:nemesis)\s+:")
_READS: Final = frozenset({"read", "get"})
_KNOWN_MAX: Final = 1 << 14
_TIMED_OUT: Final = "timed-out"


class EtcdFormat:
    """Jepsen's logs of etcd."""

    name = "etcd"

    def detect(self, path: Path, head: bytes) -> bool:  # noqa: ARG002
        """Whether one of the first lines is an event as Jepsen logs it."""
        return _EVENT.search(head.decode("utf-8", "replace")) is not None

    def read(self, path: Path) -> History:
        """Read the file, streaming; raises :class:`UsageError` that names the line when it is broken."""
        reader = _Reader()
        for line, text in blocks(path, errors="replace"):
            matches = _EVENT.findall(text)
            if len(matches) != text.count(_MARK):
                _refuse_what_is_almost_an_event(path, line, text)
            for number, event in enumerate(matches):
                try:
                    reader.add(*event)
                except (Malformed, NotEdn, Unfinished, PlugInError) as error:
                    problem = (
                        f"the value {event[3]!r:.100} is cut off" if isinstance(error, Unfinished) else error
                    )
                    raise UsageError(f"{path}, line {_line_of(line, text, number)}: {problem}") from None
        return reader.assembly.history()


def _line_of(line: int, text: str, number: int) -> int:
    """The line of the event of that number in a block that begins with ``line``."""
    for position, match in enumerate(_EVENT.finditer(text)):
        if position == number:
            return line + text.count("\n", 0, match.start())
    raise IndexError(number)


def _refuse_what_is_almost_an_event(path: Path, line: int, text: str) -> None:
    for number, content in enumerate(text.split("\n"), start=line):
        if _ALMOST.search(content) and not _EVENT.search(content):
            raise UsageError(
                f"{path}, line {number}: an event is a process, :invoke, :ok, :fail or :info, an operation and a "
                f"value, and not {content[:100]!r}"
            )


class _Meaning(NamedTuple):
    """What the last part of an event stands for: as a value, which is a small integer, ``None`` or JSON text, and as
    what went wrong."""

    payload: int
    text: bytes
    error: str | None


@lru_cache(maxsize=1 << 12)
def _meaning(text: str) -> _Meaning:
    """Logs, and the files of a set of them, have few different values; so each is looked into once."""
    form, end = parse(text, 0, final=True)
    if text[end:].strip():
        raise Malformed(f"{text!r:.100} is more than one value")
    error = form if isinstance(form, str) else None
    if form is None or (type(form) is int and abs(form) < INTEGER_LIMIT):
        return _Meaning(NONE_PAYLOAD if form is None else form, b"", error)
    return _Meaning(NONE_PAYLOAD, json_text(form), error)


class _Reader:
    """Adds events to one history."""

    def __init__(self) -> None:
        self.assembly = Assembly()
        self._known: dict[str, tuple[int, str | None]] = {}

    def add(self, process_text: str, kind: str, f: str, text: str) -> None:
        """Add one event; raises :class:`Malformed`."""
        payload, told = self._known.get(text) or self._look_up(text)
        assembly = self.assembly
        if process_text == ":nemesis":
            process = NEMESIS
            if assembly.nemesis_begins(kind, f):
                kind = "invoke"
        else:
            process = int(process_text)
        if kind == "invoke":
            assembly.invoke(process, f, payload)
            return
        asked = assembly.asked(process, f)
        if kind == "ok":
            # A write repeats what it wrote.
            repeated = f not in _READS and payload == asked
            assembly.complete(process, OK_CODE, NONE_PAYLOAD if repeated else payload)
            return
        timed_out = told == _TIMED_OUT and f not in _READS
        assembly.complete(process, INFO_CODE if timed_out else TYPE_CODES[kind], error=told)

    def _look_up(self, text: str) -> tuple[int, str | None]:
        payload, json, error = _meaning(text) if len(text) < 100 else _meaning.__wrapped__(text)
        if json:
            payload = self.assembly.values.payload_of_text(json)
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        found = self._known[text] = (payload, error)
        return found
