"""Ctrl-C and SIGTERM outside of a runtime: while histories are checked and reports are written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def catch_interrupts(callback: Callable[[], None]) -> Iterator[None]:
    """Call back, in the main thread, for each SIGINT or SIGTERM, as long as the block lasts.

    A runtime that runs within the block puts its own handlers in place of these and gives them back. Does nothing
    in another thread than the main one, which gets no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def caught(_number: int, _frame: FrameType | None) -> None:
        callback()

    before: dict[signal.Signals, Any] = {number: signal.signal(number, caught) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
