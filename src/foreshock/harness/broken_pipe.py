"""What to do when nobody reads our output any more (``foreshock test ... | head``).

Nothing is wrong then: the test goes on, and its exit code stands.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


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
