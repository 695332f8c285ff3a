"""Raft, sans I/O: one replica, whose parts are in the modules beside this one.

::

    RaftState      fields, durability, terms, configurations        state.py
      Following      a follower and its leader's entries            following.py
        Snapshots      snapshots, both ends                         snapshots.py
          Replication    a leader and its followers; commitment     replication.py
            Leases         how long a leader may read alone         leases.py
              Reads          ReadIndex, reads under a lease         reads.py
                Membership     members, leadership transfer         membership.py
                  Election       PreVote, votes                     election.py
                    Raft           events in, outputs out           here

Every *decision* is a small method of its own with a name (``_may_commit``, ``_log_is_up_to_date``, ...): a planted
bug is a subclass that overrides one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from foreshock.targets.reference.node.consensus import (
    Entry,
    Receive,
    Record,
    Tick,
)
from foreshock.targets.reference.node.raft.election import Election
from foreshock.targets.reference.node.raft.knobs import RaftKnobs
from foreshock.targets.reference.node.raft.messages import (
    Append,
    AppendReply,
    InstallSnapshot,
    PreVote,
    PreVoteReply,
    SnapshotReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from foreshock.targets.reference.node.raft.state import LEADER


class Raft(Election):
    """One member of a replicated log; see ``consensus.Replica`` for what it asks of its driver."""

    def __init__(
        self,
        name: str,
        members: Sequence[str],
        knobs: RaftKnobs,
        random_bits: Callable[[int], int],
        now_ns: int,
    ) -> None:
        super().__init__(name, members, knobs, random_bits, now_ns)
        self._message_handlers: dict[type, Callable[[str, Any], None]] = {
            PreVote: self._on_prevote,
            PreVoteReply: self._on_prevote_reply,
            Vote: self._on_vote,
            VoteReply: self._on_vote_reply,
            Append: self._on_append,
            AppendReply: self._on_append_reply,
            InstallSnapshot: self._on_install_snapshot,
            SnapshotReply: self._on_snapshot_reply,
            TimeoutNow: self._on_timeout_now,
        }

    def _replay(self, record: Record) -> None:
        """Take a durable record back."""
        if record.kind == "state":
            self.term, self.vote = record.data["term"], record.data["vote"]
            if type(self.term) is not int or not isinstance(self.vote, str | None):
                raise ValueError(f"there is no term {self.term!r} with a vote for {self.vote!r}")
        elif record.kind == "entries":
            entries = [Entry(*fields) for fields in record.data]
            if entries[0].position <= self.log.last:
                self._forget_entries_after(entries[0].position - 1)
            self.log.append(entries)
            self._note_configurations(entries)
        elif record.kind == "snapshot":
            self._replay_snapshot(record.data)
        else:
            raise ValueError(f"its kind is {record.kind!r}")

    # --- what the driver sees ---------------------------------------------------------------------------------

    @property
    def leading(self) -> bool:
        """Whether this replica believes that it leads."""
        return self.role is LEADER

    def describe(self) -> dict[str, Any]:
        """The state in a few JSON scalars, for the ``status`` request and the invariants."""
        log = self.log
        return {
            "name": self._name,
            "role": str(self.role),
            "term": self.term,
            "vote": self.vote,
            "leader": self._leader,
            "members": list(self._voters),
            "commit": self.commit,
            "applied": self.applied,
            "durable": self.durable_position,
            "first": log.base + 1,
            "last": log.last,
            "last_term": log.last_term,
            "snapshot": self.snapshot.position if self.snapshot is not None else 0,
            "proposals": len(self._proposals),
            "reads": len(self._reads_waiting) + len(self._reads_confirming),
            "joining": self._joining.name if self._joining is not None else None,
            "transfer": self._transfer.target if self._transfer is not None else None,
            "dropped": self.dropped,
        }

    # --- one step ---------------------------------------------------------------------------------------------

    def _on_receive(self, event: Receive) -> None:
        """Bring the terms together (figure 2, rules for all servers), then let the message's handler have it.

        A PreVote and the permission that answers it change no term, so either may come from a past one: whoever
        is behind may permit a term that it would then enter.
        """
        source, message = event
        kind = type(message)
        handler = self._message_handlers.get(kind)
        if handler is None or source == self._name:
            self.dropped += 1
            return
        term = message.term
        if term < self.term and kind is not PreVoteReply:
            self._answer_the_past(source, message)
        elif term <= self.term or kind is PreVote:
            handler(source, message)
        elif kind is not Vote or message.transfer or not self._sticks_to_leader():
            self._become_follower(term, None)
            handler(source, message)

    def _answer_the_past(self, source: str, message: Any) -> None:
        """Tell a leader or a candidate of an earlier term that it is over; other late words mean nothing."""
        kind = type(message)
        if kind is Append or kind is InstallSnapshot:
            self._send_when_durable(source, AppendReply(self.term, False, 0, 0, 0, 0))
        elif kind is Vote:
            self._send_when_durable(source, VoteReply(self.term, False))
        elif kind is PreVote:
            self._send_when_durable(source, PreVoteReply(self.term, message.term + 1, False))

    def _on_tick(self, event: Tick) -> None:  # noqa: ARG002
        """Do what is due: a heartbeat, and a look at the quorum, of a leader; a campaign of anybody else."""
        if self.role is not LEADER:
            if self._now >= self._election_deadline:
                self._on_election_timeout()
        elif self._now >= self._heartbeat_deadline:
            if self._lost_quorum():
                self._become_follower(self.term, None)
            else:
                self._beat()
                self._repeat_transfer()

    def _settle(self) -> None:
        """Draw the consequences of an event; the same after every one, and none of them depends on its kind."""
        durable = self._durable_sequence()
        if durable != self._noted:
            self._note_durable(durable)
            self._release(durable)
        if self.role is LEADER:
            self._lead()
        if self._transfer is not None:
            self._advance_transfer(self._transfer)
        if self.commit > self.applied:
            self._emit_committed()
        leading = self.role is LEADER
        self._output.deadline_ns = self._heartbeat_deadline if leading else self._election_deadline

    def _release(self, durable: int) -> None:
        """Say what was held back until now; what is for ourselves goes the way of all messages."""
        held = self._held
        while held and held[0][0] <= durable:
            _, destination, message = held.popleft()
            if destination != self._name:
                self._output.send.append((destination, message))
            elif message.term == self.term:
                self._message_handlers[type(message)](destination, message)
        if self._acknowledgement_owed:
            self._acknowledge()

    def _lead(self) -> None:
        """What a leader does after every event."""
        if self._matches_moved:
            self._advance_commit()
        if self._reads_waiting or self._reads_confirming:
            self._advance_reads()
        if self._joining is not None:
            self._advance_joining(self._joining)
        if self._removed():
            self._retire()
