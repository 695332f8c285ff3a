"""Formats of recorded histories: how ``foreshock check`` reads what any tool recorded.

A plug-in registers a class that keeps :class:`HistoryFormat` under the entry point ``foreshock.formats``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from foreshock.harness.history import History
from foreshock.harness.history_parquet import MAGIC


class HistoryFormat(Protocol):
    """One format of recorded histories; made without arguments."""

    name: str
    """What ``--format`` calls it."""

    def detect(self, path: Path, head: bytes) -> bool:
        """Whether the file looks like this format; ``head`` is its first bytes (a few KB, or all of it)."""

    def read(self, path: Path) -> History:
        """Read the file; raises ``UsageError`` that names the line when it is broken."""


class ForeshockFormat:
    """Foreshock's own ``history.jsonl`` and ``history.parquet``."""

    name = "foreshock"

    def detect(self, path: Path, head: bytes) -> bool:
        """Whether it is Parquet, or its first line is an event of ours."""
        if path.suffix == ".jsonl" and not head:
            return True
        if head.startswith(MAGIC):
            return True
        first, _, _ = head.lstrip().partition(b"\n")
        try:
            event = msgspec.json.decode(first)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # One event may be longer than the head that we are shown.
            return first.startswith(b'{"index":') and b'"process":' in first
        return isinstance(event, dict) and {"index", "type", "process", "f"} <= event.keys()

    def read(self, path: Path) -> History:
        """Read the file; raises ``UsageError`` that names the line when it is broken."""
        return History.read(path)
