"""Delays and chances, drawn ahead so that one message costs one draw; and how long messages are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from foreshock.harness.randomness import RandomStream

TABLE_BITS: Final = 10
TABLE_MASK: Final = (1 << TABLE_BITS) - 1
ROLL_BITS: Final = 32 - TABLE_BITS
PARTS_MAX: Final = 100_000
"""A message is not looked into any further than this to find out how long it is."""
NUMBER_BYTES: Final = 8


def delay_table(rng: RandomStream, minimum_ns: int, mean_ns: int) -> tuple[int, ...]:
    """1024 delays of the given minimum plus an exponential: the low bits of a draw of 32 bits choose one."""
    return tuple(minimum_ns + rng.exponential(mean_ns) for _ in range(1 << TABLE_BITS))


def threshold(parts_per_million: int) -> int:
    """What the high bits of a draw of 32 bits are compared with for an event of this probability."""
    return (parts_per_million << ROLL_BITS) // 1_000_000


def encoded_bytes(message: Any) -> int:
    """About how long a message is once it is encoded: its texts and bytes as they are, eight bytes for all else.

    Lists, tuples, sets and mappings are the sum of what is in them; other objects, of their attributes.
    """
    total = 0
    parts = [message]
    for _ in range(PARTS_MAX):
        if not parts:
            break
        part = parts.pop()
        if isinstance(part, str | bytes | bytearray):
            total += len(part)
        elif isinstance(part, Mapping):
            parts += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple | set | frozenset):
            parts += part
        else:
            total += NUMBER_BYTES
            names = [name for kind in type(part).__mro__ for name in getattr(kind, "__slots__", ())]
            parts += [getattr(part, name) for name in names if hasattr(part, name)]
            parts += getattr(part, "__dict__", {}).values()
    return total
