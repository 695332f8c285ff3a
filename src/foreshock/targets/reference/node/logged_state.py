"""What the replicas of Raft and of Zab share beside all others: one log, and configurations that act from within it.

Both write entries in the order of their positions, cut the log's end off where a leader has another, and count by the
latest configuration in the log, committed or not. Paxos has slots, each accepted by itself, and does none of that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from foreshock.targets.reference.node.consensus import Committed, Compact, Entry, Snapshot
from foreshock.targets.reference.node.log import Log
from foreshock.targets.reference.node.membership import MembershipState

K = TypeVar("K")


class LoggedState(MembershipState[K]):
    """A log of which a beginning is in a snapshot, and a beginning is durable."""

    log: Log

    def __init__(
        self,
        name: str,
        members: Sequence[str],
        knobs: K,
        random_bits: Callable[[int], int],
        now_ns: int,
    ) -> None:
        super().__init__(name, members, knobs, random_bits, now_ns)
        self._log_writes: deque[tuple[int, int]] = deque()
        """The records that are not durable yet, each with where the log ends once it is."""
        self.durable_position = 0
        self._matches_moved = False
        """Whether more may be committed than when the leader last looked."""
        self._proposals: dict[int, int] = {}
        self._configurations: list[tuple[int, tuple[str, ...]]] = [(0, tuple(sorted(members)))]
        """From which position on each configuration acts."""
        self._voters: tuple[str, ...] = ()
        self._majority = 0

    # --- the past, and what is durable of it ------------------------------------------------------------------

    def _resume(self) -> None:
        self.durable_position = self.log.last
        if self.snapshot is not None:
            self.commit = self.applied = self.snapshot.position
        self._adopt_configuration()

    def _replay_snapshot(self, data: Any) -> None:
        """Take the record of a snapshot back."""
        position, term, members, state = data
        self._put_in_place(Snapshot(position, term, tuple(members), state))

    def _put_in_place(self, snapshot: Snapshot) -> bool:
        """Let a snapshot be the beginning of the log; whether the entries after it could stay."""
        position = snapshot.position
        self.snapshot = snapshot
        kept = self.log.install(position, snapshot.term)
        later = [entry for entry in self._configurations if kept and entry[0] > position]
        self._configurations = [(position, snapshot.members), *later]
        return kept

    def _install_snapshot(self, snapshot: Snapshot) -> None:
        """Put a snapshot of committed entries in place of the log up to it, in memory, on disk and at the driver's."""
        if not self._put_in_place(snapshot):
            self.durable_position = min(self.durable_position, self.commit)
            self._log_writes.clear()
        self._adopt_configuration()
        self.commit = self.applied = snapshot.position
        self._output.restore = snapshot
        self._log_writes.append((self._write("snapshot", snapshot), self.log.last))

    def _take_snapshot(self, event: Compact) -> bool:
        """Take over the driver's snapshot, if it is newer than ours; what to cut off the log then is not done here."""
        through = event.through
        taken = self.snapshot.position if self.snapshot is not None else 0
        if not taken < through <= min(self.applied, self.log.last):
            return False
        self.snapshot = Snapshot(through, self.log.term(through), self._members_at(through), event.data)
        self._write("snapshot", self.snapshot)
        return True

    def _append_to_log(self, entries: Sequence[Entry]) -> None:
        """Add entries to the log in memory and ask for their durability; configurations act at once."""
        log = self.log
        log.append(entries)
        self._log_writes.append((self._write("entries", entries), log.last))
        self._note_configurations(entries)

    def _forget_entries_after(self, last: int) -> None:
        """Drop the entries after a position from memory, and the configurations among them."""
        self.log.truncate(last + 1)
        self.durable_position = min(self.durable_position, last)
        self._log_writes = deque((sequence, min(end, last)) for sequence, end in self._log_writes)
        while len(self._configurations) > 1 and self._configurations[-1][0] > last:
            self._configurations.pop()
        self._adopt_configuration()

    def _note_durable(self, durable: int) -> None:
        """Move ``durable_position`` to where the records up to this sequence reach."""
        self._noted = durable
        writes = self._log_writes
        while writes and writes[0][0] <= durable:
            self.durable_position = writes.popleft()[1]
            self._matches_moved = True

    def _emit_committed(self) -> None:
        """Hand over what has been committed since the last time."""
        log, proposals, committed = self.log, self._proposals, self._output.committed
        for position in range(self.applied + 1, min(self.commit, log.last) + 1):
            proposal = proposals.pop(position, None) if proposals else None
            committed.append(Committed(log.entry(position), proposal))
        self.applied = max(self.applied, self.commit)

    def entry(self, position: int) -> Entry | None:
        """The entry in the log in memory at a position; ``None`` where a snapshot took its place, or none is yet."""
        return self.log.entry(position) if self.log.base < position <= self.log.last else None

    # --- configurations ---------------------------------------------------------------------------------------

    @property
    def members(self) -> tuple[str, ...]:
        """The latest configuration in the log, committed or not."""
        return self._voters

    def _members_at(self, position: int) -> tuple[str, ...]:
        """The configuration that the entry at a position left in force."""
        for since, members in reversed(self._configurations):
            if since <= position:
                return members
        return self._configurations[0][1]

    def _adopt_configuration(self) -> None:
        """Count by the latest configuration from now on."""
        self._voters = self._configurations[-1][1]
        self._majority = len(self._voters) // 2 + 1

    def _note_configurations(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.kind == "configuration":
                self._configurations.append((entry.position, tuple(entry.data)))
                self._adopt_configuration()

    def _forget_configurations(self, position: int) -> None:
        """Keep the configuration in force at a position, and the later ones."""
        members = self._members_at(position)
        later = [entry for entry in self._configurations if entry[0] > position]
        self._configurations = [(position, members), *later]
