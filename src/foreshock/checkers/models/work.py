"""Work that knows when to stop: after so many steps, or when the limits of a check are reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from foreshock.checkers.search import Limits

ASK_EVERY: Final = 8_192
"""So many steps are taken before the limits are looked at again: some milliseconds."""


class GaveUp(Exception):
    """Something would take too long; what it was for has to do without."""


class Work:
    """Counts steps, and raises :class:`GaveUp` when there were more than ``steps_max``, or the limits say so."""

    def __init__(self, steps_max: int, limits: Limits | None = None) -> None:
        self._limits = limits
        self._left = steps_max
        self._unasked = 0
        self.steps = 0

    def add(self, steps: int) -> None:
        """Count some more steps."""
        self.steps += steps
        self._left -= steps
        self._unasked += steps
        if self._left < 0:
            raise GaveUp
        if self._unasked >= ASK_EVERY:
            self._unasked = 0
            if self._limits is not None and self._limits.exceeded():
                raise GaveUp
