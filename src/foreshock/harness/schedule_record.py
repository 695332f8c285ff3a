"""What the nemeses of a run did, as a schedule that can be played again: ``schedule.toml`` beside the history.

Entries are appended as their operations complete, so that what a killed run did is there as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from foreshock.harness.errors import HarnessError
from foreshock.harness.operation import Operation

SCHEDULE: Final = "schedule.toml"
SECOND_NS: Final = 1_000_000_000
_HEAD: Final = """\
# What the nemeses of this run did: foreshock test ... --schedule THIS-FILE does the same to the same nodes again.
# Times are in s since the main phase began.
"""


class ScheduleRecord:
    """Writes one schedule. The file is made with the first operation; :meth:`begin` says when the main phase began."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._began_ns: int | None = None
        self._written = False

    def begin(self, now_ns: int) -> None:
        """The main phase begins: operations count from now."""
        self._began_ns = now_ns

    def end(self) -> None:
        """The main phase is over: what is done from now on is healing, which every run does by itself."""
        self._began_ns = None

    def performed(self, operation: Operation, result: Any) -> None:
        """An operation has done its work; its result is what a later one takes as its value."""
        self._write(operation, result if isinstance(result, Mapping) else operation.value, "")

    def failed(self, operation: Operation, error: BaseException) -> None:
        """An operation has not; asked for again, it tries the same."""
        self._write(operation, operation.value, f"# it failed: {' '.join(str(error).split())}\n")

    def _write(self, operation: Operation, value: Any, comment: str) -> None:
        if self._began_ns is None or operation.time_ns is None:
            return
        entry = entry_text(operation.time_ns - self._began_ns, operation.f, value)
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(("" if self._written else _HEAD) + "\n" + comment + entry)
        except OSError as error:
            raise HarnessError(f"the schedule {self._path} cannot be written: {error.strerror}") from error
        self._written = True


def entry_text(at_ns: int, f: str, value: Any) -> str:
    """One entry of a schedule in TOML."""
    whole, part = divmod(max(0, at_ns), SECOND_NS)
    text = f"[[fault]]\nat = {whole}.{part:09}\ndo = {toml_text(f)}\n"
    return text if value is None or value == {} else f"{text}value = {toml_text(value)}\n"


def toml_text(value: Any) -> str:
    """A JSON-able value as TOML, on one line. TOML has no null: what is ``None`` in a table or a list is left out."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        pairs = [f"{_key(str(key))} = {toml_text(each)}" for key, each in value.items() if each is not None]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, str):
        # A JSON text is a TOML text, but for this one character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Sequence | frozenset | set):
        ordered = sorted(value) if isinstance(value, frozenset | set) else value
        return "[" + ", ".join(toml_text(each) for each in ordered if each is not None) + "]"
    return repr(value)


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else toml_text(text)
