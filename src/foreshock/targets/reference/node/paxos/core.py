"""Multi-Paxos, sans I/O: one replica, whose parts are in the modules beside this one.

::

    synod.py             one value: the rules of "Paxos Made Simple", section 2
    PaxosState           fields, durability, acceptors of slots         state.py
      Learning             what is chosen, and what was missed          learning.py
        Snapshots            snapshots, both ends                       snapshots.py
          Accepting            phases 1 (b) and 2 (b)                   accepting.py
            Proposing            phase 2 (a), and what comes of it      proposing.py
              Reads                linearizable reads                   reads.py
                Membership           members, leadership transfer       membership.py
                  Electing             canvass, phase 1 (a)             electing.py
                    Paxos                events in, outputs out         here

Every *decision* is a small method of its own with a name (``_may_promise``, ``_reported_in``, ...): a planted bug is
a subclass that overrides one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from foreshock.targets.reference.node.consensus import (
    Receive,
    Record,
    Snapshot,
    Tick,
)
from foreshock.targets.reference.node.paxos.codec import read_acceptance, read_ballot
from foreshock.targets.reference.node.paxos.electing import Electing
from foreshock.targets.reference.node.paxos.knobs import PaxosKnobs
from foreshock.targets.reference.node.paxos.messages import (
    Accept,
    Accepted,
    Canvass,
    CanvassReply,
    Chosen,
    Learn,
    Nack,
    Prepare,
    Promise,
    SnapshotPiece,
    TakeOver,
)
from foreshock.targets.reference.node.paxos.state import CANDIDATE, LEADER


class Paxos(Electing):
    """One member of a replicated log; see ``consensus.Replica`` for what it asks of its driver."""

    def __init__(
        self,
        name: str,
        members: Sequence[str],
        knobs: PaxosKnobs,
        random_bits: Callable[[int], int],
        now_ns: int,
    ) -> None:
        super().__init__(name, members, knobs, random_bits, now_ns)
        self._message_handlers: dict[type, Callable[[str, Any], None]] = {
            Canvass: self._on_canvass,
            CanvassReply: self._on_canvass_reply,
            Prepare: self._on_prepare,
            Promise: self._on_promise,
            Accept: self._on_accept,
            Accepted: self._on_accepted,
            Nack: self._on_nack,
            Learn: self._on_learn,
            Chosen: self._on_chosen,
            SnapshotPiece: self._on_snapshot_piece,
            TakeOver: self._on_take_over,
        }

    def _resume(self) -> None:
        """Everything that is said to be chosen must be there, and takes effect."""
        chosen = self._chosen_before
        for slot in range(self.commit + 1, chosen + 1):
            if slot not in self.accepted:
                raise ValueError(
                    f"all slots up to {chosen} are chosen, but the log does not hold slot {slot}"
                )
            self._pass(slot)
            self._drop_old_configurations()

    def _replay(self, record: Record) -> None:
        """Take a durable record back."""
        data = record.data
        if record.kind == "state":
            if data["window"] != self.knobs.window_slots:
                raise ValueError(
                    f"it was written with window_slots {data['window']!r}, and this node has "
                    f"{self.knobs.window_slots}; the two must be the same for ever"
                )
            self.promised = read_ballot(data["promised"])
            if type(data["chosen"]) is not int:
                raise ValueError(f"chosen is {data['chosen']!r}")
            self._chosen_before = max(self._chosen_before, data["chosen"])
        elif record.kind == "accepted":
            for fields in data:
                acceptance = read_acceptance(fields)
                if acceptance.slot > self.base:
                    self.accepted[acceptance.slot] = acceptance
                    self.last = max(self.last, acceptance.slot)
        elif record.kind == "snapshot":
            position, term, members, state = data
            self.snapshot = Snapshot(position, term, tuple(members), state)
            self._forget_slots(position)
            self.last = max(self.last, position)
            self.commit = self.applied = position
            self._configurations = [(position + 1, self.snapshot.members)]
        else:
            raise ValueError(f"its kind is {record.kind!r}")

    # --- what the driver sees ---------------------------------------------------------------------------------

    @property
    def leading(self) -> bool:
        """Whether this replica believes that it leads."""
        return self.role is LEADER

    def describe(self) -> dict[str, Any]:
        """The state in a few JSON scalars, for the ``status`` request and the invariants."""
        return {
            "name": self._name,
            "role": str(self.role),
            "term": [*self.promised],
            "leader": self._leader,
            "members": list(self.members),
            "acceptors": list(self._acceptors_of(self.commit + 1)),
            "commit": self.commit,
            "applied": self.applied,
            "first": self.base + 1,
            "last": self.last,
            "snapshot": self.snapshot.position if self.snapshot is not None else 0,
            "proposals": len(self._open) + len(self._wishes),
            "reads": len(self._reads_waiting) + len(self._reads_confirming),
            "joining": self._joining.name if self._joining is not None else None,
            "transfer": self._transfer.target if self._transfer is not None else None,
            "dropped": self.dropped,
        }

    # --- one step ---------------------------------------------------------------------------------------------

    def _on_receive(self, event: Receive) -> None:
        """Let the message's handler have it. There is no common term: each instance of Paxos stands for itself."""
        source, message = event
        handler = self._message_handlers.get(type(message))
        if handler is None or source == self._name:
            self.dropped += 1
        else:
            handler(source, message)

    def _on_tick(self, event: Tick) -> None:  # noqa: ARG002
        """Do what is due: a leader's or candidate's heartbeat, and a look at its quorum; or a campaign."""
        if self.role is LEADER:
            if self._now >= self._heartbeat_deadline:
                if self._lost_quorum():
                    self._stop_proposing(None)
                else:
                    self._beat()
                    self._repeat_transfer()
        elif self._now >= self._election_deadline:
            self._on_election_timeout()
        elif self.role is CANDIDATE and self._now >= self._heartbeat_deadline:
            self._beat()

    def _settle(self) -> None:
        """Draw the consequences of an event; the same after every one, and none of them depends on its kind."""
        durable = self._durable_sequence()
        if durable != self._noted:
            self._noted = durable
            self._release(durable)
        if self.role is LEADER:
            self._lead()
        elif self.role is CANDIDATE and self._has_promises():
            self._lead_from_now_on()
        if self._transfer is not None:
            self._advance_transfer(self._transfer)
        if self.commit > self.applied:
            self._emit_committed()
        if self.role is LEADER:
            self._output.deadline_ns = self._heartbeat_deadline
        elif self.role is CANDIDATE:
            self._output.deadline_ns = min(self._heartbeat_deadline, self._election_deadline)
        else:
            self._output.deadline_ns = self._election_deadline

    def _release(self, durable: int) -> None:
        """Say what was held back until now; what is for ourselves goes the way of all messages."""
        held = self._held
        while held and held[0][0] <= durable:
            _, destination, message = held.popleft()
            if destination == self._name:
                self._message_handlers[type(message)](destination, message)
            else:
                self._send_merged(destination, message)

    def _lead(self) -> None:
        """What a leader does after every event."""
        if self._joining is not None:
            self._advance_joining(self._joining)
        if self._change is not None:
            self._advance_change(self._change)
        self._advance_proposals()
        if self._reads_waiting or self._reads_confirming:
            self._advance_reads()
        if self._removed():
            self._retire()
