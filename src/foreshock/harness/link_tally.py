"""What arrived of numbered probes over one link."""

from __future__ import annotations

from foreshock.harness.capabilities import LinkReading


class LinkTally:
    """Counts the probes over one link as they arrive; times are ns of one clock."""

    __slots__ = ("_corrupted", "_delays_ns", "_duplicates", "_last", "_overtaken", "sent_ns")

    def __init__(self, count: int) -> None:
        self.sent_ns = [0] * count
        """When each was sent."""
        self._delays_ns: dict[int, int] = {}
        self._duplicates = 0
        self._overtaken = 0
        self._corrupted = 0
        self._last = -1

    def arrived(self, number: int, now_ns: int, *, corrupted: bool = False) -> None:
        """One probe came, for the first time or once more."""
        if number in self._delays_ns:
            self._duplicates += 1
            return
        self._delays_ns[number] = now_ns - self.sent_ns[number]
        self._corrupted += corrupted
        if number > self._last:
            self._last = number
        else:
            self._overtaken += 1

    def reading(self) -> LinkReading:
        """The figures so far."""
        delays_us = sorted(delay_ns // 1_000 for delay_ns in self._delays_ns.values())
        middle = (len(delays_us) - 1) // 2
        return LinkReading(
            sent=len(self.sent_ns),
            arrived=len(delays_us),
            duplicates=self._duplicates,
            overtaken=self._overtaken,
            corrupted=self._corrupted,
            delay_us=(delays_us[0], delays_us[middle], delays_us[-1]) if delays_us else (0, 0, 0),
        )
