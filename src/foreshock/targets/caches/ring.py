"""Consistent hashing: which nodes keep the copies of which key (Karger et al. 1997).

Every node has many points on a circle, and a key belongs to the nodes whose points follow its own. So a node that
joins takes over its share of the keys, about one in as many as there are nodes, and one that leaves gives its own
to all the others; no other key moves.
"""

from __future__ import annotations

import hashlib
from bisect import bisect
from collections.abc import Iterable

from foreshock.harness.services import Key

POINTS_A_NODE = 128


class Ring:
    """Some nodes on the circle. Immutable; the same nodes give the same ring, on any machine."""

    def __init__(self, nodes: Iterable[str], *, points_a_node: int = POINTS_A_NODE) -> None:
        self.nodes = tuple(sorted(set(nodes)))
        self._points_a_node = points_a_node
        points = [(_place(f"node/{node}/{n}"), node) for node in self.nodes for n in range(points_a_node)]
        points.sort()
        self._places = [place for place, _ in points]
        self._owners = [node for _, node in points]

    def owners(self, key: Key, count: int = 1) -> list[str]:
        """The first ``count`` different nodes from the key's place on (all nodes, where there are fewer)."""
        found: list[str] = []
        wanted = min(count, len(self.nodes))
        start = bisect(self._places, _place(f"key/{type(key).__name__}/{key}"))
        step = 0
        while len(found) < wanted:
            owner = self._owners[(start + step) % len(self._owners)]
            if owner not in found:
                found.append(owner)
            step += 1
        return found

    def joined_by(self, node: str) -> Ring:
        """The ring with a node more."""
        return Ring((*self.nodes, node), points_a_node=self._points_a_node)

    def left_by(self, node: str) -> Ring:
        """The ring without a node."""
        return Ring((n for n in self.nodes if n != node), points_a_node=self._points_a_node)


class RingSource:
    """The ring that is in force, as an operator has set it. Clients look at it now and then, each at its own times."""

    def __init__(self, nodes: Iterable[str]) -> None:
        self.ring = Ring(nodes)

    def join(self, node: str) -> None:
        """Let a node keep copies from now on."""
        if node not in self.ring.nodes:
            self.ring = self.ring.joined_by(node)

    def leave(self, node: str) -> None:
        """Let a node keep copies no longer. Those it has run out, unused, or are found when it joins again."""
        if node in self.ring.nodes:
            self.ring = self.ring.left_by(node)


def _place(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
