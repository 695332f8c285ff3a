"""Linearizable reads without a log entry: ReadIndex (dissertation 6.4).

A read may be answered from the state machine at the commit index of the moment, once (1) the leader has committed
an entry of its own term, so that it knows what is committed, and (2) a majority has answered a message that was
sent after the read arrived, so that no later leader had committed anything by then. Reads that arrive while a
round of confirmation is on its way share the next one.

Under a lease (6.4.1, see ``leases.py``) the second condition is known to hold without asking.
"""

from __future__ import annotations

from operator import attrgetter

from foreshock.targets.reference.node.consensus import Read, ReadReady
from foreshock.targets.reference.node.raft.leases import Leases
from foreshock.targets.reference.node.raft.state import LEADER

_round_of = attrgetter("round")


class Reads(Leases):
    """The leader's rounds of confirmation, and reads that need none."""

    def _on_read(self, event: Read) -> None:
        """Queue a read for the next round; the end of the step begins the round when none is on its way."""
        if self.role is not LEADER:
            self._refuse(event.read, "this node does not lead")
        elif len(self._reads_waiting) >= self.knobs.pending_reads_max:
            self._refuse(event.read, f"{len(self._reads_waiting)} reads wait already")
        else:
            self._reads_waiting.append(event.read)

    def _advance_reads(self) -> None:
        """Answer the reads of a round that is confirmed, and begin the next; under a lease answer all at once."""
        if self._lease_holds() and self._committed_in_own_term():
            self._answer_by_lease()
            return
        if not self._reads_confirming:
            self._begin_round()
        if self._reads_confirming and self._leadership_is_confirmed(self._round):
            self._answer_round()
            self._begin_round()

    def _begin_round(self) -> None:
        """Ask everybody whether we still lead, for all reads that wait."""
        if not self._reads_waiting or not self._committed_in_own_term():
            return
        self._next_round()
        self._reads_position = self.commit
        self._reads_confirming, self._reads_waiting = self._reads_waiting, []
        for name, peer in self._peers.items():
            self._confirm(name, peer)

    def _answer_round(self) -> None:
        ready = self._output.reads
        for read in self._reads_confirming:
            ready.append(ReadReady(read, self._reads_position))
        self._reads_confirming = []

    def _answer_by_lease(self) -> None:
        """Nobody else leads at this moment, so what we know to be committed is all that is."""
        ready = self._output.reads
        for read in self._reads_confirming + self._reads_waiting:
            ready.append(ReadReady(read, self.commit))
        self._reads_confirming, self._reads_waiting = [], []

    def _leadership_is_confirmed(self, number: int) -> bool:
        """Whether a majority has answered a message of this round or a later one."""
        return self._quorum_value(self._round, _round_of) >= number
