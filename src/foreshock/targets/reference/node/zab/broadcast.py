"""An established leader: proposals, commitment, and reads (algorithm 3, and what ZooKeeper adds to it).

*Linearizable reads.* A read may be answered from the state at the commit of the moment, once a quorum has answered a
beat that was sent after the read arrived. A follower that answers has accepted no later epoch by then; a later leader
commits something only after a quorum has accepted its epoch, and one of that quorum is among those that answered. So
whatever was acknowledged before the read arrived was committed by this leader, or is in its initial history.

*sync* is ZooKeeper's: the leader says at once what it has committed, and the node reads its own state when it has
delivered that much. It makes a read as fresh as the node's leader is; a leader that was deposed and has not noticed
yet is not fresh at all (ZOOKEEPER-1675). *local* reads are as fresh as the node that is asked.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from foreshock.targets.reference.node.consensus import Compact, Entry, Propose, Read, ReadReady
from foreshock.targets.reference.node.zab.leading import Leading
from foreshock.targets.reference.node.zab.learners import Learner, Stage
from foreshock.targets.reference.node.zab.messages import Beat, Commit, Payload, Sync, SyncReply
from foreshock.targets.reference.node.zab.state import BROADCAST, FOLLOWING, LEADING, NS_PER_MS


class Broadcast(Leading):
    """The leader's side of the broadcast, and both sides of reads."""

    _reads_waiting: list[int]
    _reads_confirming: list[int]
    _reads_position = 0
    _commit_due_ns: int | None = None

    @property
    def leading(self) -> bool:
        """Whether this replica leads an epoch that is established."""
        return self.role is LEADING and self.phase is BROADCAST

    # --- proposals --------------------------------------------------------------------------------------------

    def _on_propose(self, event: Propose) -> None:
        """A client's command: into the history, to the followers, and to the disk, all three at once."""
        obstacle = self._proposal_obstacle()
        if obstacle is not None:
            self._refuse(event.proposal, obstacle)
        else:
            self._propose("command", event.command, event.proposal)

    def _proposal_obstacle(self) -> str | None:
        """Why nothing may be proposed now, in a sentence; ``None`` when it may."""
        if not self._may_broadcast():
            return "this node does not lead"
        if self.log.last - self.commit >= self.knobs.uncommitted_entries_max:
            return f"{self.log.last - self.commit} entries wait for commitment already"
        return None

    def _may_broadcast(self) -> bool:
        """Only when the epoch is established: a quorum has the initial history."""
        return self.leading

    def _propose(self, kind: str, data: Any, proposal: int | None = None) -> None:
        """Append one entry of this epoch and send it to whoever may have it now."""
        position = self.log.last + 1
        if proposal is not None:
            self._proposals[position] = proposal
        self._append_to_log((Entry(position, self.epoch, kind, data),))
        for name, learner in list(self._learners.items()):
            if learner.stage >= Stage.OFFERED:
                self._feed(name, learner)

    def _advance_broadcast(self) -> None:
        """Commit what a quorum has; say so to those who do not hear it with a proposal; answer reads."""
        if self._matches_moved:
            self._matches_moved = False
            reached = self._matched()
            if reached > self.commit:
                self.commit = reached
                if self._commit_due_ns is None:
                    self._commit_due_ns = self._now + self.knobs.commit_delay_ms * NS_PER_MS
        if self._commit_due_ns is not None and self._now >= self._commit_due_ns:
            self._commit_due_ns = None
            for name, learner in list(self._learners.items()):
                self._tell_commit(learner)
                if learner.channel.overflows:
                    self._drop(name)
        if self._reads_waiting or self._reads_confirming:
            self._advance_reads()

    def _tell_commit(self, learner: Learner) -> None:
        """COMMIT, as far as the follower has the proposals, unless a proposal said it already."""
        told = min(self.commit, learner.next - 1)
        if learner.stage is Stage.READY and told > learner.told:
            learner.told = told
            self._tell(learner.channel, Commit(self.epoch, told))

    # --- beats ------------------------------------------------------------------------------------------------

    def _on_leader_tick(self) -> None:
        """Beat; drop silent followers; step down without a quorum, or when the epoch is not established in time."""
        if self._now < self._heartbeat_deadline:
            return
        self._heartbeat_deadline = self._now + self.knobs.heartbeat_ms * NS_PER_MS
        limit_ns = self.knobs.sync_limit_ms * NS_PER_MS
        if self._lost_quorum() if self.phase is BROADCAST else self._now >= self._established_by_ns:
            self._look()
            return
        for name in list(self._learners):
            if self._now - self._heard[name] > limit_ns:
                self._drop(name)
        for learner in self._learners.values():
            self._beat(learner)
        self._invite()

    def _beat(self, learner: Learner) -> None:
        channel = learner.channel
        self._send(channel.peer, Beat(channel.session, channel.sent, channel.arrived, self._read_round))

    def _lost_quorum(self) -> bool:
        """Whether no quorum was heard for as long as a follower would wait for us (tickTime * syncLimit)."""
        heard = self._quorum_value(self._heard, self._now)
        return self._now - heard > self.knobs.sync_limit_ms * NS_PER_MS

    # --- reads ------------------------------------------------------------------------------------------------

    def _on_read(self, event: Read) -> None:
        """As the knob ``reads`` says."""
        mode = self.knobs.reads
        if self._answers_locally() and self._serves():
            self._output.reads.append(ReadReady(event.read, self.applied))
        elif mode == "sync" and self._serves():
            self._sync(event.read)
        elif not self.leading:
            self._refuse(event.read, "this node does not lead")
        elif len(self._reads_waiting) >= self.knobs.pending_reads_max:
            self._refuse(event.read, f"{len(self._reads_waiting)} reads wait already")
        else:
            self._reads_waiting.append(event.read)

    def _answers_locally(self) -> bool:
        """Whether a read is answered from this node's own state, whatever others know by then."""
        return self.knobs.reads == "local"

    def _serves(self) -> bool:
        """Whether this node is part of a broadcast, as a ZooKeeper server must be to serve clients at all."""
        return self.phase is BROADCAST

    def _sync(self, read: int) -> None:
        """Ask our leader what it has committed; as the leader, we know."""
        channel = self._channel
        if self.role is not FOLLOWING or channel is None:
            self._output.reads.append(ReadReady(read, self.commit))
        elif len(self._syncing) + len(self._syncs) >= self.knobs.pending_reads_max:
            self._refuse(read, f"{self.knobs.pending_reads_max} reads wait already")
        else:
            self._syncing.add(read)
            self._tell(channel, Sync(self.epoch, read))

    def _on_other_payload(self, learner: Learner, payload: Payload) -> bool:
        """A follower's sync is answered at once, behind everything that was proposed and committed before."""
        if type(payload) is not Sync or learner.stage is not Stage.READY:
            return False
        self._tell_commit(learner)
        self._tell(learner.channel, SyncReply(self.epoch, payload.read, self.commit))
        return True

    def _advance_reads(self) -> None:
        """Answer the reads of a round that is confirmed, and begin the next."""
        if not self._reads_confirming:
            self._begin_round()
        if self._reads_confirming and self._epoch_is_confirmed(self._read_round):
            for read in self._reads_confirming:
                self._output.reads.append(ReadReady(read, self._reads_position))
            self._reads_confirming = []
            self._begin_round()

    def _begin_round(self) -> None:
        """Ask everybody whether our epoch still stands, for all reads that wait."""
        if not self._reads_waiting:
            return
        self._read_round += 1
        self._reads_position = self.commit
        self._reads_confirming, self._reads_waiting = self._reads_waiting, []
        for learner in self._learners.values():
            if learner.stage >= Stage.SYNCHRONIZED:
                self._beat(learner)

    def _epoch_is_confirmed(self, number: int) -> bool:
        """Whether a quorum that stands for our epoch has answered a beat of this round or a later one."""
        rounds = {
            name: learner.round
            for name, learner in self._learners.items()
            if learner.stage >= Stage.SYNCHRONIZED
        }
        return self._quorum_value(rounds, self._read_round) >= number

    def _abandon_requests(self) -> None:
        """Tell everybody who waits on this leader that it leads no more."""
        for proposal in self._proposals.values():
            self._refuse(proposal, "leadership was lost before the entry was committed", definite=False)
        for read in self._reads_confirming + self._reads_waiting:
            self._refuse(read, "leadership was lost before the read was confirmed")
        self._proposals = {}
        self._reads_confirming = []
        self._reads_waiting = []
        self._commit_due_ns = None

    # --- compaction -------------------------------------------------------------------------------------------

    def _on_compact(self, event: Compact) -> None:
        """Take over the driver's snapshot and cut the log there, but for a tail, and for what followers still need.

        A follower whose channel stands gets its entries from the log; only so many are kept for it as may wait for
        their commitment, and one that is farther behind loses its channel and comes back for a snapshot.
        """
        if not self._take_snapshot(event):
            return
        through = event.through
        needed = through - self.knobs.snapshot_keep_entries
        for learner in self._learners.values():
            if learner.stage >= Stage.SYNCHRONIZING and learner.snapshot is None:
                needed = min(needed, learner.next - 1)
        self.log.compact(max(self.log.base, needed, through - self.knobs.uncommitted_entries_max))
        self._forget_configurations(through)

    def _new_queues(self) -> None:
        self._reads_waiting, self._reads_confirming = [], []
        self._syncing: set[int] = set()
        self._syncs: deque[tuple[int, int]] = deque()
