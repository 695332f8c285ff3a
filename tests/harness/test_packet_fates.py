"""What becomes of single packets: as often and as late as the shape says, from the given bits and no others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.harness.capabilities import PROBE_BYTES, LinkShape
from foreshock.harness.link_tally import LinkTally
from foreshock.harness.packet_fates import (
    HEADER_BYTES,
    QUEUE_NS_MAX,
    RETRANSMISSION_NS,
    Fates,
    Pacer,
    longest_ns,
    pacer_of,
)
from foreshock.harness.randomness import RandomStream

MS = 1_000_000
CHANCES = st.sampled_from([0, 1, 1_000, 300_000, 999_999, 1_000_000])
SHAPES = st.builds(
    LinkShape,
    delay_us=st.integers(0, 1_000_000),
    jitter_us=st.integers(0, 500_000),
    distribution=st.sampled_from(["uniform", "normal", "pareto"]),
    loss_ppm=CHANCES,
    duplicate_ppm=CHANCES,
    reorder_ppm=CHANCES,
    reorder_us=st.integers(0, 500_000),
    corrupt_ppm=CHANCES,
)


def fates(shape: LinkShape, seed: int = 1) -> Fates:
    return Fates(shape, RandomStream(seed, "packets").bits)


def no_bits(count: int) -> int:
    raise AssertionError(f"{count} bits were drawn")


@pytest.mark.parametrize("ppm", [0, 1_000_000])
def test_what_never_or_always_happens_costs_no_draw(ppm: int) -> None:
    shape = LinkShape(
        delay_us=7, loss_ppm=ppm, duplicate_ppm=ppm, corrupt_ppm=ppm, reorder_ppm=ppm, reorder_us=3
    )
    drawn = Fates(shape, no_bits)
    happens = ppm == 1_000_000
    assert (drawn.lost(), drawn.duplicated(), drawn.corrupted(), drawn.stalls) == (happens,) * 4
    assert drawn.delay_ns() == (10_000 if happens else 7_000)


@pytest.mark.parametrize("ppm", [10_000, 250_000, 900_000])
@pytest.mark.parametrize("kind", ["loss", "duplicate", "corrupt"])
def test_chances_come_as_often_as_they_say(kind: str, ppm: int) -> None:
    drawn = fates(LinkShape(**{f"{kind}_ppm": ppm}))
    event: Callable[[], bool] = {
        "loss": drawn.lost,
        "duplicate": drawn.duplicated,
        "corrupt": drawn.corrupted,
    }[kind]
    seen = sum(event() for _ in range(20_000))
    assert abs(seen - ppm * 20_000 // 1_000_000) < 300


def delays_us(shape: LinkShape, count: int = 20_000) -> list[int]:
    drawn = fates(shape)
    return sorted(drawn.delay_ns() // 1_000 for _ in range(count))


def test_a_uniform_jitter_is_within_its_bounds_and_all_over_them() -> None:
    delays = delays_us(LinkShape(delay_us=1_000, jitter_us=400))
    assert (delays[0], delays[-1]) == (600, 1_400)
    assert 990 < delays[10_000] < 1_010
    assert 790 < delays[5_000] < 810


def test_a_normal_jitter_has_its_deviation() -> None:
    delays = delays_us(LinkShape(delay_us=10_000, jitter_us=1_000, distribution="normal"))
    assert 9_970 < delays[10_000] < 10_030
    one_off = sum(9_000 <= delay <= 11_000 for delay in delays)
    assert abs(one_off - 13_654) < 300
    assert 13_000 < delays[-1] < 16_000


def test_a_pareto_jitter_has_a_long_tail_as_the_shape_promises() -> None:
    delays = delays_us(LinkShape(delay_us=10_000, jitter_us=1_000, distribution="pareto"))
    assert delays[0] >= 10_000 - 125
    assert 9_980 < delays[10_000] < 10_020
    assert abs(sum(delay > 11_000 for delay in delays) - 20_000 // 35) < 100
    assert 14_000 < delays[-1] <= 18_000


def test_what_is_to_be_overtaken_is_held_back_as_often_as_it_says() -> None:
    delays = delays_us(LinkShape(delay_us=5, reorder_ppm=200_000, reorder_us=100))
    assert set(delays) == {5, 105}
    assert abs(delays.count(105) - 4_000) < 300


@given(SHAPES, st.integers(0, 1_000))
def test_no_delay_is_negative_or_longer_than_the_longest_and_a_seed_gives_one_course(
    shape: LinkShape, seed: int
) -> None:
    def course() -> list[tuple[bool, bool, bool, int, int]]:
        drawn = fates(shape, seed)
        return [
            (drawn.lost(), drawn.corrupted(), drawn.duplicated(), drawn.delay_ns(), drawn.retransmission_ns())
            for _ in range(50)
        ]

    seen = course()
    assert all(0 <= delay_ns <= longest_ns(shape) for *_, delay_ns, _ in seen)
    assert seen == course()


def test_each_loss_of_a_streams_packet_costs_twice_the_time_of_the_one_before() -> None:
    drawn = fates(LinkShape(loss_ppm=500_000))
    waits = [drawn.retransmission_ns() // RETRANSMISSION_NS for _ in range(10_000)]
    assert set(waits) == {0, 1, 3, 7, 15, 31, 63}
    assert abs(waits.count(0) - 5_000) < 200
    assert abs(waits.count(1) - 2_500) < 200
    assert Fates(LinkShape(), no_bits).retransmission_ns() == 0


def test_a_pacer_lets_packets_pass_one_after_the_other() -> None:
    pacer = Pacer(1_000_000)
    each_ns = PROBE_BYTES * 1_000
    first = pacer.departs_ns(5 * MS, PROBE_BYTES - HEADER_BYTES)
    assert first == 5 * MS + each_ns
    assert pacer.departs_ns(5 * MS, PROBE_BYTES - HEADER_BYTES) == first + each_ns
    assert pacer.waiting_ns(5 * MS) == 2 * each_ns
    assert pacer.waiting_ns(5 * MS + 3 * each_ns) == 0
    assert pacer.departs_ns(50 * MS, 0) == 50 * MS + HEADER_BYTES * 1_000


def test_only_a_shape_with_a_rate_has_a_pacer_and_its_queue_counts_for_the_longest_time() -> None:
    assert pacer_of(LinkShape(delay_us=1)) is None
    assert longest_ns(LinkShape(delay_us=1)) == 1_000
    assert longest_ns(LinkShape(rate_bytes_per_s=1_000_000)) > QUEUE_NS_MAX


def test_a_tally_counts_what_came_once_twice_late_and_damaged() -> None:
    tally = LinkTally(5)
    tally.sent_ns[:] = [0, 1_000, 2_000, 3_000, 4_000]
    for number, now_ns, corrupted in [
        (0, 5_000, False),
        (3, 6_000, True),
        (1, 8_000, False),
        (3, 9_000, False),
        (1, 9_000, True),
    ]:
        tally.arrived(number, now_ns, corrupted=corrupted)
    reading = tally.reading()
    assert (reading.sent, reading.arrived) == (5, 3)
    assert (reading.duplicates, reading.overtaken, reading.corrupted) == (2, 1, 1)
    assert reading.delay_us == (3, 5, 7)
    assert LinkTally(3).reading().delay_us == (0, 0, 0)
