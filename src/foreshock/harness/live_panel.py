"""A panel on a terminal that is drawn anew, with lines above it that stay; it is gone at its end."""

from __future__ import annotations

import contextlib
import sys
import termios
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from foreshock.harness.patient_console import PatientConsole

LOCAL_MODES: Final = 3  # where termios keeps the local modes (termios(3))


class LivePanel:
    """The panel, drawn at most every ``redraw_s`` seconds. A terminal that is gone is no error: nobody looks then."""

    def __init__(self, console: Console | None = None, *, redraw_s: float) -> None:
        self._console = console or PatientConsole(stderr=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._redraw_s = redraw_s
        self._last_s = 0.0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(no_caret_c())
        with contextlib.suppress(OSError):
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._live.stop()
        self._stack.close()

    def say(self, line: str) -> None:
        """A line that stays, above the panel."""
        with contextlib.suppress(OSError):
            self._console.print(Text.assemble(("foreshock: ", "dim"), line))

    def draw(self, make: Callable[[], RenderableType]) -> None:
        """Draw what ``make`` gives, when it is time to."""
        if time.monotonic() - self._last_s >= self._redraw_s:
            self._last_s = time.monotonic()
            with contextlib.suppress(OSError):
                self._live.update(make(), refresh=True)


def say_on_stderr(line: str) -> None:
    """One line, where there is no terminal."""
    with contextlib.suppress(OSError, ValueError):  # whoever read it may have gone away
        sys.stderr.write(f"foreshock: {line}\n")
        sys.stderr.flush()


@contextlib.contextmanager
def no_caret_c() -> Iterator[None]:
    """Keep the terminal from echoing Ctrl-C as ``^C`` into the panel; other keys are echoed as ever."""
    try:
        before = termios.tcgetattr(sys.stdin)
        quiet = list(before)
        quiet[LOCAL_MODES] = before[LOCAL_MODES] & ~termios.ECHOCTL
        termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    except (termios.error, OSError, ValueError):
        yield  # stdin is no terminal: then nobody types into it
        return
    try:
        yield
    finally:
        with contextlib.suppress(termios.error, OSError, ValueError):
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
