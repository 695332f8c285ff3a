"""Whether a difference between two runs can be told from noise, in numpy and in words.

The operations of a run are not independent: a slow one has slow neighbours, and a fault makes a hundred of them slow.
A test that takes them for independent calls every difference of two runs significant. So runs are resampled in
blocks of time: the circular block bootstrap (Politis and Romano, "A circular block-resampling procedure for
stationary data", 1992). What it cannot see is what differs from run to run, and every sentence here is of two runs.

Latencies are counted in bins one per cent wide, block by block, so that a million operations cost what a thousand do.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from foreshock.reports.columns import Floats, Integers, Mask

SLICES: Final = 160
"""Slices of time of a run; a block begins at any of them."""
SLICES_IN_BLOCK: Final = 8
"""A block is a twentieth of a run: longer than most faults and their aftermath."""
RESAMPLES: Final = 1_000
OPERATIONS_MIN: Final = 40
SAMPLES_MIN: Final = 5
LEVEL: Final = 0.95
_SEED: Final = 20260101
_BIN: Final = math.log(1.01)


class Interval(NamedTuple):
    """An estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float

    def told_from(self, value: float) -> bool:
        """Whether the interval leaves a value out."""
        return not self.low <= value <= self.high


class Sample(NamedTuple):
    """Latencies of one run, counted by slice of time and by bin; ``lowest`` is the first bin."""

    counts: Floats
    lowest: int
    sorted_ns: Integers

    @property
    def size(self) -> int:
        """How many latencies there are."""
        return len(self.sorted_ns)

    def quantile(self, share: float) -> float | None:
        """The nearest-rank quantile: a latency that was really measured."""
        if not self.size:
            return None
        return float(self.sorted_ns[max(math.ceil(share * self.size) - 1, 0)])


