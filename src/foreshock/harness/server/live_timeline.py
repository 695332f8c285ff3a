"""Operations over time, in a bounded number of slices: as a test grows longer, its slices grow wider.

Latencies are kept as counts in bins whose bounds are about a tenth apart, so that slices can be merged and a quantile
of any of them is right to that precision.
"""

from __future__ import annotations

from typing import Any, Final

SLICE_NS: Final = 500_000_000
"""How long a slice is at first."""
SLICES_MAX: Final = 480
OUTCOMES: Final = ("ok", "fail", "info")
_BINS_AN_OCTAVE: Final = 8
_SECOND_NS: Final = 1_000_000_000


def bin_of(latency_ns: int) -> int:
    """The bin of a latency; below a microsecond all are alike."""
    us = max(latency_ns // 1_000, 1)
    octave = us.bit_length() - 1
    return octave * _BINS_AN_OCTAVE + ((us << 3 >> octave) & 7)


def milliseconds_of(number: int) -> float:
    """The middle of a bin."""
    octave, part = divmod(number, _BINS_AN_OCTAVE)
    return round((8.5 + part) / 8 * (1 << octave) / 1_000, 4)


class _Slice:
    __slots__ = ("bins", "counts")

    def __init__(self) -> None:
        self.counts = [0, 0, 0]
        self.bins: dict[int, int] = {}

    def take_in(self, other: _Slice) -> None:
        for i, count in enumerate(other.counts):
            self.counts[i] += count
        for number, count in other.bins.items():
            self.bins[number] = self.bins.get(number, 0) + count


def quantiles(bins: dict[int, int]) -> tuple[float, float] | None:
    """The median and the 99th percentile, in ms; ``None`` where nothing was measured."""
    total = sum(bins.values())
    if not total:
        return None
    wanted, seen = [0.5 * total, 0.99 * total], 0
    found: list[float] = []
    for number in sorted(bins):
        seen += bins[number]
        while len(found) < len(wanted) and seen >= wanted[len(found)]:
            found.append(milliseconds_of(number))
    return found[0], found[-1]


class Timeline:
    """Completions by slice of time: how many of each outcome, and how long those that were ok took."""

    def __init__(self) -> None:
        self.slice_ns = SLICE_NS
        self._slices: list[_Slice] = []
        self._changed_from = 0

    def add(self, at_ns: int, outcome: str, latency_ns: int | None) -> None:
        """Count a completion; ``latency_ns`` where it is known."""
        place = max(at_ns, 0) // self.slice_ns
        while place >= SLICES_MAX:
            self._widen()
            place = max(at_ns, 0) // self.slice_ns
        while len(self._slices) <= place:
            self._slices.append(_Slice())
        found = self._slices[place]
        found.counts[OUTCOMES.index(outcome)] += 1
        if outcome == "ok" and latency_ns is not None and latency_ns >= 0:
            number = bin_of(latency_ns)
            found.bins[number] = found.bins.get(number, 0) + 1
        self._changed_from = min(self._changed_from, place)

    def _widen(self) -> None:
        """Make every slice twice as long: two neighbours become one."""
        self.slice_ns *= 2
        for left, right in zip(self._slices[::2], self._slices[1::2], strict=False):
            left.take_in(right)
        self._slices = self._slices[::2]
        self._changed_from = 0

    def changes(self) -> dict[str, Any]:
        """The slices since the first that has changed since the last call, as columns."""
        start, self._changed_from = self._changed_from, len(self._slices)
        return self._columns(start)

    def whole(self) -> dict[str, Any]:
        """All slices as columns; ``from`` is the number of the first, ``p50`` and ``p99`` are in ms."""
        return self._columns(0)

    def _columns(self, start: int) -> dict[str, Any]:
        chosen = self._slices[start:]
        measured = [quantiles(each.bins) for each in chosen]
        return {
            "from": start,
            "width_s": self.slice_ns / _SECOND_NS,
            **{name: [each.counts[i] for each in chosen] for i, name in enumerate(OUTCOMES)},
            "p50": [each and each[0] for each in measured],
            "p99": [each and each[1] for each in measured],
        }
