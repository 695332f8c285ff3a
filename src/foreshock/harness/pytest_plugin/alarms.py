"""A chaos test that an alarm cuts short, as pytest-timeout's method ``signal`` does, heals before it fails."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class HeldAlarm:
    """What the handler of the alarm raised while a chaos test ran: ``error`` is ``None`` when it raised nothing."""

    def __init__(self) -> None:
        self.error: BaseException | None = None


@contextlib.contextmanager
def hold_alarm() -> Iterator[HeldAlarm]:
    """Have an alarm interrupt the chaos test, as Ctrl-C does; who called raises what it raised when all is healed.

    Raised where the signal finds the program, it would be the failure of whichever task was running: of an operation,
    or of the step that heals; and the test would go on. A handler that raises nothing changes nothing.
    """
    alarm = HeldAlarm()
    handler = signal.getsignal(signal.SIGALRM)
    if not callable(handler):
        yield alarm
        return

    def rang(number: int, frame: FrameType | None) -> None:
        try:
            handler(number, frame)
        except BaseException as error:  # noqa: BLE001 - it is raised when the cluster is torn down
            alarm.error = error.with_traceback(None)
            signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGALRM, rang)
    try:
        yield alarm
    finally:
        signal.signal(signal.SIGALRM, handler)
