"""What becomes of the packets of one direction under a :class:`~foreshock.harness.capabilities.LinkShape`.

Drawn packet by packet, in whole numbers, from one source of random bits: the simulator and the link proxies share it,
and one seed gives one course of events. A chance that is 0 or certain costs no draw.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from foreshock.harness.capabilities import RATE_QUEUE_MS, LinkShape

MILLION: Final = 1_000_000
SECOND_NS: Final = 1_000_000_000
HEADER_BYTES: Final = 28
"""What a packet carries beside its payload, and a limited rate counts: headers of IP and UDP."""
RETRANSMISSION_NS: Final = 200_000_000
"""How long the sender of a stream waits before it sends a lost packet again; twice as long each time after."""
RETRANSMISSIONS_MAX: Final = 6
QUEUE_NS_MAX: Final = RATE_QUEUE_MS * 1_000_000
"""A datagram that would wait longer than this for a slow link is lost, as from a router's full queue."""

_ONE: Final = 1 << 20  # fixed point
_CUBE_ROOT_OF_TWO: Final = 1_321_123
_PARETO_MAX: Final = 8
_NORMAL_DRAWS: Final = 12


class Fates:
    """Draws what becomes of each packet of one direction."""

    __slots__ = ("_bits", "_shape")

    def __init__(self, shape: LinkShape, bits: Callable[[int], int]) -> None:
        self._shape = shape
        self._bits = bits

    @property
    def stalls(self) -> bool:
        """Whether nothing at all gets through, so that a stream stands still as if the direction were cut."""
        return self._shape.loss_ppm >= MILLION or self._shape.corrupt_ppm >= MILLION

    def lost(self) -> bool:
        """Whether the packet never arrives."""
        return self._chance(self._shape.loss_ppm)

    def corrupted(self) -> bool:
        """Whether a bit of the packet flips on its way."""
        return self._chance(self._shape.corrupt_ppm)

    def duplicated(self) -> bool:
        """Whether the packet arrives twice."""
        return self._chance(self._shape.duplicate_ppm)

    def delay_ns(self) -> int:
        """How much longer the packet takes, when it is held back to be overtaken too."""
        shape = self._shape
        delay_us = shape.delay_us + _SPREADS[shape.distribution](self._bits, shape.jitter_us)
        if shape.reorder_ppm and self._chance(shape.reorder_ppm):
            delay_us += shape.reorder_us
        return max(0, delay_us) * 1_000

    def retransmission_ns(self) -> int:
        """How long a packet of a stream holds up all that is behind it, because it had to be sent again."""
        losses = 0
        while losses < RETRANSMISSIONS_MAX and (self.lost() or self.corrupted()):
            losses += 1
        return RETRANSMISSION_NS * ((1 << losses) - 1)

    def _chance(self, parts_per_million: int) -> bool:
        if not 0 < parts_per_million < MILLION:
            return parts_per_million > 0
        return self._bits(32) * MILLION >> 32 < parts_per_million


class Pacer:
    """Lets through so many bytes a second, one packet after the other."""

    __slots__ = ("_free_ns", "_rate_bytes_per_s")

    def __init__(self, rate_bytes_per_s: int) -> None:
        self._rate_bytes_per_s = rate_bytes_per_s
        self._free_ns = 0

    def waiting_ns(self, now_ns: int) -> int:
        """How long a packet that comes now waits before it can leave."""
        return max(0, self._free_ns - now_ns)

    def departs_ns(self, ready_ns: int, payload_bytes: int) -> int:
        """When a packet that is ready at the given time has passed; the next one waits for it."""
        bits_time_ns = (payload_bytes + HEADER_BYTES) * SECOND_NS // self._rate_bytes_per_s
        self._free_ns = max(ready_ns, self._free_ns) + bits_time_ns
        return self._free_ns


def pacer_of(shape: LinkShape) -> Pacer | None:
    """The pacer of a shape that limits the rate."""
    return Pacer(shape.rate_bytes_per_s) if shape.rate_bytes_per_s else None


def longest_ns(shape: LinkShape) -> int:
    """No datagram takes longer than this, where the shape is all that delays it."""
    spread = {"uniform": 1, "normal": _NORMAL_DRAWS // 2, "pareto": _PARETO_MAX}
    most_us = shape.delay_us + spread[shape.distribution] * shape.jitter_us + shape.reorder_us
    queue_ns = QUEUE_NS_MAX + pacer.departs_ns(0, 1 << 16) if (pacer := pacer_of(shape)) else 0
    return most_us * 1_000 + queue_ns


def _uniform(bits: Callable[[int], int], jitter: int) -> int:
    return (bits(32) * (2 * jitter + 1) >> 32) - jitter if jitter else 0


def _normal(bits: Callable[[int], int], jitter: int) -> int:
    """A sum of twelve uniform draws of 16 bits has a standard deviation of 2^16."""
    if not jitter:
        return 0
    draw = bits(16 * _NORMAL_DRAWS)
    total = sum(draw >> 16 * i & 0xFFFF for i in range(_NORMAL_DRAWS))
    return jitter * (total - _NORMAL_DRAWS * 0xFFFF // 2) >> 16


def _pareto(bits: Callable[[int], int], jitter: int) -> int:
    """Pareto of shape 3, u^(-1/3) with u uniform in (0, 1], with its median (the cube root of 2) brought to 0.

    So scaled that one draw in 35 is above ``jitter``, and cut off at an eighth below and eight times above.
    """
    if not jitter:
        return 0
    spread = _cube_root((1 << 92) // (bits(32) + 1)) - _CUBE_ROOT_OF_TWO
    return max(-jitter // 8, min(_PARETO_MAX * jitter, jitter * spread // (2 * _ONE)))


def _cube_root(number: int) -> int:
    """The greatest whole number whose cube is no more than this one; by Newton's steps from above."""
    root = 1 << -(-number.bit_length() // 3)
    while (closer := (2 * root + number // (root * root)) // 3) < root:
        root = closer
    return root


_SPREADS: Final = {"uniform": _uniform, "normal": _normal, "pareto": _pareto}
