"""What a follower does with its leader's entries (sections 5.3 and 5.5)."""

from __future__ import annotations

from foreshock.targets.reference.node.consensus import Entry
from foreshock.targets.reference.node.raft.messages import Append, AppendReply
from foreshock.targets.reference.node.raft.state import FOLLOWER, LEADER, RaftState


class Following(RaftState):
    """The receiver's side of AppendEntries."""

    def _hear_leader(self, leader: str) -> bool:
        """Take note that this term's leader lives; false when that cannot be, since we lead it ourselves."""
        if self.role is LEADER:
            self.dropped += 1
            return False
        if self.role is not FOLLOWER:
            self._become_follower(self.term, leader)
        self._leader = leader
        self._leader_heard_ns = self._now
        self._election_deadline = self._now + self._election_timeout_ns
        return True

    def _on_append(self, source: str, message: Append) -> None:
        """AppendEntries, receiver's steps 2 to 5 of figure 2.

        What we know to be committed is neither compared nor cut: every leader of this term has it (Leader
        Completeness, section 5.4.3), so a late or repeated message can do no harm there.
        """
        if not self._hear_leader(source):
            return
        self._leader_round = max(self._leader_round, message.round)
        previous, entries = message.previous_position, message.entries
        end = previous + len(entries)
        if previous > self.commit:
            if not self._fits(previous, message.previous_term):
                self._reject(source, previous)
                return
        elif previous < self.commit:
            entries = entries[self.commit - previous :]
        written = self._written
        if entries:
            self._take(entries)
        self._matched = max(self._matched, min(end, self.log.last))
        self.commit = max(self.commit, min(message.commit, end, self.log.last))
        self._acknowledgement_owed = True
        if self._written == written:
            self._acknowledge()

    def _fits(self, previous: int, previous_term: int) -> bool:
        """The consistency check (figure 2, step 2): our entry before the new ones is the leader's, and all before."""
        return self.log.term(previous) == previous_term

    def _take(self, entries: tuple[Entry, ...]) -> None:
        """Append what is new; an entry that conflicts goes, with all that follow it (figure 2, steps 3 and 4)."""
        log = self.log
        if entries[0].position <= log.last:
            known = 0
            for entry in entries:
                if log.term(entry.position) != entry.term:
                    break
                known += 1
            entries = entries[known:]
            if not entries:
                return
            if entries[0].position <= log.last:
                self._cut_log(entries[0].position)
        self._append_to_log(entries)

    def _reject(self, leader: str, previous: int) -> None:
        """Say where the logs may meet: a term at a time, not an entry at a time (the end of section 5.3)."""
        log = self.log
        if previous > log.last:
            conflict_term, position = 0, log.last + 1
        else:
            conflict_term = log.term(previous)
            position = max(log.first_of_term_at(previous), self.commit + 1)
        self._send_when_durable(
            leader, AppendReply(self.term, False, position, conflict_term, previous, self._leader_round)
        )

    def _acknowledge(self) -> None:
        """Tell the leader how far our log equals its own and is durable.

        Called when an append brought nothing new, and, while a word is owed, whenever something has become
        durable: so several appends may be answered after one fsync.
        """
        leader = self._leader
        if leader is None or self.role is not FOLLOWER:
            self._acknowledgement_owed = False
            return
        if self._state_sequence > self._durable_sequence():
            return
        self._acknowledgement_owed = self.durable_position < self._matched
        position = min(self._matched, self.durable_position)
        self._send(leader, AppendReply(self.term, True, position, 0, 0, self._leader_round))
