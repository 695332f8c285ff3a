from __future__ import annotations

from fractions import Fraction
from math import comb

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.harness.capabilities import LinkReading, LinkShape
from foreshock.nemesis.packet_evidence import (
    COUNT_MAX,
    NOISE,
    UNLIKELY,
    binomial_bounds,
    burst_for,
    unlike_before,
    unlike_shape,
)

USUAL = LinkReading(sent=200, arrived=200, duplicates=0, overtaken=0, corrupted=0, delay_us=(40, 60, 300))


def probability(count: int, chance_ppm: int, events: range) -> Fraction:
    chance = Fraction(chance_ppm, 1_000_000)
    return sum((comb(count, k) * chance**k * (1 - chance) ** (count - k) for k in events), start=Fraction(0))


@given(st.integers(1, 120), st.integers(1, 999_999))
def test_outside_of_the_bounds_is_too_unlikely_and_the_bounds_themselves_are_not(
    count: int, chance_ppm: int
) -> None:
    fewest, most = binomial_bounds(count, chance_ppm)
    limit = Fraction(1, UNLIKELY)
    assert probability(count, chance_ppm, range(fewest)) <= limit
    assert probability(count, chance_ppm, range(most + 1, count + 1)) <= limit
    assert probability(count, chance_ppm, range(fewest + 1)) > limit
    assert probability(count, chance_ppm, range(most, count + 1)) > limit


def test_what_is_certain_has_no_bounds_around_it() -> None:
    assert (binomial_bounds(50, 0), binomial_bounds(50, 1_000_000), binomial_bounds(0, 5)) == (
        (0, 0),
        (50, 50),
        (0, 0),
    )


@pytest.mark.parametrize("percent", [2, 5, 10, 30, 90])
@pytest.mark.parametrize("what", ["loss_ppm", "duplicate_ppm", "corrupt_ppm"])
def test_a_burst_is_long_enough_to_tell_the_shape_from_a_clean_link(what: str, percent: int) -> None:
    shape = LinkShape(**{what: percent * 10_000})
    burst = burst_for([shape])
    assert burst.probes <= COUNT_MAX
    clean = LinkReading(
        sent=burst.probes,
        arrived=burst.probes - NOISE,
        duplicates=NOISE,
        overtaken=NOISE,
        corrupted=NOISE,
        delay_us=USUAL.delay_us,
    )
    assert unlike_before(USUAL, clean) is None
    assert unlike_shape(shape, USUAL, clean, 0) is not None


def test_a_busy_machine_is_no_fault_and_no_healing_either() -> None:
    busy = LinkReading(
        sent=200, arrived=199, duplicates=0, overtaken=1, corrupted=0, delay_us=(900, 20_000, 90_000)
    )
    assert unlike_before(USUAL, busy) is None
    for shape in (LinkShape(delay_us=30_000), LinkShape(delay_us=100_000, jitter_us=30_000)):
        assert "in place of" in (unlike_shape(shape, USUAL, busy, 0) or "")
        later_us = (shape.delay_us - shape.jitter_us + 900, shape.delay_us + 40_000, shape.delay_us + 90_000)
        assert unlike_shape(shape, USUAL, msgspec.structs.replace(busy, delay_us=later_us), 0) is None


def test_a_delay_that_is_too_long_is_told_from_a_busy_machine() -> None:
    shape = LinkShape(delay_us=30_000)
    late = LinkReading(
        sent=200, arrived=199, duplicates=0, overtaken=0, corrupted=0, delay_us=(60_000, 61_000, 90_000)
    )
    assert "59960 us longer in place of 47500 us at most" in (unlike_shape(shape, USUAL, late, 0) or "")
    assert unlike_shape(shape, USUAL, late, 13_000) is None  # links without a shape are as much slower


def test_a_link_that_still_has_a_rate_is_told_from_a_busy_machine() -> None:
    queued = LinkReading(
        sent=200, arrived=200, duplicates=0, overtaken=0, corrupted=0, delay_us=(60, 300_000, 700_000)
    )
    assert "half of the probes took 299940 us longer than before" in (unlike_before(USUAL, queued) or "")


@pytest.mark.parametrize(
    "shape",
    [
        LinkShape(delay_us=1_000),
        LinkShape(rate_bytes_per_s=900_000),
        LinkShape(loss_ppm=20_000),
        LinkShape(duplicate_ppm=20_000),
        LinkShape(corrupt_ppm=20_000),
        LinkShape(reorder_ppm=20_000, reorder_us=20_000),
    ],
)
def test_the_least_that_can_be_asked_for_is_told_from_none(shape: LinkShape) -> None:
    probes = burst_for([shape]).probes
    clean = LinkReading(
        sent=probes, arrived=probes, duplicates=0, overtaken=0, corrupted=0, delay_us=(100, 200, 400)
    )
    assert unlike_shape(shape, clean, clean, 0) is not None
