"""The two clocks of one simulated node, monotonic and wall: virtual time, stretched and shifted.

A node's oscillator may *drift*: both clocks then run fast or slow, and so do timers. The wall clock may drift alone,
when a time server slews it. A *jump* (an administrator, a time server that steps, a leap of a virtual machine's host)
sets the wall clock alone: a monotonic clock only goes forward, as ``clock_gettime(2)`` has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from foreshock.harness.errors import HarnessError
from foreshock.harness.simulation.scheduler import Scheduler

BILLION: Final = 1_000_000_000
DRIFT_MAX_PPB: Final = 900_000_000


class NodeClock:
    """A node's clocks: the monotonic one follows the drift, the wall clock drift and jumps. Both begin at 0.

    The monotonic one begins at 0 again whenever the machine does.
    """

    __slots__ = (
        "_anchor_local_ns",
        "_anchor_ns",
        "_jumped_ns",
        "_scheduler",
        "_slewed",
        "_wall_anchor_ns",
        "drift_ppb",
        "true",
        "wall_drift_ppb",
    )

    def __init__(self, scheduler: Scheduler, slewed: Callable[[int], None] = lambda _: None) -> None:
        self._scheduler = scheduler
        self._slewed = slewed
        self._anchor_ns = 0
        self._anchor_local_ns = 0
        self._jumped_ns = 0
        self.drift_ppb = 0
        """How many ns a second the clocks gain; negative: lose."""
        self.wall_drift_ppb = 0
        """How many the wall clock gains beyond that."""
        self._wall_anchor_ns = 0
        self.true = True
        """Whether the monotonic clock has never drifted nor begun again, so that it shows virtual time itself."""

    def now(self) -> int:
        """What the monotonic clock shows, in ns."""
        elapsed_ns = self._scheduler.now - self._anchor_ns
        return self._anchor_local_ns + elapsed_ns + elapsed_ns * self.drift_ppb // BILLION

    def wall_now(self) -> int:
        """What the wall clock shows: ns since the simulation began, as the node believes."""
        return self.now() + self._jumped_ns + self._slewed_ns()

    def wall_offset_ns(self) -> int:
        """How far the wall clock is ahead of true time (negative: behind)."""
        return self.wall_now() - self._scheduler.now

    def jump(self, by_ns: int) -> None:
        """Set the wall clock forward, or back when negative."""
        self._jumped_ns += by_ns

    def drift(self, parts_per_billion: int) -> None:
        """From now on run fast (or slow, when negative) by so many ns a second; zero keeps what was gained so far."""
        _check(parts_per_billion)
        self._slew_wall(0)
        if parts_per_billion == self.drift_ppb:
            return
        self._anchor_ns, self._anchor_local_ns = self._scheduler.now, self.now()
        self.true = False
        before_ppb, self.drift_ppb = self.drift_ppb, parts_per_billion
        self._slewed(before_ppb)

    def drift_wall(self, parts_per_billion: int) -> None:
        """From now on the wall clock alone gains so many ns a second, or loses them; the other clock runs true."""
        _check(parts_per_billion)
        self.drift(0)
        self._slew_wall(parts_per_billion)

    def reset(self) -> None:
        """Stop the drift and set the wall clock right; the monotonic one keeps what it has gained."""
        self.drift(0)
        self._jumped_ns = self._scheduler.now - self.now()

    def reboot(self) -> None:
        """The machine starts anew: the monotonic clock begins at 0 again, the wall clock has a battery of its own."""
        wall_ns = self.wall_now()
        self._anchor_ns, self._anchor_local_ns = self._scheduler.now, 0
        self.true = False
        self._jumped_ns = wall_ns - self._slewed_ns()

    def true_duration(self, local_ns: int) -> int:
        """How much true time passes while these clocks advance by ``local_ns``, at the least."""
        return -(-local_ns * BILLION // (BILLION + self.drift_ppb))

    def _slewed_ns(self) -> int:
        """What the wall clock has gained by itself since it began to run at its own pace."""
        return (self._scheduler.now - self._wall_anchor_ns) * self.wall_drift_ppb // BILLION

    def _slew_wall(self, parts_per_billion: int) -> None:
        self._jumped_ns += self._slewed_ns()
        self._wall_anchor_ns, self.wall_drift_ppb = self._scheduler.now, parts_per_billion


def _check(parts_per_billion: int) -> None:
    if abs(parts_per_billion) > DRIFT_MAX_PPB:
        raise HarnessError(f"a clock cannot drift by {parts_per_billion} ppb: at most {DRIFT_MAX_PPB}")
