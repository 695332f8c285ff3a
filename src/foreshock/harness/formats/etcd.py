"""The logs of Jepsen's test of etcd: one event of the register a line, among whatever else was logged.

::

    INFO  jepsen.util - 3	:invoke	:cas	[1 4]
    INFO  jepsen.util - 3	:info	:cas	:timed-out

The last part is what was asked for (``:invoke``), the result (``:ok`` of a read) or what went wrong. A write or a
compare-and-set that timed out may have happened, so it is ``info``, also where the log calls it ``:fail``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from foreshock.harness.errors import PlugInError, UsageError
from foreshock.harness.formats.assembly import Assembly, Malformed
from foreshock.harness.formats.edn_forms import NotEdn, Unfinished, parse
from foreshock.harness.formats.streams import blocks
from foreshock.harness.history import History
from foreshock.harness.history_columns import FAIL_CODE, INFO_CODE, OK_CODE, TYPE_CODES
from foreshock.harness.history_values import NONE_PAYLOAD
from foreshock.harness.operation import NEMESIS

_MARK: Final = "jepsen.util - "
_EVENT: Final = re.compile(
    r"^[^\n]*?jepsen\.util - ([0-9]{1,10}|:nemesis)[ \t]+:(invoke|ok|fail|info)[ \t]+:([^\s:]+)[ \t]+([^\r\n]+)",
    re.MULTILINE,
)
_ALMOST: Final = re.compile(r"jepsen\.util - (?:[0-9]+|:nemesis)\s+:")
_READS: Final = frozenset({"read", "get"})
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
                    raise UsageError(f"{path}, line {_line_of(line, text, number)}: {error}") from None
        return reader.assembly.history()


def _line_of(line: int, text: str, number: int) -> int:
    """The line of the event of that number in a block that begins with ``line``."""
    for position, match in enumerate(_EVENT.finditer(text)):
        if position == number:
            return line + text.count("\n", 0, match.start())
    raise IndexError(number)


def _refuse_what_is_almost_an_event(path: Path, line: int, text: str) -> None:
    for number, content in enumerate(text.split("\n"), start=line):
        if _ALMOST.search(content) and not _EVENT.match(content):
            raise UsageError(
                f"{path}, line {number}: an event is a process, :invoke, :ok, :fail or :info, an operation and a "
                f"value, and not {content[:100]!r}"
            )


class _Reader:
    """Adds events. What a text stands for is looked up once: a log has few different values."""

    def __init__(self) -> None:
        self.assembly = Assembly()
        self._forms: dict[str, tuple[Any, int]] = {}

    def add(self, process_text: str, kind: str, f: str, text: str) -> None:
        """Add one event; raises :class:`Malformed`."""
        form, payload = self._forms.get(text) or self._form(text)
        process = NEMESIS if process_text == ":nemesis" else int(process_text)
        assembly = self.assembly
        if process == NEMESIS and assembly.nemesis_begins(kind, f):
            kind = "invoke"
        if kind == "invoke":
            assembly.invoke(process, f, payload)
            return
        asked = assembly.asked(process, f)
        code, result, error = TYPE_CODES[kind], NONE_PAYLOAD, None
        if code == OK_CODE:
            # A write repeats what it wrote.
            result = payload if f in _READS or payload != asked else NONE_PAYLOAD
        elif isinstance(form, str):
            error = form
            if code == FAIL_CODE and form == _TIMED_OUT and f not in _READS:
                code = INFO_CODE
        assembly.complete(process, code, result, error=error)

    def _form(self, text: str) -> tuple[Any, int]:
        if len(self._forms) > 1 << 14:
            self._forms.clear()
        form, end = parse(text, 0, final=True)
        if text[end:].strip():
            raise Malformed(f"{text!r:.100} is more than one value")
        found = self._forms[text] = (form, self.assembly.values.payload(form))
        return found
