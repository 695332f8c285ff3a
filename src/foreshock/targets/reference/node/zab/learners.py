"""What a leader knows of one follower ("learner" in ZooKeeper's code), and how much it may send it."""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import NamedTuple

from foreshock.targets.reference.node.consensus import Snapshot
from foreshock.targets.reference.node.zab.channel import Channel
from foreshock.targets.reference.node.zab.messages import AckEpoch


class Stage(IntEnum):
    """How far a leader has come with a follower."""

    GREETED = 1
    """It sent CEPOCH."""
    ASKED = 2
    """NEWEPOCH sent."""
    PROMISED = 3
    """It sent ACK-E."""
    SYNCHRONIZING = 4
    """It is being sent TRUNC, DIFF or SNAP."""
    OFFERED = 5
    """NEWLEADER sent; proposals follow on it."""
    SYNCHRONIZED = 6
    """It sent the ACK of NEWLEADER."""
    READY = 7
    """UPTODATE sent."""


class Outgoing(NamedTuple):
    """A snapshot on its way to a follower, the JSON text of its data, and how much of that was sent."""

    snapshot: Snapshot
    text: str
    offset: int


class Learner:
    """One follower as its leader sees it."""

    __slots__ = (
        "answer",
        "channel",
        "checked",
        "inflight",
        "match",
        "next",
        "offered",
        "round",
        "snapshot",
        "stage",
        "told",
    )

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.stage = Stage.GREETED
        self.answer: AckEpoch | None = None
        self.next = 0
        """The position of the next entry to send."""
        self.checked = False
        """Whether a DIFF or SNAP was sent, by which it sees whether the histories meet."""
        self.offered = -1
        """Where the history ended that NEWLEADER spoke of."""
        self.match = -1
        """Up to where its history is ours, and durable; -1 before the ACK of NEWLEADER."""
        self.told = -1
        """The last commit that it was told of."""
        self.round = 0
        """The latest round of confirmation that it has answered."""
        self.snapshot: Outgoing | None = None
        self.inflight: deque[int] = deque()
        """The numbers of the frames with entries or pieces that are on their way."""

    @property
    def promised(self) -> bool:
        """Whether it promised our epoch to us: that counts for a quorum of discovery."""
        return self.answer is not None and self.answer.promised
