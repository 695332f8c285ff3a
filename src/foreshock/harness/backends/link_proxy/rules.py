"""What may pass now, by direction: cuts, and shapes of packets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from time import monotonic_ns
from typing import Final, Protocol

from foreshock.harness.capabilities import Link, LinkShape
from foreshock.harness.packet_fates import Fates, Pacer, pacer_of

_MILLISECOND_NS: Final = 1_000_000


def call_when(due_ns: int, function: Callable[[], None]) -> asyncio.TimerHandle:
    """Call back at a time of the monotonic clock, or up to a millisecond later: event loops count in those."""
    left_ms = -((monotonic_ns() - due_ns) // _MILLISECOND_NS)
    return asyncio.get_running_loop().call_later(max(left_ms, 0) / 1_000, function)


class Direction:
    """The rules for all that one node sends to another."""

    __slots__ = ("cut", "fates", "open", "pacer")

    def __init__(self) -> None:
        self.cut = False
        self.fates: Fates | None = None
        """What the shape in force does; ``None``: there is none."""
        self.pacer: Pacer | None = None
        """What the shape in force lets through a second; ``None``: as much as there is."""
        self.open = True
        """Whether the bytes of a stream get through at all."""

    def shape(self, shape: LinkShape | None, bits: Callable[[int], int]) -> None:
        """Put a shape in force, or none."""
        self.fates = None if shape is None else Fates(shape, bits)
        self.pacer = None if shape is None else pacer_of(shape)
        self.settle()

    def settle(self) -> None:
        """Work out again what gets through."""
        self.open = not self.cut and not (self.fates is not None and self.fates.stalls)


class Watcher(Protocol):
    """Somebody who must look again when the rules change."""

    def look_again(self) -> None:
        """The rules may have changed."""


class Rules:
    """The rules for every direction, and who must look again when they change."""

    def __init__(self) -> None:
        self._directions: dict[Link, Direction] = {}
        self._bits = random.Random().getrandbits
        self.watchers: set[Watcher] = set()

    def direction(self, sender: str, receiver: str) -> Direction:
        """The rules for what the one sends to the other; the same object for ever."""
        return self._directions.setdefault((sender, receiver), Direction())

    def cut(self, links: Iterable[Link]) -> None:
        """Cut these directions and no others, at once and for every connection."""
        cut = frozenset(links)
        for link in cut:
            self.direction(*link)
        for link, direction in self._directions.items():
            direction.cut = link in cut
            direction.settle()
        self._tell()

    def shape(self, shapes: Mapping[Link, LinkShape]) -> None:
        """Shape these directions and no others, at once and for every connection."""
        for link in shapes:
            self.direction(*link)
        for link, direction in self._directions.items():
            direction.shape(shapes.get(link), self._bits)
        self._tell()

    def _tell(self) -> None:
        for watcher in tuple(self.watchers):
            watcher.look_again()
