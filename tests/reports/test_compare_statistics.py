"""Differences told from noise: how often noise is taken for a difference, and how small a difference is seen."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from foreshock.reports.compare_statistics import (
    SLICES,
    Interval,
    in_words,
    paired_ratio,
    quantile_ratio,
    rank_test,
    rate_ratio,
    resample,
    sample_of,
)

END_NS = 60_000_000_000
OPERATIONS = 3_000


def bursty(seed: int, slower: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Latencies as a cluster under faults has them: one operation in five falls into a stretch of slow ones."""
    rng = np.random.default_rng(seed)
    at = np.sort(rng.integers(0, END_NS, OPERATIONS))
    latency = rng.lognormal(np.log(2e6), 0.4, OPERATIONS)
    for start in rng.integers(0, END_NS, 8):
        slow = (at >= start) & (at < start + END_NS // 40)
        latency[slow] *= rng.uniform(3, 30)
    return at, (latency * slower).astype(np.int64)


def compared(seed: int, slower: float, share: float) -> Interval:
    samples = []
    for stream, (run, factor) in enumerate(((2 * seed, 1.0), (2 * seed + 1, slower)), start=1):
        at, latency = bursty(run, factor)
        samples.append(resample(sample_of(at, latency, END_NS, np.ones(len(at), dtype=np.bool_)), stream))
    interval = quantile_ratio(samples[0], samples[1], share)
    assert interval is not None
    return interval


@pytest.mark.parametrize("share", [0.9, 0.99])
def test_bursts_of_the_same_system_are_seldom_taken_for_a_difference(share: float) -> None:
    assert sum(compared(seed, 1.0, share).told_from(1.0) for seed in range(30)) <= 3


def test_an_interval_that_takes_operations_for_independent_would_see_differences_everywhere() -> None:
    rng, told = np.random.default_rng(0), 0
    for seed in range(30):
        one, other = (bursty(2 * seed + side)[1] for side in (0, 1))
        drawn = [np.quantile(rng.choice(each, (100, OPERATIONS)), 0.9, axis=1) for each in (one, other)]
        low, high = np.quantile(drawn[1] / drawn[0], (0.025, 0.975))
        told += not low <= 1 <= high
    assert told > 15  # which is why runs are resampled in blocks of time


def test_a_system_that_is_half_as_fast_again_is_told_from_noise() -> None:
    told = [compared(seed, 1.5, 0.5) for seed in range(10)]
    assert sum(interval.told_from(1.0) for interval in told) == 10
    assert np.median([interval.estimate for interval in told]) == pytest.approx(1.5, rel=0.1)


def test_quantiles_are_latencies_that_were_measured_and_bins_change_them_by_a_hundredth() -> None:
    at, latency = bursty(1)
    sample = sample_of(at, latency, END_NS, np.ones(len(at), dtype=np.bool_))
    for share in (0.5, 0.9, 0.99, 1.0):
        assert sample.quantile(share) == np.quantile(latency, share, method="inverted_cdf")
    middle = np.median(resample(sample, 1).quantiles(0.5))
    assert middle == pytest.approx(np.median(latency), rel=0.05)


def test_of_too_few_operations_nothing_is_said() -> None:
    at, latency = np.arange(20) * 1_000_000, np.full(20, 1_000_000)
    few = resample(sample_of(at, latency, END_NS, np.ones(20, dtype=np.bool_)), 1)
    assert quantile_ratio(few, few, 0.5) is None
    nothing = sample_of(at, latency, END_NS, np.zeros(20, dtype=np.bool_))
    assert nothing.quantile(0.5) is None
    assert in_words(None) == "too few operations to tell"


def test_a_rate_is_compared_a_second_and_not_a_run() -> None:
    steady = np.full(SLICES, 10.0)
    interval = rate_ratio(steady, steady, 30.0, 60.0)
    assert interval is not None
    assert interval.estimate == pytest.approx(0.5)
    assert interval.told_from(1.0)
    assert in_words(interval, "did", "as many").startswith("more than noise: A did 2 times as many")


def test_a_rate_with_long_silences_is_not_told_from_another() -> None:
    rng = np.random.default_rng(4)
    silent = [np.where(np.repeat(rng.random(SLICES // 8) < 0.4, 8), 0.0, 10.0) for _ in range(2)]
    interval = rate_ratio(silent[0], silent[1], 60.0, 60.0)
    assert interval is not None
    assert not interval.told_from(1.0)


def test_the_rank_test_agrees_with_every_order_counted() -> None:
    first, second = np.array([1.0, 4, 4, 9, 12, 13]), np.array([4.0, 10, 11, 12, 20, 21])
    every = np.concatenate((first, second))

    def wins(chosen: tuple[int, ...]) -> float:
        others = np.delete(every, chosen)
        picked = every[list(chosen)]
        return float((picked[:, None] > others).sum() + 0.5 * (picked[:, None] == others).sum())

    seen = wins(tuple(range(6, 12)))
    counts = [abs(wins(chosen) - 18) >= abs(seen - 18) for chosen in combinations(range(12), 6)]
    test = rank_test(first, second)
    assert test is not None
    assert test.longer == pytest.approx(seen / 36)
    assert test.p == pytest.approx(sum(counts) / len(counts), abs=0.02)


def test_the_rank_test_knows_when_it_cannot_be_asked_and_when_all_is_equal() -> None:
    assert rank_test(np.ones(4), np.ones(9)) is None
    same = rank_test(np.ones(7), np.ones(9))
    assert same is not None
    assert (same.longer, same.p) == (0.5, 1.0)


def test_pairs_are_compared_one_by_one_however_different_the_tests_are() -> None:
    rng = np.random.default_rng(2)
    first = rng.lognormal(0, 2, 200)
    slower = paired_ratio(first, first * rng.normal(1.2, 0.05, 200))
    assert slower is not None
    assert slower.estimate == pytest.approx(1.2, rel=0.02)
    assert slower.told_from(1.0)
    same = [paired_ratio(first, first * rng.normal(1.0, 0.05, 200)) for _ in range(40)]
    assert sum(interval is not None and interval.told_from(1.0) for interval in same) <= 6
    assert paired_ratio(first[:4], first[:4]) is None


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        (Interval(1.5, 0.9, 2.0), "cannot be told from noise (95 % interval of B over A: 0.9 to 2)"),
        (Interval(1.02, 1.01, 1.03), "differs, by less than 5 % (95 % interval of B over A: 1.01 to 1.03)"),
        (Interval(2.0, 1.5, 2.5), "more than noise: B took 2 times as long (95 % interval 1.5 to 2.5)"),
        (Interval(0.5, 0.4, 0.8), "more than noise: A took 2 times as long (95 % interval 1.25 to 2.5)"),
    ],
)
def test_an_interval_is_said_in_one_sentence(interval: Interval, words: str) -> None:
    assert in_words(interval) == words
