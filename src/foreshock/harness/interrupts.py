"""What interrupts a test: Ctrl-C, SIGTERM, or a terminal that is closed (SIGHUP)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


def interrupt_signals() -> tuple[signal.Signals, ...]:
    """The signals that interrupt: of them SIGHUP only where it is not ignored, as it is under ``nohup``."""
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, signal.SIGHUP


@contextmanager
def catch_interrupts(callback: Callable[[], None]) -> Iterator[None]:
    """Call back, in the main thread, for each signal that interrupts, as long as the block lasts.

    This is for what happens outside of a runtime: histories are checked, reports are written.

    A runtime that runs within the block puts its own handlers in place of these and gives them back. Does nothing
    in another thread than the main one, which gets no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def caught(_number: int, _frame: FrameType | None) -> None:
        callback()

    before: dict[signal.Signals, Any] = {
        number: signal.signal(number, caught) for number in interrupt_signals()
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
