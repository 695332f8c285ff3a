"""What probes over a link must show when a shape is in force on it, and what they may show when none is.

Chances are judged by counts: those outside the binomial bounds here would come about by chance less than once in
10^10 times, and the number of probes is such that the count of a link without the fault is always outside. Whole
numbers only, so that the simulator judges alike on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import isqrt
from typing import Final, NamedTuple

from foreshock.harness.capabilities import PROBE_BYTES, RATE_QUEUE_MS, LinkReading, LinkShape
from foreshock.nemesis.packet_faults import MILLION

UNLIKELY: Final = 10**10
"""One in so many."""
ONE: Final = 1 << 128
EXPECTED_MIN: Final = 40
"""How many events a burst must let expect: then as few as a clean link may show are too unlikely."""
NOISE: Final = 3
"""How many probes of a burst may fare ill on a clean link."""
COUNT_MIN: Final = 200
COUNT_MAX: Final = 3_000
INTERVAL_US: Final = 1_000
RATE_COUNT_MIN: Final = 100
RATE_INTERVAL_US: Final = 200
RATE_BURST_US: Final = 800_000
"""How long a link with a rate is to be busy with its probes."""
CLEAN_SLACK_US: Final = 2_000
"""By how much the fastest probe over a clean link may be slower than usual."""
QUEUE_SLACK_US: Final = 100_000
"""By how much half of them may be: a link that still has a rate makes them wait for much longer."""
DELAY_SLACK_US: Final = 10_000
"""By how much a busy machine may add to a delay."""
IN_PAYLOAD_PERCENT: Final = 75
"""A flipped bit in a header is a lost packet: at least so many are in what probes carry."""
HIDDEN_PERCENT: Final = 75
"""A packet held back is not overtaken when all after it are lost or held back too, and what comes twice may be lost
once: seldom enough."""


class Burst(NamedTuple):
    """How many probes to send over each link, and how far apart."""

    probes: int
    interval_us: int


def burst_for(shapes: Iterable[LinkShape]) -> Burst:
    """The burst that can tell all these shapes from none."""
    count, interval_us = COUNT_MIN, INTERVAL_US
    for shape in shapes:
        for chance in (
            shape.loss_ppm,
            shape.duplicate_ppm * HIDDEN_PERCENT // 100,
            shape.reorder_ppm * HIDDEN_PERCENT // 100,
            shape.corrupt_ppm * IN_PAYLOAD_PERCENT // 100,
        ):
            if chance:
                tail = shape.reorder_us // INTERVAL_US
                count = max(count, EXPECTED_MIN * MILLION // chance + tail)
        if shape.rate_bytes_per_s:
            long_enough = shape.rate_bytes_per_s * RATE_BURST_US // MILLION // PROBE_BYTES
            count, interval_us = max(count, long_enough, RATE_COUNT_MIN), RATE_INTERVAL_US
    return Burst(min(count, COUNT_MAX), interval_us)


@lru_cache(maxsize=4096)
def binomial_bounds(count: int, chance_ppm: int) -> tuple[int, int]:
    """The fewest and the most of ``count`` events of this chance; outside is less likely than one in 10^10 each."""
    if count <= 0 or chance_ppm <= 0:
        return 0, 0
    if chance_ppm >= MILLION:
        return count, count
    likeliest = (count + 1) * chance_ppm // MILLION
    # How likely each number is, in units of the likeliest, down and up from there to where nothing is left of it.
    below = _falling(likeliest, chance_ppm, count)
    above = _falling(count - likeliest, MILLION - chance_ppm, count)
    limit = (sum(below) + sum(above) - ONE) // UNLIKELY
    return likeliest - _reach(below, limit), likeliest + _reach(above, limit)


def _falling(start: int, chance_ppm: int, count: int) -> list[int]:
    """The likelihoods of ``start``, ``start - 1``, ... events, in units of the first."""
    likelihoods = [ONE]
    for events in range(start, 0, -1):
        likelihood = likelihoods[-1] * events * (MILLION - chance_ppm) // ((count - events + 1) * chance_ppm)
        if not likelihood:
            break
        likelihoods.append(likelihood)
    return likelihoods


def _reach(likelihoods: list[int], limit: int) -> int:
    """How far from the likeliest an event may be: all beyond are together no likelier than the limit."""
    beyond, reach = 0, len(likelihoods)
    while beyond <= limit and reach:
        reach -= 1
        beyond += likelihoods[reach]
    return reach


def unlike_before(before: LinkReading, now: LinkReading) -> str | None:
    """What is wrong with a link on which nothing should be in force; ``None``: it is as it was."""
    for what, was, is_now in (
        ("lost", before.sent - before.arrived, now.sent - now.arrived),
        ("doubled", before.duplicates, now.duplicates),
        ("overtaken", before.overtaken, now.overtaken),
        ("corrupted", before.corrupted, now.corrupted),
    ):
        most = was * now.sent // max(1, before.sent) + NOISE
        if is_now > most:
            return f"{is_now} of {now.sent} probes {what} in place of {most} at most"
    if now.arrived and before.arrived:
        slower_us = now.delay_us[0] - before.delay_us[1]
        if slower_us > CLEAN_SLACK_US:
            return f"the fastest probe took {slower_us} us longer than before"
        slower_us = now.delay_us[1] - before.delay_us[1]
        if slower_us > QUEUE_SLACK_US:
            return f"half of the probes took {slower_us} us longer than before"
    return None


def slowed_us(before: LinkReading, now: LinkReading) -> int:
    """By how much the machine has become slower, as a link without a shape shows it."""
    return max(0, now.delay_us[1] - before.delay_us[1])


def unlike_shape(shape: LinkShape, before: LinkReading, now: LinkReading, load_us: int) -> str | None:
    """What is wrong with a link on which a shape should be in force; ``None``: it is.

    ``load_us`` is by how much links without a shape have become slower meanwhile (:func:`slowed_us`).
    """
    lost = now.sent - now.arrived
    fewest, most = binomial_bounds(now.sent, shape.loss_ppm)
    # A flipped bit in a header loses a packet, and a full queue does; and some were lost before.
    most += NOISE + (before.sent - before.arrived) + binomial_bounds(now.sent, shape.corrupt_ppm)[1]
    if lost < fewest or (lost > most and not shape.rate_bytes_per_s):
        return f"{lost} of {now.sent} probes lost in place of {fewest} to {min(most, now.sent)}"
    if shape.loss_ppm >= MILLION:
        return None
    if not now.arrived:
        return f"none of {now.sent} probes arrived"
    return _unlike_counts(shape, now) or _unlike_times(shape, before, now, load_us)


def _unlike_counts(shape: LinkShape, now: LinkReading) -> str | None:
    for what, seen, chance, least_percent, bounded in (
        ("doubled", now.duplicates, shape.duplicate_ppm, HIDDEN_PERCENT, True),
        ("corrupted", now.corrupted, shape.corrupt_ppm, IN_PAYLOAD_PERCENT, True),
        ("overtaken", now.overtaken, shape.reorder_ppm, HIDDEN_PERCENT, not shape.jitter_us),
    ):
        tail = shape.reorder_us // INTERVAL_US if what == "overtaken" else 0
        fewest = binomial_bounds(now.arrived - tail, chance * least_percent // 100)[0]
        most = binomial_bounds(now.arrived, chance)[1] + NOISE
        if seen < fewest or (bounded and seen > most):
            return f"{seen} of {now.arrived} probes {what} in place of {fewest} to {most}"
    return None


def _unlike_times(shape: LinkShape, before: LinkReading, now: LinkReading, load_us: int) -> str | None:
    usual_us = before.delay_us[0]
    if shape.rate_bytes_per_s:
        busy_us = now.sent * PROBE_BYTES * MILLION // shape.rate_bytes_per_s - now.sent * RATE_INTERVAL_US
        least_us = (
            shape.delay_us + min(busy_us, RATE_QUEUE_MS * 1000) // 3
        )  # a busy machine sends more slowly
        longest_us = now.delay_us[2] - usual_us
        if longest_us < least_us:
            return f"the last probe took {longest_us} us longer in place of {least_us} us at least"
    if not shape.delay_us:
        return None
    # A busy machine makes every packet later, and the baseline too: so half of them must be late by most of the delay,
    # and the fastest one, which had to wait for nothing else, by no more than the delay.
    spread_us = 8 * shape.jitter_us // max(1, isqrt(now.arrived))
    least_us = shape.delay_us * 3 // 4 - min(CLEAN_SLACK_US, shape.delay_us // 4) - spread_us
    later_us = now.delay_us[1] - usual_us
    if later_us < least_us:
        return f"half of the probes took {later_us} us longer in place of {least_us} us at least"
    most_us = shape.delay_us * 5 // 4 + DELAY_SLACK_US + load_us
    fastest_us = now.delay_us[0] - usual_us
    if fastest_us > most_us and not shape.rate_bytes_per_s:
        return f"the fastest probe took {fastest_us} us longer in place of {most_us} us at most"
    return None
