"""The log of one simulated node, over all its lives."""

from __future__ import annotations

from collections import deque
from typing import Final

LOG_LINES_MAX: Final = 20_000
LOG_LINE_CHARACTERS_MAX: Final = 4_000


class NodeLog:
    """Lines with the virtual time of each; the oldest ones go when there are too many."""

    __slots__ = ("_dropped", "_lines")

    def __init__(self) -> None:
        self._lines: deque[tuple[int, str]] = deque(maxlen=LOG_LINES_MAX)
        self._dropped = 0

    def add(self, now_ns: int, line: str) -> None:
        """Add a line."""
        if len(self._lines) == LOG_LINES_MAX:
            self._dropped += 1
        self._lines.append((now_ns, line[:LOG_LINE_CHARACTERS_MAX]))

    def lines(self) -> list[str]:
        """All that is kept, each line with the time in seconds before it."""
        lines = [f"{ns // 10**9}.{ns % 10**9 // 1000:06d} {line}" for ns, line in self._lines]
        return [f"({self._dropped} earlier lines were dropped)", *lines] if self._dropped else lines
