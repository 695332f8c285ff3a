"""From values to places on a plot, and from times and counts to text."""

from __future__ import annotations

import math
from typing import NamedTuple

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
_MINUS = "−"


class Linear(NamedTuple):
    """A linear scale from ``[low, high]`` to ``[start, stop]``; a value outside keeps to the edge."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        if self.high <= self.low:
            return self.start
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.stop - self.start)


class Logarithmic(NamedTuple):
    """A logarithmic scale from ``[low, high]``, both positive, to ``[start, stop]``."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """The place of a value; what is below ``low`` keeps to the edge."""
        return Linear(math.log(self.low), math.log(self.high), self.start, self.stop)(
            math.log(max(value, self.low))
        )


def nice_step(span: float, count: int) -> float:
    """The least of 1, 2 or 5 times a power of ten that divides ``span`` into at most ``count`` parts."""
    if span <= 0:
        return 1.0
    raw = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    for factor in (1, 2, 5, 10):
        if factor * power >= raw * (1 - 1e-9):
            return factor * power
    return 10 * power


def linear_ticks(high: float, count: int) -> list[float]:
    """Round values from 0 up to ``high``, about ``count`` of them."""
    step = nice_step(high, count)
    return [index * step for index in range(int(high / step + 1e-9) + 1)]


def decade_ticks(low: float, high: float) -> list[float]:
    """The powers of ten within ``[low, high]``."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    return [10.0**exponent for exponent in range(first, last + 1)]


def number(value: float) -> str:
    """A count or measure, thousands apart by thin spaces, three figures where it is small."""
    if value < 0:
        return _MINUS + number(-value)
    if value >= 100 or value == int(value):
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"


def counted(count: int, noun: str) -> str:
    """A count with its noun, which takes an s unless there is one."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def duration(ns: float) -> str:
    """A length of time in the unit that suits it."""
    if ns < 0:
        return _MINUS + duration(-ns)
    for unit, size in (("s", NS_PER_S), ("ms", NS_PER_MS), ("µs", NS_PER_US)):
        if ns >= size:
            return f"{number(float(f'{ns / size:.3g}'))} {unit}"
    return f"{number(ns)} ns"


def moment(ns: float) -> str:
    """A point in time since the start of the test, to the millisecond."""
    return f"{ns / NS_PER_S:,.3f} s".replace(",", " ")


def percent(share: float) -> str:
    """A share as a percentage; never rounded up to 100 % or down to 0 %."""
    value = share * 100
    if value in (0, 100):
        return f"{value:.0f} %"
    return f"{min(max(value, 0.01), 99.99):.2f} %" if value > 99 or value < 1 else f"{value:.1f} %"


def bytes_text(size: int) -> str:
    """A size in the unit that suits it."""
    for unit, scale in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= scale:
            return f"{number(float(f'{size / scale:.3g}'))} {unit}"
    return f"{size} B"
