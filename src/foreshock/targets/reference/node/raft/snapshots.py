"""Snapshots: taken by the driver, sent to followers that are too far behind, installed by them (section 7)."""

from __future__ import annotations

import json

from foreshock.targets.reference.node.consensus import Compact, Snapshot
from foreshock.targets.reference.node.incoming import SNAPSHOT_TEXT_MAX, gathering
from foreshock.targets.reference.node.raft.following import Following
from foreshock.targets.reference.node.raft.messages import InstallSnapshot, SnapshotReply
from foreshock.targets.reference.node.raft.progress import Outgoing, Pace, Progress
from foreshock.targets.reference.node.raft.state import LEADER, NS_PER_MS


class Snapshots(Following):
    """Both ends of InstallSnapshot (figure 13), and the compaction of one's own log."""

    def _on_compact(self, event: Compact) -> None:
        """Take over the driver's snapshot and cut the log there, but for a tail for followers close behind."""
        if not self._take_snapshot(event):
            return
        through = event.through
        self.log.compact(max(self.log.base, through - self.knobs.snapshot_keep_entries))
        self._forget_configurations(through)

    # --- the leader's end -------------------------------------------------------------------------------------

    def _begin_snapshot(self, name: str, peer: Progress) -> None:
        """Send our latest snapshot to a follower that needs entries from before our log's beginning."""
        snapshot = self.snapshot
        if snapshot is None:
            return
        if self._snapshot_text is None or self._snapshot_text[0] != snapshot.position:
            self._snapshot_text = (snapshot.position, json.dumps(snapshot.data, separators=(",", ":")))
        peer.pace = Pace.SNAPSHOT
        peer.inflight.clear()
        peer.snapshot = Outgoing(snapshot, self._snapshot_text[1])
        peer.snapshot_offset = 0
        self._send_piece(name, peer, peer.snapshot)

    def _send_piece(self, name: str, peer: Progress, outgoing: Outgoing) -> None:
        """Send the piece at the follower's offset, or the whole if it is short (without making text of it)."""
        position, term, members, data = outgoing.snapshot
        size = self.knobs.snapshot_chunk_bytes
        offset, total = 0, 0
        if len(outgoing.text) > size:
            offset, total = peer.snapshot_offset, len(outgoing.text)
            data = outgoing.text[offset : offset + size]
        peer.snapshot_sent_ns = self._now
        self._send(
            name, InstallSnapshot(self.term, position, term, members, offset, total, data, self._round)
        )

    def _repeat_snapshot(self, name: str, peer: Progress) -> None:
        """Send the last piece again when no answer came for as long as an election may take."""
        waited_ns = self._now - peer.snapshot_sent_ns
        if peer.snapshot is not None and waited_ns >= self.knobs.election_timeout_max_ms * NS_PER_MS:
            self._send_piece(name, peer, peer.snapshot)

    def _heard(self, source: str, confirmed_round: int) -> Progress | None:
        """The progress of a follower that answered in our term; ``None`` for strangers and other roles."""
        peer = self._peers.get(source) if self.role is LEADER else None
        if peer is None:
            return None
        peer.heard_ns = self._now
        if peer.round < confirmed_round <= self._round:
            peer.round = confirmed_round
        return peer

    def _on_snapshot_reply(self, source: str, message: SnapshotReply) -> None:
        """Go on where the follower is; after a restart of its own that may be at the beginning."""
        peer = self._heard(source, message.round)
        if peer is None or peer.pace is not Pace.SNAPSHOT or peer.snapshot is None:
            return
        fits = message.position == peer.snapshot.snapshot.position and message.offset < len(
            peer.snapshot.text
        )
        if fits and message.offset != peer.snapshot_offset:
            peer.snapshot_offset = message.offset
            self._send_piece(source, peer, peer.snapshot)

    # --- the follower's end -----------------------------------------------------------------------------------

    def _on_install_snapshot(self, source: str, message: InstallSnapshot) -> None:
        """InstallSnapshot, receiver's steps of figure 13; what we have committed already is not news."""
        if not self._hear_leader(source):
            return
        self._leader_round = max(self._leader_round, message.round)
        if message.position <= self.commit:
            self._matched = max(self._matched, message.position)
            self._acknowledgement_owed = True
            self._acknowledge()
            return
        data = message.data
        if message.total:
            text = self._gather(source, message)
            if text is None:
                return
            try:
                data = json.loads(text)
            except (ValueError, RecursionError):
                self.dropped += 1
                return
        if not self.accepts_snapshot(data):
            self.dropped += 1
            return
        self._install(Snapshot(message.position, message.snapshot_term, message.members, data))

    def _gather(self, source: str, message: InstallSnapshot) -> str | None:
        """Add a piece to those before it; the whole text once it is complete, else ``None``."""
        if message.total > SNAPSHOT_TEXT_MAX:
            self.dropped += 1
            return None
        known = gathering(self._incoming, "", message.position, message.snapshot_term, message.total)
        known.add(message.offset, message.data)
        text = known.text()
        self._incoming = known if text is None else None
        if text is None:
            reply = SnapshotReply(self.term, known.position, known.received, self._leader_round)
            self._send_when_durable(source, reply)
        return text

    def _install(self, snapshot: Snapshot) -> None:
        """Put a snapshot of committed entries in place of the log up to it; acknowledged once it is durable."""
        self._install_snapshot(snapshot)
        self._matched = max(self._matched, snapshot.position)
        self._acknowledgement_owed = True
