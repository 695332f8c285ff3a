"""What to do when nobody reads our output any more (``foreshock test ... | head``).

Nothing is wrong then: the test goes on, and its exit code stands.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


def open_missing_streams() -> None:
    """Where Python was started with stdout or stderr closed, let what is written to it go nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the process's life


def silence_stdout() -> None:
    """Send what is still to be written to nowhere, so that Python does not complain at its exit either."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def reader_may_leave() -> Iterator[None]:
    """Around what writes to stdout."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
