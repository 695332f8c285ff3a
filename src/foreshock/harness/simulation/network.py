"""Delays and chances, drawn ahead so that one message costs one draw."""

from __future__ import annotations

from typing import Final

from foreshock.harness.randomness import RandomStream

TABLE_BITS: Final = 10
TABLE_MASK: Final = (1 << TABLE_BITS) - 1
ROLL_BITS: Final = 32 - TABLE_BITS


def delay_table(rng: RandomStream, minimum_ns: int, mean_ns: int) -> tuple[int, ...]:
    """1024 delays of the given minimum plus an exponential: the low bits of a draw of 32 bits choose one."""
    return tuple(minimum_ns + rng.exponential(mean_ns) for _ in range(1 << TABLE_BITS))


def threshold(parts_per_million: int) -> int:
    """What the high bits of a draw of 32 bits are compared with for an event of this probability."""
    return (parts_per_million << ROLL_BITS) // 1_000_000
