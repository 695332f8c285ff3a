"""One FIFO channel between a follower and its leader, over messages that may be lost, repeated and reordered.

ZooKeeper speaks over TCP, and Zab leans on it: a prefix of what was sent arrives, in order, or the connection breaks
and the follower begins anew with discovery. Here a channel is a *session*, which the follower numbers anew each time,
and *sequence numbers* in it, one counter each way. What comes early waits for what is missing, and what is missing is
asked for again. A channel could also break at the first gap; but a rejoin costs an election's round trip, discovery
and a DIFF, and in a network that loses one message in a hundred a follower of a busy leader would hardly ever be
synchronized, and the leader hardly ever have its quorum. So losses are mended, and a channel breaks only when a side
is silent for too long, falls behind by more than :data:`FRAMES_MAX` frames, or says so.

Acknowledgements ride on frames and beats. A gap is asked about only when it has lasted a while, for a frame that was
merely overtaken comes by itself; beats say how much was sent, so that the loss of the last frame shows too.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from foreshock.targets.reference.node.zab.messages import Frame, Payload, Resend

FRAMES_MAX: Final = 1024
"""How many frames may wait for their acknowledgement, or have come early, before a channel is given up."""

_AGAIN_MAX: Final = 64

COUNTER_BITS: Final = 16
"""A session's number is one that its follower drew, and in these lower bits a counter of its channels since."""


def is_later(session: int, other: int) -> bool:
    """Whether a channel is certainly later than another of the same follower: drawn at once, and counted after."""
    return session >> COUNTER_BITS == other >> COUNTER_BITS and session > other


class Channel:
    """One end of a channel. Times are ns of the node's clock."""

    __slots__ = (
        "_asked_ns",
        "_early",
        "_gap_ns",
        "_patience_ns",
        "_unacknowledged",
        "acknowledged",
        "arrived",
        "heard_ns",
        "peer",
        "sent",
        "session",
    )

    def __init__(self, peer: str, session: int, patience_ns: int, now_ns: int) -> None:
        self.peer = peer
        self.session = session
        self.heard_ns = now_ns
        """When the other end was last heard on this channel."""
        self.sent = 0
        """The number of the last frame sent."""
        self.acknowledged = 0
        """Up to where the other end has got everything."""
        self.arrived = 0
        """Up to where everything has come."""
        self._unacknowledged: deque[tuple[int, Payload]] = deque()
        self._early: dict[int, Payload] = {}
        self._patience_ns = patience_ns
        self._gap_ns = 0
        self._asked_ns = 0

    def frame(self, payload: Payload) -> Frame:
        """The payload as the next frame, which is kept until the other end has it."""
        self.sent += 1
        self._unacknowledged.append((self.sent, payload))
        return Frame(self.session, self.sent, self.arrived, payload)

    @property
    def overflows(self) -> bool:
        """Whether the other end is too far behind."""
        return len(self._unacknowledged) > FRAMES_MAX

    def acknowledge(self, sequence: int) -> None:
        """The other end has everything up to this frame."""
        if self.acknowledged < sequence <= self.sent:
            self.acknowledged = sequence
            waiting = self._unacknowledged
            while waiting and waiting[0][0] <= sequence:
                waiting.popleft()

    def take(self, frame: Frame, now_ns: int) -> list[Payload]:
        """What can be read on now that this frame has come, in order; nothing when it is early or known."""
        self.heard_ns = now_ns
        self.acknowledge(frame.acknowledged)
        following = self.arrived + 1
        if frame.sequence != following:
            if following < frame.sequence <= following + FRAMES_MAX:
                if not self._early:
                    self._gap_ns = now_ns
                self._early[frame.sequence] = frame.payload
            return []
        ready = [frame.payload]
        self.arrived = following
        if self._early:
            while (payload := self._early.pop(self.arrived + 1, None)) is not None:
                ready.append(payload)
                self.arrived += 1
            self._gap_ns = now_ns
        return ready

    def missing(self, sent: int, now_ns: int) -> Resend | None:
        """What to ask for again, knowing that the other end has sent so many frames (0: no news about that)."""
        if sent <= self.arrived and not self._early:
            return None
        since_ns = max(self._asked_ns, self._gap_ns if sent <= self.arrived else 0)
        if now_ns - since_ns < self._patience_ns:
            return None
        self._asked_ns = now_ns
        first = self.arrived + 1
        last = min(self._early, default=sent + 1) - 1
        return Resend(self.session, first, last)

    def again(self, first: int, last: int) -> list[Frame]:
        """The frames that the other end asks for, as far as it has not acknowledged them; a few at a time."""
        wanted = [(number, payload) for number, payload in self._unacknowledged if first <= number <= last]
        return [Frame(self.session, number, self.arrived, payload) for number, payload in wanted[:_AGAIN_MAX]]
