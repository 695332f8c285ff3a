"""Which nodes may hold a copy of which key, and until when: what the origin remembers, and takes back."""

from __future__ import annotations

from typing import NamedTuple

from foreshock.targets.reference.node.cache.knobs import NEVER_NS
from foreshock.targets.reference.node.cache.messages import Key

_SWEEP_NS = 1_000_000_000


class Grants:
    """The leases on each key by node. All times are ns of the origin's monotonic clock.

    A node counts the term of its lease from when it asked, by its own clock; the origin counts from when it
    answered, which is later, and for longer by a margin that no two clocks' rates differ by. So the node has stopped
    using its copy before the origin takes the lease for over (Gray & Cheriton 1989, section 5, says what happens when
    the server's clock runs ahead).
    """

    def __init__(self, *, margin_percent: int, grants_max: int) -> None:
        self._margin_percent = margin_percent
        self._grants_max = grants_max
        self._until: dict[Key, dict[str, int]] = {}
        self._count = 0
        self._swept_ns = 0

    def __len__(self) -> int:
        return self._count

    def lasts_ns(self, term_ns: int) -> int:
        """For how long the origin honours a lease of this term."""
        return min(term_ns * (100 + self._margin_percent) // 100, NEVER_NS)

    def grant(self, key: Key, node: str, term_ns: int, now_ns: int) -> bool:
        """Let the node keep a copy; false when there are too many grants, and it may not."""
        if self._count >= self._grants_max:
            self._sweep(now_ns)
        holders = self._until.setdefault(key, {})
        if node not in holders:
            if self._count >= self._grants_max:
                return False
            self._count += 1
        holders[node] = max(holders.get(node, 0), now_ns + self.lasts_ns(term_ns))
        return True

    def take(self, key: Key, now_ns: int) -> dict[str, int]:
        """Take every lease on the key off the books; returns until when the nodes that still have one have it."""
        holders = self._until.pop(key, {})
        self._count -= len(holders)
        return {node: until_ns for node, until_ns in holders.items() if until_ns > now_ns}

    def _sweep(self, now_ns: int) -> None:
        """Forget what has run out; at most once a second, for it looks at everything."""
        if now_ns < self._swept_ns + _SWEEP_NS:
            return
        self._swept_ns = now_ns
        for key in list(self._until):
            holders = self._until[key]
            for node in [node for node, until_ns in holders.items() if until_ns <= now_ns]:
                del holders[node]
                self._count -= 1
            if not holders:
                del self._until[key]


class Outstanding(NamedTuple):
    """A recall that some nodes have not acknowledged yet."""

    key: Key
    version: int | None
    waiting: dict[str, int]
    """The nodes, and until when each may use its copy at the longest."""


class Recalls:
    """Copies that the origin wants dropped: asked for again and again, until dropped or run out."""

    def __init__(self, *, retry_ns: int) -> None:
        self._retry_ns = retry_ns
        self._outstanding: dict[int, Outstanding] = {}
        self._next_round_ns = NEVER_NS
        self.deadline_ns = NEVER_NS
        """When :meth:`due` wants to be asked."""

    def __len__(self) -> int:
        return len(self._outstanding)

    def begin(self, number: int, recall: Outstanding, now_ns: int) -> None:
        """Wait for the nodes that the recall names; there is at least one. The first asking is the caller's."""
        if not self._outstanding:
            self._next_round_ns = now_ns + self._retry_ns
        self._outstanding[number] = recall
        self._set_deadline()

    def acknowledge(self, number: int, node: str) -> bool:
        """A node has dropped its copy; whether it was the last one that the recall waited for."""
        recall = self._outstanding.get(number)
        if recall is None:
            return False
        recall.waiting.pop(node, None)
        return self._settle(number, recall)

    def due(self, now_ns: int) -> tuple[list[int], list[tuple[int, str, Outstanding]]]:
        """The recalls that nobody is waited for any more, and those to ask for again, with the node to ask."""
        if now_ns < self.deadline_ns:
            return [], []
        settled = []
        for number, recall in list(self._outstanding.items()):
            for node in self.over(recall, now_ns):
                del recall.waiting[node]
            if self._settle(number, recall):
                settled.append(number)
        again = []
        if now_ns >= self._next_round_ns:
            self._next_round_ns = now_ns + self._retry_ns
            again = [(n, node, recall) for n, recall in self._outstanding.items() for node in recall.waiting]
        self._set_deadline()
        return settled, again

    def over(self, recall: Outstanding, now_ns: int) -> list[str]:
        """The nodes of the recall that have not answered and need not be waited for any longer."""
        return [node for node, until_ns in recall.waiting.items() if until_ns <= now_ns]

    def _settle(self, number: int, recall: Outstanding) -> bool:
        if recall.waiting:
            return False
        del self._outstanding[number]
        return True

    def _set_deadline(self) -> None:
        if not self._outstanding:
            self.deadline_ns = NEVER_NS
            return
        ends = (until_ns for recall in self._outstanding.values() for until_ns in recall.waiting.values())
        self.deadline_ns = min(self._next_round_ns, min(ends, default=NEVER_NS))
