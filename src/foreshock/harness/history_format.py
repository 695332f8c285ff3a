"""Formats of recorded histories: how ``foreshock check`` reads what any tool recorded.

A plug-in registers a class that keeps :class:`HistoryFormat` under the entry point ``foreshock.formats``. Compressed
files are the format's own to unpack, with :func:`foreshock.harness.formats.streams.lines` or its siblings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from foreshock.harness.formats.streams import head_of
from foreshock.harness.formats.timed_operations import refuse_two_at_once
from foreshock.harness.history import History
from foreshock.harness.history_lines import read_lines
from foreshock.harness.history_parquet import MAGIC, read_parquet


class HistoryFormat(Protocol):
    """One format of recorded histories; made without arguments."""

    name: str
    """What ``--format`` calls it."""

    def detect(self, path: Path, head: bytes) -> bool:
        """Whether the file looks like this format; ``head`` is its first bytes (a few KB, or all of it), unpacked."""

    def read(self, path: Path) -> History:
        """Read the file; raises ``UsageError`` that names the line when it is broken."""


@runtime_checkable
class WritableFormat(HistoryFormat, Protocol):
    """A format that histories can be written in, too."""

    suffix: str
    """How the names of such files end, such as ``.csv``."""

    def write(self, history: History, path: Path) -> None:
        """Write a new file, not compressed. Raises ``OSError`` or ``HarnessError`` when that fails, and
        ``UsageError`` for a history that the format cannot hold."""


class ForeshockFormat:
    """Foreshock's own ``history.jsonl`` and ``history.parquet``; it writes the first."""

    name = "foreshock"
    suffix = ".jsonl"

    def detect(self, path: Path, head: bytes) -> bool:
        """Whether it is Parquet, or its first line is an event of ours."""
        if not head:
            return ".jsonl" in path.suffixes
        if head.startswith(MAGIC):
            return True
        first, _, _ = head.lstrip().partition(b"\n")
        if not first.startswith(b"{"):
            return False
        try:
            event = msgspec.json.decode(first)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # One event may be longer than the head that we are shown.
            return first.startswith(b'{"index":') and b'"process":' in first
        return isinstance(event, dict) and {"index", "type", "process", "f"} <= event.keys()

    def read(self, path: Path) -> History:
        """Read the file; raises ``UsageError`` that names the line when it is broken."""
        return History(read_parquet(path) if head_of(path, len(MAGIC)) == MAGIC else read_lines(path))

    def write(self, history: History, path: Path) -> None:
        """Write JSON lines."""
        refuse_two_at_once(history)
        history.write_jsonl(path)


class ParquetFormat:
    """Foreshock's own ``history.parquet`` by itself."""

    name = "parquet"
    suffix = ".parquet"

    def detect(self, path: Path, head: bytes) -> bool:  # noqa: ARG002
        """Never: the format ``foreshock`` knows these files too, and one answer is enough."""
        return False

    def read(self, path: Path) -> History:
        """Read the file; raises ``UsageError`` when it is no history of ours."""
        return History(read_parquet(path))

    def write(self, history: History, path: Path) -> None:
        """Write Parquet."""
        history.write_parquet(path)
