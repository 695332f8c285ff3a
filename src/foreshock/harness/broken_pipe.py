"""What to do when nobody reads our output any more (``foreshock test ... | head``).

Nothing is wrong then: the test goes on, and its exit code stands.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator


def open_missing_streams() -> None:
    """Where Python was started with stdin, stdout or stderr closed, let them lead nowhere, here and in processes begun.

    Otherwise the next file that is opened, such as a history, has the number of stdout, and whoever writes to that
    writes into it; and a process that is begun has no stdout, either.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(
                os.open(os.devnull, os.O_RDWR), True
            )  # the lowest number that is free is this one
        if number and getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115 - for life


def spell_out_what_cannot_be_encoded() -> None:
    """Where stdout or stderr cannot take a character, such as a check mark in ASCII, let it be spelt by its number."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


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
