"""What a leader knows of one follower, and how much it may send it."""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Final, NamedTuple

from foreshock.targets.reference.node.consensus import Snapshot

NEVER_NS: Final = -(1 << 62)
"""Before every time that a clock shows."""


class Pace(StrEnum):
    """How a leader feeds a follower."""

    PROBE = "probe"
    """It does not know where the logs meet: one append at a time until the follower accepts."""

    REPLICATE = "replicate"
    """The logs meet: appends follow each other without waiting, up to a window."""

    SNAPSHOT = "snapshot"
    """The follower needs entries that the leader has no more: a snapshot is on its way, and no append."""


class Outgoing(NamedTuple):
    """A snapshot on its way to a follower, and the JSON text of its data."""

    snapshot: Snapshot
    text: str


class Progress:
    """One follower as its leader sees it (``nextIndex`` and ``matchIndex`` of figure 2, and flow control)."""

    __slots__ = (
        "heard_ns",
        "inflight",
        "lease_from_ns",
        "match",
        "next",
        "pace",
        "round",
        "snapshot",
        "snapshot_offset",
        "snapshot_sent_ns",
        "waiting",
    )

    def __init__(self, following: int, now_ns: int) -> None:
        self.match = 0
        """The last position known to be equal and durable there."""
        self.next = following
        """The position of the next entry to send."""
        self.pace = Pace.PROBE
        self.waiting = False
        """Whether a probe is on its way."""
        self.inflight: deque[int] = deque()
        """The last positions of the appends on their way, ascending."""
        self.round = 0
        """The latest round of confirmation that it echoed."""
        self.heard_ns = now_ns
        """When it last answered in this term; it starts with the benefit of the doubt."""
        self.lease_from_ns = NEVER_NS
        """When the latest round that it echoed was sent, as far as leases care; it starts without any benefit."""
        self.snapshot: Outgoing | None = None
        self.snapshot_offset = 0
        """How much of its text the follower has."""
        self.snapshot_sent_ns = 0

    def probe(self, following: int) -> None:
        """Go back to one append at a time, from ``following`` on."""
        self.pace = Pace.PROBE
        self.waiting = False
        self.snapshot = None
        self.inflight.clear()
        self.next = following

    def acknowledge(self, position: int) -> bool:
        """Take note that the follower's log is equal and durable up to ``position``; whether that is news."""
        inflight = self.inflight
        while inflight and inflight[0] <= position:
            inflight.popleft()
        news = position > self.match
        if news:
            self.match = position
        if self.pace is Pace.REPLICATE:
            self.next = max(self.next, position + 1)
        elif position >= self._sought():
            self.pace = Pace.REPLICATE
            self.waiting = False
            self.snapshot = None
            self.next = self.match + 1
        return news

    def _sought(self) -> int:
        """The position at which the logs meet once the follower acknowledges it."""
        return self.snapshot.snapshot.position if self.snapshot is not None else self.next - 1
