"""Leases: a leader that may answer reads by itself for a while (dissertation 6.4.1), and the followers' part in it.

Off unless the knob ``reads`` is ``lease``, since it trusts clocks: not what they show, but that no two of them run at
rates further apart than ``clock_drift_percent``. The argument, step by step:

* Every append carries a round number, and the leader remembers when it *sent* the first append of each round. A
  follower that echoes the round heard its leader no earlier than that.
* A follower votes for nobody else until ``election_timeout_min_ms`` after it last heard a leader; nor does it begin
  a term of its own before. It keeps to that whatever becomes of its term and of its belief who leads; and because
  nobody remembers over a restart whom it heard, a node that has just started waits as long before its first vote.
* So while a majority's latest rounds were sent less than ``election_timeout_min_ms`` ago, no other leader can have
  been elected, and nothing can have been committed that this leader does not know. The leader's clock may be the
  slow one: it counts only ``100 / (100 + clock_drift_percent)`` of that time.
* One vote is exempt from waiting: that for a successor whom the leader itself told to campaign. The order may arrive
  at any later time, so a leader that has ever given it has no lease for the rest of its term.

Without a lease, reads are confirmed by a round as ever. The leader must have committed an entry of its own term
before either, so that it knows what is committed.
"""

from __future__ import annotations

from collections import deque
from operator import attrgetter
from typing import Any, Final

from foreshock.targets.reference.node.raft.messages import TimeoutNow
from foreshock.targets.reference.node.raft.progress import Progress
from foreshock.targets.reference.node.raft.replication import Replication
from foreshock.targets.reference.node.raft.state import NS_PER_MS

_lease_of = attrgetter("lease_from_ns")
_ROUNDS_MAX: Final = 256
"""So many rounds' times of sending are remembered; an answer to an earlier one extends no lease."""


class Leases(Replication):
    """The leader's lease, and the patience of its followers that it rests upon."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._by_lease = self.knobs.reads == "lease"
        self._started_ns = self._now
        self._rounds_sent: deque[tuple[int, int]] = deque(maxlen=_ROUNDS_MAX)
        self._lease_forfeited = False

    # --- the follower's part ------------------------------------------------------------------------------------

    def _honours_a_lease(self) -> bool:
        """Whether some leader may count on us to elect nobody else now."""
        if not self._by_lease:
            return False
        heard_ns = self._leader_heard_ns
        since_ns = self._started_ns if heard_ns is None else heard_ns
        return self._now - since_ns < self.knobs.election_timeout_min_ms * NS_PER_MS

    # --- the leader's part --------------------------------------------------------------------------------------

    def _lease_ns(self) -> int:
        """How long a lease lasts by the leader's clock, though that may be the slowest and a follower's the fastest."""
        knobs = self.knobs
        return knobs.election_timeout_min_ms * NS_PER_MS * 100 // (100 + knobs.clock_drift_percent)

    def _lease_holds(self) -> bool:
        """Whether nobody else can have been elected yet, as far as the followers' answers tell."""
        if not self._by_lease or self._lease_forfeited:
            return False
        return self._now - self._quorum_value(self._now, _lease_of) < self._lease_ns()

    def _begin_leases(self) -> None:
        """Nothing is known of the followers at the beginning of a leadership."""
        self._rounds_sent.clear()
        self._lease_forfeited = False

    def _next_round(self) -> None:
        """Number the appends anew from now on, and remember when that was."""
        self._round += 1
        if self._by_lease:
            self._rounds_sent.append((self._round, self._now))

    def _beat(self) -> None:
        """Every heartbeat asks for the lease again."""
        if self._by_lease:
            self._next_round()
        super()._beat()

    def _heard(self, source: str, confirmed_round: int) -> Progress | None:
        """The follower heard us when the round was sent, or later."""
        peer = super()._heard(source, confirmed_round)
        if peer is not None and self._by_lease:
            self._extend_lease(peer)
        return peer

    def _extend_lease(self, peer: Progress) -> None:
        """Count from when the latest round that the follower echoed was sent, not from when its answer came."""
        for number, sent_ns in reversed(self._rounds_sent):
            if number <= peer.round:
                peer.lease_from_ns = max(peer.lease_from_ns, sent_ns)
                return

    def _order_to_campaign(self, successor: str) -> None:
        """Who is told to campaign is elected without waiting for any lease of ours to end (dissertation 3.10)."""
        self._lease_forfeited = True
        self._send(successor, TimeoutNow(self.term))
