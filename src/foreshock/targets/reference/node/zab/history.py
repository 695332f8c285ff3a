"""The history of a node: its log, and what Zab asks of one beside the usual."""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter

from foreshock.targets.reference.node.log import Log

_term_of = attrgetter("term")

UNKNOWN = -1
"""A position before everything that the log knows."""


class History(Log):
    """Entries after a base; each one's ``term`` is the epoch in which it was proposed."""

    __slots__ = ()

    def last_through(self, epoch: int) -> int:
        """The last position of an entry of this epoch or an earlier one, or ``UNKNOWN`` when all are later."""
        count = bisect_right(self._entries, epoch, key=_term_of)
        if count == 0 and self.base_term > epoch:
            return UNKNOWN
        return self.base + count