def sample_of(times_ns: Integers, latency_ns: Integers, end_ns: int, chosen: Mask) -> Sample:
    """Count the chosen latencies. ``times_ns`` says in which slice of the run each counts."""
    times, latency = times_ns[chosen], np.maximum(latency_ns[chosen], 1)
    bins = np.floor(np.log(latency) / _BIN).astype(np.int64)
    lowest = int(bins.min()) if len(bins) else 0
    width = int(bins.max()) - lowest + 1 if len(bins) else 1
    slices = np.clip(times * SLICES // max(end_ns, 1), 0, SLICES - 1)
    flat = np.bincount(slices * width + bins - lowest, minlength=SLICES * width)
    return Sample(flat.reshape(SLICES, width).astype(np.float64), lowest, np.sort(latency))


def _resampled(values: Floats, stream: int) -> Floats:
    """``RESAMPLES`` sums over as many blocks as make a run, of values by slice; shape (resamples, columns)."""
    doubled = np.concatenate((values, values[:SLICES_IN_BLOCK]))
    sums = np.concatenate((np.zeros((1, values.shape[1])), np.cumsum(doubled, axis=0)))
    blocks = sums[SLICES_IN_BLOCK : SLICES_IN_BLOCK + SLICES] - sums[:SLICES]
    draws = np.random.default_rng((_SEED, stream)).integers(0, SLICES, (RESAMPLES, SLICES // SLICES_IN_BLOCK))
    weights = np.zeros((RESAMPLES, SLICES))
    np.add.at(weights, (np.arange(RESAMPLES)[:, None], draws), 1.0)
    return np.asarray(weights @ blocks, dtype=np.float64)


class Resampled(NamedTuple):
    """A sample and its resamples, counted by bin and summed up from the lowest bin on."""

    sample: Sample
    cumulated: Floats

    def quantiles(self, share: float) -> Floats:
        """The quantile of each resample, to a bin's width; NaN where a resample drew nothing."""
        totals = self.cumulated[:, -1]
        found = (self.cumulated < (share * totals)[:, None]).sum(axis=1)
        middle = np.exp((self.sample.lowest + found + 0.5) * _BIN)
        return np.asarray(np.where(totals > 0, middle, np.nan), dtype=np.float64)


def resample(sample: Sample, stream: int) -> Resampled:
    """Resample in blocks of time; ``stream`` keeps the draws of two runs apart."""
    return Resampled(sample, np.cumsum(_resampled(sample.counts, stream), axis=1))


def quantile_ratio(first: Resampled, second: Resampled, share: float) -> Interval | None:
    """Second over first of a quantile; ``None`` where there are too few operations to say."""
    one, other = first.sample.quantile(share), second.sample.quantile(share)
    few = min(first.sample.size, second.sample.size) * (1 - share) < 1
    if one is None or other is None or few or min(first.sample.size, second.sample.size) < OPERATIONS_MIN:
        return None
    return _interval(other / one, second.quantiles(share) / first.quantiles(share))


def rate_ratio(first: Floats, second: Floats, first_s: float, second_s: float) -> Interval | None:
    """Second over first of operations a second, from counts by slice."""
    if min(first.sum(), second.sum()) < OPERATIONS_MIN or min(first_s, second_s) <= 0:
        return None
    scale = first_s / second_s
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = _resampled(second[:, None], 2)[:, 0] / _resampled(first[:, None], 1)[:, 0] * scale
    return _interval(float(second.sum() / first.sum()) * scale, ratios)


def _interval(estimate: float, ratios: Floats) -> Interval | None:
    known = ratios[np.isfinite(ratios)]
    if len(known) < len(ratios) / 2:
        return None
    tail = (1 - LEVEL) / 2
    low, high = (float(value) for value in np.quantile(known, (tail, 1 - tail)))
    return Interval(estimate, min(low, estimate), max(high, estimate))


class RankTest(NamedTuple):
    """Mann and Whitney's test of two independent samples, by its normal approximation with ties (1947).

    ``longer`` is the chance that one of the second is greater than one of the first, ties half: 0.5 is no difference.
    """

    longer: float
    p: float


def rank_test(first: Floats, second: Floats) -> RankTest | None:
    """Compare two samples of independent measurements; ``None`` where either has fewer than five."""
    n, m = len(first), len(second)
    if min(n, m) < SAMPLES_MIN:
        return None
    every = np.concatenate((first, second))
    _, places, ties = np.unique(every, return_inverse=True, return_counts=True)
    ends = np.cumsum(ties)
    ranks = (ends - (ties - 1) / 2)[places]
    wins = float(ranks[n:].sum()) - m * (m + 1) / 2
    size = n + m
    spread = n * m / 12 * (size + 1 - float((ties**3 - ties).sum()) / (size * (size - 1)))
    if spread <= 0:
        return RankTest(0.5, 1.0)
    z = max(abs(wins - n * m / 2) - 0.5, 0.0) / math.sqrt(spread)
    return RankTest(wins / (n * m), math.erfc(z / math.sqrt(2)))


def paired_ratio(first: Floats, second: Floats) -> Interval | None:
    """The median of second over first, pair by pair, with its interval; ``None`` for fewer than five pairs."""
    if len(first) < SAMPLES_MIN:
        return None
    ratios = second / np.maximum(first, 1e-9)
    # Over a few thousand pairs the median's interval is as narrow as anybody wants; memory stays bounded.
    draws = np.random.default_rng((_SEED, 3)).integers(0, len(ratios), (400, min(len(ratios), 4_000)))
    return _interval(float(np.median(ratios)), np.median(ratios[draws], axis=1))


def in_words(
    interval: Interval | None, did: str = "took", measure: str = "as long", found: str = "more than noise"
) -> str:
    """What an interval of a ratio says, in one sentence: which of the two did more, and whether that is noise.

    ``found`` is what a difference is called that the interval tells from none.
    """
    if interval is None:
        return "too few operations to tell"
    low, high, ratio = interval.low, interval.high, max(interval.estimate, 1e-9)
    if not interval.told_from(1.0):
        return f"cannot be told from noise (95 % interval of B over A: {low:.3g} to {high:.3g})"
    if abs(math.log(ratio)) < math.log(1.05):
        return f"differs, by less than 5 % (95 % interval of B over A: {low:.3g} to {high:.3g})"
    who = "B" if ratio > 1 else "A"
    if ratio < 1:
        low, high, ratio = 1 / high, 1 / low if low > 0 else math.inf, 1 / ratio
    return f"{found}: {who} {did} {ratio:.3g} times {measure} (95 % interval {low:.3g} to {high:.3g})"
