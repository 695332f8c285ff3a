from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.harness.randomness import RandomStream


def test_a_stream_depends_on_seed_and_name_alone() -> None:
    draws = [RandomStream(7, "a").bits(64), RandomStream(7, "a").bits(64)]
    assert draws[0] == draws[1]
    assert RandomStream(7, "b").bits(64) != draws[0] != RandomStream(8, "a").bits(64)


def test_the_first_draws_of_a_seed_are_pinned_for_every_machine_and_version() -> None:
    stream = RandomStream(1, "pinned")
    assert [stream.below(1000) for _ in range(6)] == PINNED


PINNED = [671, 624, 962, 778, 793, 586]


def test_drawing_from_a_child_does_not_disturb_the_parent() -> None:
    quiet, noisy = RandomStream(3, "p"), RandomStream(3, "p")
    noisy.stream("child").bits(500)
    assert quiet.bits(32) == noisy.bits(32)


@given(st.integers(0, 1 << 64), st.integers(1, 1 << 40))
def test_below_stays_below(seed: int, limit: int) -> None:
    stream = RandomStream(seed, "x")
    assert all(0 <= stream.below(limit) < limit for _ in range(20))


@given(st.integers(0, 1 << 32), st.lists(st.integers(), max_size=30))
def test_a_shuffle_keeps_the_items_and_a_sample_repeats_none(seed: int, items: list[int]) -> None:
    stream = RandomStream(seed, "x")
    shuffled = list(items)
    stream.shuffle(shuffled)
    assert Counter(shuffled) == Counter(items)
    positions = stream.sample(range(len(items)), len(items) // 2)
    assert len(set(positions)) == len(items) // 2


def test_below_and_exponential_have_the_right_mean() -> None:
    stream = RandomStream(5, "mean")
    uniform = sum(stream.below(101) for _ in range(20_000)) / 20_000
    assert 49 < uniform < 51
    exponential = [stream.exponential(1_000_000) for _ in range(20_000)]
    assert 930_000 < sum(exponential) / len(exponential) < 1_070_000
    assert max(exponential) <= 8_500_000


def test_a_draw_from_nothing_is_an_error_and_does_not_hang() -> None:
    stream = RandomStream(1, "empty")
    draws: list[Callable[[], int]] = [
        lambda: stream.below(0),
        lambda: stream.between(5, 3),
        lambda: stream.choice([]),
    ]
    for draw in draws:
        with pytest.raises(ValueError, match="'empty' cannot draw below"):
            draw()
