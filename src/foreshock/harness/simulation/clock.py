"""The clock of one simulated node: virtual time, shifted and stretched."""

from __future__ import annotations

from typing import Final

from foreshock.harness.errors import HarnessError
from foreshock.harness.simulation.scheduler import Scheduler

BILLION: Final = 1_000_000_000
DRIFT_MAX_PPB: Final = 900_000_000


class NodeClock:
    """A node's clock: true time + offset + drift. Timers run by its rate but do not follow its jumps."""

    __slots__ = ("_anchor_local_ns", "_anchor_ns", "_drift_ppb", "_scheduler", "true")

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._anchor_ns = 0
        self._anchor_local_ns = 0
        self._drift_ppb = 0
        self.true = True
        """Whether the clock has never been touched, so that it shows virtual time itself."""

    def now(self) -> int:
        """What the clock shows, in ns."""
        elapsed_ns = self._scheduler.now - self._anchor_ns
        return self._anchor_local_ns + elapsed_ns + elapsed_ns * self._drift_ppb // BILLION

    def offset_ns(self) -> int:
        """How far the clock is ahead of true time (negative: behind)."""
        return self.now() - self._scheduler.now

    def jump(self, by_ns: int) -> None:
        """Set the clock forward, or back when negative."""
        self._anchor()
        self._anchor_local_ns += by_ns

    def drift(self, parts_per_billion: int) -> None:
        """From now on run fast (or slow, when negative) by so many ns a second; zero keeps the offset."""
        if abs(parts_per_billion) > DRIFT_MAX_PPB:
            raise HarnessError(f"a clock cannot drift by {parts_per_billion} ppb: at most {DRIFT_MAX_PPB}")
        self._anchor()
        self._drift_ppb = parts_per_billion

    def reset(self) -> None:
        """Show true time again."""
        self._anchor_ns = self._anchor_local_ns = self._drift_ppb = 0
        self.true = True

    def true_duration(self, local_ns: int) -> int:
        """How much true time passes while this clock advances by ``local_ns``."""
        return local_ns * BILLION // (BILLION + self._drift_ppb)

    def _anchor(self) -> None:
        local_ns = self.now()
        self._anchor_ns, self._anchor_local_ns = self._scheduler.now, local_ns
        self.true = False
