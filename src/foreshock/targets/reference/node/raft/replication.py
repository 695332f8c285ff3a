"""What a leader sends, what it makes of the answers, and when it commits (sections 5.3 and 5.4)."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from foreshock.targets.reference.node.consensus import Entry, Propose
from foreshock.targets.reference.node.raft.messages import Append, AppendReply
from foreshock.targets.reference.node.raft.progress import Pace, Progress
from foreshock.targets.reference.node.raft.snapshots import Snapshots
from foreshock.targets.reference.node.raft.state import LEADER, NS_PER_MS

_match_of = attrgetter("match")
_heard_of = attrgetter("heard_ns")


class Replication(Snapshots):
    """The leader's side of AppendEntries."""

    # --- new entries ------------------------------------------------------------------------------------------

    def _on_propose(self, event: Propose) -> None:
        """A client's command: into the log, to the followers, and to the disk, all three at once.

        The leader writes while its followers do (dissertation 10.2.1); it counts itself when it is done.
        """
        if self.role is not LEADER:
            self._refuse(event.proposal, "this node does not lead")
        elif self._transfer is not None:
            self._refuse(event.proposal, f"leadership is being handed to {self._transfer.target}")
        elif self.log.last - self.commit >= self.knobs.uncommitted_entries_max:
            self._refuse(event.proposal, f"{self.log.last - self.commit} entries wait for commitment already")
        else:
            self._propose("command", event.command, event.proposal)

    def _propose(self, kind: str, data: Any, proposal: int | None = None) -> None:
        """Append one entry of this term and send it to whoever may have it now."""
        position = self.log.last + 1
        if proposal is not None:
            self._proposals[position] = proposal
        self._append_to_log((Entry(position, self.term, kind, data),))
        for name, peer in self._peers.items():
            self._feed(name, peer)

    # --- sending ----------------------------------------------------------------------------------------------

    def _feed(self, name: str, peer: Progress) -> None:
        """Send what the follower lacks, as far as its pace and window allow."""
        last = self.log.last
        if peer.pace is Pace.REPLICATE:
            window = self.knobs.inflight_appends_max
            while peer.next <= last and len(peer.inflight) < window and self._send_entries(name, peer):
                pass
        elif peer.pace is Pace.PROBE and not peer.waiting:
            self._send_entries(name, peer)

    def _send_entries(self, name: str, peer: Progress) -> bool:
        """One append with the next batch, or a snapshot, if the log begins later; whether more may follow."""
        if peer.next <= self.log.base:
            self._begin_snapshot(name, peer)
            return False
        message = self._append_after(peer.next - 1, self.knobs.batch_entries_max)
        self._output.send.append((name, message))
        if peer.pace is Pace.PROBE:
            peer.waiting = True
            return False
        if message.entries:
            peer.next += len(message.entries)
            peer.inflight.append(peer.next - 1)
        return bool(message.entries)

    def _append_after(self, previous: int, entries_max: int) -> Append:
        """An append with up to so many of the entries after a position that the log knows.

        Followers that are equally far get one and the same message: the last one made is kept.
        """
        log = self.log
        key = (previous, entries_max, log.last, self.term, self.commit, self._round)
        if key != self._last_append_key:
            entries = log.batch(previous + 1, entries_max, self.knobs.batch_bytes_max) if entries_max else ()
            self._last_append_key = key
            self._last_append = Append(
                self.term, previous, log.term(previous), entries, self.commit, self._round
            )
        return self._last_append

    def _beat(self) -> None:
        """Speak to every follower, and repeat what may have been lost."""
        self._heartbeat_deadline = self._now + self.knobs.heartbeat_ms * NS_PER_MS
        for name, peer in self._peers.items():
            if peer.pace is Pace.REPLICATE and peer.next > self.log.base:
                # An empty append after the last entry sent: the follower rejects it if one before was lost.
                self._send(name, self._append_after(peer.next - 1, 0))
                self._feed(name, peer)
            elif peer.pace is Pace.SNAPSHOT:
                self._confirm(name, peer)
                self._repeat_snapshot(name, peer)
            else:
                peer.waiting = False
                self._send_entries(name, peer)

    def _confirm(self, name: str, peer: Progress) -> None:
        """An empty append that no follower of this term can reject, to ask whether we still lead."""
        previous = peer.match if peer.match >= self.log.base else 0
        if previous:
            self._send(name, self._append_after(previous, 0))
        else:
            self._send(name, Append(self.term, 0, 0, (), self.commit, self._round))

    # --- answers ----------------------------------------------------------------------------------------------

    def _on_append_reply(self, source: str, message: AppendReply) -> None:
        """Move the follower's progress: forward when it accepted, back a term at a time when it did not."""
        peer = self._heard(source, message.round)
        if peer is None:
            return
        if message.accepted:
            if message.position > self.log.last:
                self.dropped += 1
                return
            if peer.acknowledge(message.position):
                self._matches_moved = True
            if peer.pace is Pace.REPLICATE:
                self._feed(source, peer)
        elif self._is_fresh_rejection(peer, message):
            peer.probe(self._meeting_point(peer, message))
            self._feed(source, peer)

    def _is_fresh_rejection(self, peer: Progress, message: AppendReply) -> bool:
        """Whether a rejection tells something new: a late one must not undo what was learned since.

        One of what the follower has acknowledged is no news either; to answer it would go on for ever.
        """
        if message.rejected <= peer.match:
            return False
        if peer.pace is Pace.PROBE:
            return message.rejected == peer.next - 1
        return peer.pace is Pace.REPLICATE and message.rejected < peer.next

    def _meeting_point(self, peer: Progress, message: AppendReply) -> int:
        """The next position to try: after our last entry of the conflicting term, if we have that term, else
        before the follower's first entry of it (the end of section 5.3)."""
        following = message.position
        if message.conflict_term:
            ours = self.log.last_of_term(message.conflict_term)
            if ours:
                following = ours + 1
        return max(peer.match + 1, min(following, message.rejected))

    # --- commitment -------------------------------------------------------------------------------------------

    def _advance_commit(self) -> None:
        """Commit what a majority holds durably, ourselves included (figure 2, the last rule for leaders)."""
        self._matches_moved = False
        reached = self._quorum_value(self.durable_position, _match_of)
        if reached > self.commit and self._may_commit(reached):
            self.commit = reached

    def _may_commit(self, position: int) -> bool:
        """Only entries of the current term are committed by counting; earlier ones follow (section 5.4.2)."""
        return self.log.term(position) == self.term

    def _committed_in_own_term(self) -> bool:
        """Whether this leader knows which entries are committed: not before one of its own is (section 8)."""
        return self.log.term(self.commit) == self.term

    def _lost_quorum(self) -> bool:
        """Whether no majority has answered for as long as an election may take (dissertation 6.2)."""
        heard = self._quorum_value(self._now, _heard_of)
        return self._now - heard > self.knobs.election_timeout_max_ms * NS_PER_MS
