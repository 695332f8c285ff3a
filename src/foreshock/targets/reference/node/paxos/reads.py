"""Linearizable reads without a slot of their own.

A read may be answered from the state machine at what is chosen at the moment, once (1) the leader's own no-op is
chosen, so that nothing that a lesser ballot has chosen is unknown to it, and (2) a majority of the acceptors of the
next slot has answered a message that was sent after the read arrived: these had not promised a greater ballot, so
nobody had anything chosen in that slot under one, nor told a client so. (Raft calls it ReadIndex: Ongaro's
dissertation, 6.4.) Reads that arrive while a round of confirmation is on its way share the next one.
"""

from __future__ import annotations

from foreshock.targets.reference.node.consensus import Read, ReadReady
from foreshock.targets.reference.node.paxos.proposing import Proposing
from foreshock.targets.reference.node.paxos.state import LEADER


class Reads(Proposing):
    """The leader's rounds of confirmation."""

    _reads_acceptors: tuple[str, ...] = ()

    def _on_read(self, event: Read) -> None:
        """Queue a read for the next round; the end of the step begins the round when none is on its way."""
        waiting = len(self._reads_waiting) + len(self._reads_confirming)
        if self.role is not LEADER:
            self._refuse(event.read, "this node does not lead")
        elif waiting >= self.knobs.pending_reads_max:
            self._refuse(event.read, f"{waiting} reads wait already")
        else:
            self._reads_waiting.append(event.read)

    def _advance_reads(self) -> None:
        """Answer the reads of a round that is confirmed, and begin the next.

        A round whose acceptors were replaced meanwhile can no longer be confirmed by them: it begins anew.
        """
        if self._reads_confirming and self._acceptors_of(self.commit + 1) != self._reads_acceptors:
            self._reads_waiting = self._reads_confirming + self._reads_waiting
            self._reads_confirming = []
        if not self._reads_confirming:
            self._begin_round()
        if self._reads_confirming and self._leadership_is_confirmed(self._round):
            self._output.reads.extend(
                ReadReady(read, self._reads_position) for read in self._reads_confirming
            )
            self._reads_confirming = []
            self._begin_round()

    def _begin_round(self) -> None:
        """Ask everybody whether our ballot still counts, for all reads that wait."""
        if not self._reads_waiting or not self._may_read():
            return
        self._round += 1
        self._reads_position = self.commit
        self._reads_acceptors = self._acceptors_of(self.commit + 1)
        self._reads_confirming, self._reads_waiting = self._reads_waiting, []
        message = self._heartbeat()
        for name in self._peers:
            self._send(name, message)

    def _leadership_is_confirmed(self, number: int) -> bool:
        """Whether a majority has answered a message of this round or a later one."""
        return self._quorum_of(self._reads_acceptors, lambda peer: peer.round >= number)
