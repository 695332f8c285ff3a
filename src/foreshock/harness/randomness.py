"""Seeded randomness by named stream, the same on every machine.

Every draw comes from ``getrandbits`` alone: no libm, no float arithmetic and no ``hash()`` can reach a
decision, so one seed gives one history anywhere.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, MutableSequence, Sequence
from typing import TypeVar

T = TypeVar("T")


class RandomStream:
    """A stream of random draws that depends on nothing but its seed and its name."""

    __slots__ = ("_seed", "bits", "name")

    def __init__(self, seed: int, name: str) -> None:
        self.name = name
        self._seed = seed
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        self.bits: Callable[[int], int] = random.Random(int.from_bytes(digest, "big")).getrandbits
        """Draws an integer of so many random bits; an attribute, since it is what the simulator does most."""

    def stream(self, name: str) -> RandomStream:
        """A stream of its own below this one; drawing from it does not disturb this one."""
        return RandomStream(self._seed, f"{self.name}/{name}")

    def below(self, limit: int) -> int:
        """A uniform integer in ``[0, limit)``; raises ``ValueError`` when ``limit`` is less than 1."""
        if limit < 2:
            if limit < 1:
                raise ValueError(
                    f"the stream {self.name!r} cannot draw below {limit}: there is nothing to draw from"
                )
            return 0
        width = (limit - 1).bit_length()
        draw = self.bits(width)
        while draw >= limit:
            draw = self.bits(width)
        return draw

    def between(self, low: int, high: int) -> int:
        """A uniform integer in ``[low, high]``, both ends included."""
        return low + self.below(high - low + 1)

    def chance(self, numerator: int, denominator: int) -> bool:
        """True with probability ``numerator / denominator``."""
        return self.below(denominator) < numerator

    def choice(self, items: Sequence[T]) -> T:
        """One of the items, each as likely; raises ``ValueError`` when there are none."""
        return items[self.below(len(items))]

    def shuffle(self, items: MutableSequence[T]) -> None:
        """Shuffle in place (Fisher-Yates)."""
        for i in range(len(items) - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """``count`` different items in random order."""
        pool = list(items)
        self.shuffle(pool)
        return pool[:count]

    def exponential(self, mean: int) -> int:
        """An integer about exponentially distributed with the given mean, at least 0 and at most 8 means.

        Sums a geometric number of halves, each with a uniform remainder: integer arithmetic only.
        """
        whole = 0
        half_life = mean * 693 // 1000
        while whole < 11 and self.bits(1):
            whole += 1
        return whole * half_life + self.below(half_life + 1) if half_life else 0
