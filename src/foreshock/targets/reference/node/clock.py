"""The clock port: all the time that a node's process knows. Standard library only.

With ``--clock FILE`` the node's clocks are those that the file says, which somebody may change while the node runs;
without it they are the machine's. Everything that waits does so by these clocks too: :func:`event_loop` makes a loop
whose time they are, so that a node whose clock runs fast wakes early, as it would on a machine with a fast crystal.

The file's format is told in ``harness/backends/on_hosts/clock_file.py``, which writes it. A reader takes the sequence
number, the slot that its last bit names, and the time; when the number has changed meanwhile it begins again.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import selectors
import struct
import time
from pathlib import Path
from typing import Final

MAGIC: Final = b"FSCLOCK1"
_SIZE: Final = 128
_SEQUENCE: Final = struct.Struct("<Q")
_SEQUENCE_AT: Final = 8
_SLOT: Final = struct.Struct("<5q")
_SLOTS_AT: Final = (16, 64)
_MILLION: Final = 1_000_000
_ATTEMPTS: Final = 10
_MOMENT_NS: Final = 200_000
_LOOK_SECONDS: Final = 0.02
"""How long the node sleeps at most before it looks whether its clocks run at another pace by now."""


class NodeClock:
    """The machine's own clocks."""

    def monotonic_ns(self) -> int:
        """The clock that never goes back."""
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        """The time of day: ns since 1970."""
        return time.time_ns()

    def true_seconds(self, seconds: float) -> float:
        """For how long to sleep, of the machine's time, while these clocks advance by so much."""
        return seconds

    def describe(self) -> dict[str, int]:
        """What the clocks show, and what the machine's own do at the same moment: for ``status``."""
        for _ in range(_ATTEMPTS):
            began_ns = time.monotonic_ns()
            wall_ns, host_wall_ns = self.wall_ns(), time.time_ns()
            monotonic_ns, host_monotonic_ns = self.monotonic_ns(), time.monotonic_ns()
            if host_monotonic_ns - began_ns < _MOMENT_NS:
                break  # else this process had to wait for its turn between two of them
        return {
            "wall_ns": wall_ns,
            "monotonic_ns": monotonic_ns,
            "host_wall_ns": host_wall_ns,
            "host_monotonic_ns": host_monotonic_ns,
        }


class FileClock(NodeClock):
    """Clocks that are as far ahead of the machine's, and as fast, as a file says."""

    def __init__(self, path: Path) -> None:
        """Raises ``OSError``, and ``ValueError`` with a sentence when the file is no clock file."""
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != _SIZE or file.read(len(MAGIC)) != MAGIC:
                raise ValueError(f"{path} is no clock file")
            self._map = mmap.mmap(file.fileno(), _SIZE, access=mmap.ACCESS_READ)
        self._latest_ns = 0

    def monotonic_ns(self) -> int:
        """The clock that never goes back, whatever is written to the file."""
        host_ns, (base_ns, _, ahead_ns, _, ppm) = self._look()
        shown_ns = host_ns + ahead_ns + max(0, host_ns - base_ns) * ppm // _MILLION
        if shown_ns < self._latest_ns:
            return self._latest_ns
        self._latest_ns = shown_ns
        return shown_ns

    def wall_ns(self) -> int:
        """The time of day as the node believes: it may jump, and run fast or slow."""
        host_ns, (base_ns, ahead_ns, _, ppm, _) = self._look()
        return time.time_ns() + ahead_ns + max(0, host_ns - base_ns) * ppm // _MILLION

    def true_seconds(self, seconds: float) -> float:
        """For how long to sleep, but never so long that a change of pace would go unnoticed."""
        ppm = self._look()[1][4]
        return min(seconds * _MILLION / (_MILLION + ppm), _LOOK_SECONDS)

    def _look(self) -> tuple[int, tuple[int, int, int, int, int]]:
        """The machine's monotonic clock, and the slot in force then."""
        while True:
            (number,) = _SEQUENCE.unpack_from(self._map, _SEQUENCE_AT)
            slot = _SLOT.unpack_from(self._map, _SLOTS_AT[number & 1])
            host_ns = time.monotonic_ns()
            if _SEQUENCE.unpack_from(self._map, _SEQUENCE_AT) == (number,):
                return host_ns, slot


class _Selector(selectors.DefaultSelector):
    """Waits for as long as a clock takes to advance by the time-out."""

    def __init__(self, clock: NodeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            timeout = self._clock.true_seconds(timeout)
        return super().select(timeout)


class _Loop(asyncio.SelectorEventLoop):
    """A loop whose time is a node's. One that is woken early looks at its time again and goes back to sleep."""

    def __init__(self, clock: NodeClock) -> None:
        self._node_clock = clock  # first: the loop looks at its time while it is made
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._node_clock.monotonic_ns() / 1e9


def event_loop(clock: NodeClock) -> asyncio.AbstractEventLoop:
    """A loop all of whose waits, pauses and time-outs are by this clock."""
    return _Loop(clock) if isinstance(clock, FileClock) else asyncio.new_event_loop()
