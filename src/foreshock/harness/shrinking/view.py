"""What a person sees while tests are run by the hundred: lines; on a terminal also one below them that moves."""

from __future__ import annotations

import time
from typing import Final

from rich.console import Console
from rich.text import Text

from foreshock.harness.live_panel import LivePanel, say_on_stderr

LINES_EVERY_S: Final = 5.0
REDRAW_S: Final = 0.2


class Ticker:
    """Says nothing at all; the others say lines that stay, and where things stand."""

    def say(self, line: str) -> None:
        """Something that stays."""

    def stand(self, line: str) -> None:
        """Where things stand; called a few times a second."""


class LineTicker(Ticker):
    """Lines on stderr, where things stand every few seconds."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def say(self, line: str) -> None:
        """One line."""
        say_on_stderr(line)

    def stand(self, line: str) -> None:
        """One line, when enough time has passed."""
        if time.monotonic() - self._last_s >= LINES_EVERY_S:
            self._last_s = time.monotonic()
            self.say(line)


class LiveTicker(LivePanel, Ticker):
    """Lines on a terminal, and below them where things stand."""

    def __init__(self, console: Console | None = None) -> None:
        LivePanel.__init__(self, console, redraw_s=REDRAW_S)

    def stand(self, line: str) -> None:
        """Draw it anew, a few times a second."""
        self.draw(lambda: Text(line, no_wrap=True, overflow="ellipsis"))
