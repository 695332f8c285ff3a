"""Snapshots: taken by the driver, fetched by learners that are too far behind, installed by them.

They are not in "Paxos Made Simple"; Chandra, Griesemer & Redstone, "Paxos Made Live", 2007, section 5.5, tells why they
are needed and what they cost. A learner pulls them, piece by piece: whoever gives them keeps nothing in mind.
"""

from __future__ import annotations

import json

from foreshock.targets.reference.node.consensus import Compact, Snapshot
from foreshock.targets.reference.node.incoming import SNAPSHOT_TEXT_MAX, gathering
from foreshock.targets.reference.node.paxos.learning import Learning
from foreshock.targets.reference.node.paxos.messages import Learn, SnapshotPiece
from foreshock.targets.reference.node.paxos.state import LEADER


class Snapshots(Learning):
    """Both ends of a snapshot's way, and the truncation of one's own log."""

    def _on_compact(self, event: Compact) -> None:
        """Take over the driver's snapshot and forget the slots that it covers, but for some for learners close behind.

        Not while a configuration is chosen that does not count yet: a snapshot tells of one set of acceptors only. The
        leader sees to it that this is over soon.
        """
        through = event.through
        taken = self.snapshot.position if self.snapshot is not None else 0
        if not taken < through <= self.applied or self._settled_from() > through + 1:
            return
        term = self.accepted[through].ballot.round
        snapshot = Snapshot(through, term, self._acceptors_of(through + 1), event.data)
        self.snapshot = snapshot
        self._write("snapshot", snapshot)
        self._forget_slots(max(self.base, through - self.knobs.snapshot_keep_entries))

    def _forget_slots(self, through: int) -> None:
        if through - self.base > len(self.accepted):
            for slot in [slot for slot in self.accepted if slot <= through]:
                del self.accepted[slot]
        else:
            for slot in range(self.base + 1, through + 1):
                self.accepted.pop(slot, None)
        self.base = through

    # --- the giving end ---------------------------------------------------------------------------------------

    def _send_snapshot_piece(self, destination: str, message: Learn) -> None:
        """Send the piece that is asked for, or the first of a newer snapshot; a short one goes whole."""
        snapshot = self.snapshot
        assert snapshot is not None, "only a snapshot takes slots out of the log"
        position, term, members, data = snapshot
        if self._snapshot_text[0] != position:
            self._snapshot_text = (position, json.dumps(data, separators=(",", ":")))
        text, size = self._snapshot_text[1], self.knobs.snapshot_chunk_bytes
        offset, total = 0, 0
        if len(text) > size:
            total = len(text)
            offset = message.offset if message.position == position and message.offset < total else 0
            data = text[offset : offset + size]
        self._send(destination, SnapshotPiece(position, term, members, offset, total, data))

    # --- the taking end ---------------------------------------------------------------------------------------

    def _on_snapshot_piece(self, source: str, message: SnapshotPiece) -> None:
        """Gather the pieces, and install the whole; what we know to be chosen already is not news.

        A leader takes none but for what it must learn before it proposes at all.
        """
        if message.position <= self.commit or (self.role is LEADER and self.commit >= self._floor):
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
        self._install(Snapshot(message.position, message.term, message.members, data))
        self._ask_to_learn(source)

    def _gather(self, source: str, message: SnapshotPiece) -> str | None:
        """Add a piece to those before it; the whole text once it is complete, else ``None``."""
        if message.total > SNAPSHOT_TEXT_MAX:
            self.dropped += 1
            return None
        known = gathering(self._incoming, source, message.position, message.term, message.total)
        fits = known.add(message.offset, message.data)
        text = known.text()
        self._incoming = known if text is None else None
        if text is None and fits:
            self._ask_to_learn(source)
        return text

    def _install(self, snapshot: Snapshot) -> None:
        """Put a snapshot in place of the slots up to it. What was accepted in later slots stays: they are their own.

        It does not tell under which ballots its slots were chosen. So a leader that has proposed in one of them, and
        does not know what became of that, leads no more (see ``learning.py``).
        """
        position = snapshot.position
        if self.role is LEADER and any(slot <= position for slot in self._open):
            self._stop_proposing(None)
        self.snapshot = snapshot
        self._incoming = None
        self._forget_slots(position)
        self.last = max(self.last, position)
        self.commit = self.applied = position
        self._chosen_ahead = {slot for slot in self._chosen_ahead if slot > position}
        self._configurations = [(position + 1, snapshot.members)]
        self._output.restore = snapshot
        self._write("snapshot", snapshot)
        self._save_state()
        self._adopt_configurations()
        self._advance_chosen()
