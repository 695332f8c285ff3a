"""Zab, sans I/O: one replica, whose parts are in the modules beside this one.

::

    ZabState       fields, durability, configurations              state.py
      Election       rounds, votes, notifications                  election.py
        Following      a follower, in all phases                   following.py
          Leading        discovery and synchronization             leading.py
            Broadcast      proposals, commitment, reads            broadcast.py
              Membership     members, leadership transfer          membership.py
                Zab            events in, outputs out              here

Every *decision* is a small method of its own with a name (``_rank``, ``_is_ahead``, ``_synchronize``, ``_truncate``,
...): a planted bug is a subclass that overrides one.
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
from foreshock.targets.reference.node.zab.knobs import ZabKnobs
from foreshock.targets.reference.node.zab.membership import Membership
from foreshock.targets.reference.node.zab.messages import (
    Beat,
    Cepoch,
    Close,
    Commit,
    Diff,
    Frame,
    NewEpoch,
    NewLeader,
    Notification,
    Proposal,
    Resend,
    Snap,
    SyncReply,
    TakeOver,
    Trunc,
    UpToDate,
)
from foreshock.targets.reference.node.zab.state import DISCOVERY, FOLLOWING, LEADING, LOOKING, SYNCHRONIZATION


class Zab(Membership):
    """One member of a replicated log; see ``consensus.Replica`` for what it asks of its driver."""

    def __init__(
        self,
        name: str,
        members: Sequence[str],
        knobs: ZabKnobs,
        random_bits: Callable[[int], int],
        now_ns: int,
    ) -> None:
        super().__init__(name, members, knobs, random_bits, now_ns)
        self._message_handlers: dict[type, Callable[[str, Any], None]] = {
            Notification: self._on_notification,
            Frame: self._on_frame,
            Beat: self._on_beat,
            Resend: self._on_resend,
            Close: self._on_close,
        }
        self._payload_handlers = {
            NewEpoch: self._on_new_epoch,
            Trunc: self._on_trunc,
            Diff: self._on_diff,
            Snap: self._on_snap,
            NewLeader: self._on_new_leader,
            UpToDate: self._on_up_to_date,
            Proposal: self._on_proposal,
            Commit: self._on_commit,
            SyncReply: self._on_sync_reply,
            TakeOver: self._on_take_over,
        }
        self._learners = {}
        self._heard = {}
        self._new_queues()
        self._enter_round(1)
        self._notify_ns = now_ns

    def _resume(self) -> None:
        super()._resume()
        self._enter_round(1)

    def _replay(self, record: Record) -> None:
        """Take a durable record back."""
        if record.kind == "state":
            self.accepted, self.current = record.data["accepted"], record.data["current"]
        elif record.kind == "entries":
            entries = [Entry(*fields) for fields in record.data]
            self._forget_after(entries[0].position - 1)
            self.log.append(entries)
            self._note_configurations(entries)
        elif record.kind == "truncate":
            self._forget_after(record.data)
        elif record.kind == "snapshot":
            self._replay_snapshot(record.data)
        else:
            raise ValueError(f"its kind is {record.kind!r}")

    def _forget_after(self, last: int) -> None:
        if not self.log.base <= last <= self.log.last:
            raise ValueError(f"position {last} is not in the log from {self.log.base} to {self.log.last}")
        self._forget_entries_after(last)

    # --- what the driver sees ---------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """The state in a few JSON scalars, for the ``status`` request and the invariants."""
        log = self.log
        return {
            "name": self._name,
            "role": str(self.role),
            "phase": str(self.phase),
            "term": self.epoch or self.accepted,
            "accepted": self.accepted,
            "current": self.current,
            "round": self._round,
            "leader": self._leader,
            "members": list(self._voters),
            "commit": self.commit,
            "applied": self.applied,
            "durable": self.durable_position,
            "first": log.base + 1,
            "last": log.last,
            "last_term": log.last_term,
            "snapshot": self.snapshot.position if self.snapshot is not None else 0,
            "followers": sorted(self._learners),
            "proposals": len(self._proposals),
            "reads": len(self._reads_waiting)
            + len(self._reads_confirming)
            + len(self._syncing)
            + len(self._syncs),
            "joining": self._joining.name if self._joining is not None else None,
            "transfer": self._transfer.target if self._transfer is not None else None,
            "dropped": self.dropped,
        }

    # --- one step ---------------------------------------------------------------------------------------------

    def _on_receive(self, event: Receive) -> None:
        """To the message's handler; what is none, and what claims to come from ourselves, is dropped."""
        source, message = event
        handler = self._message_handlers.get(type(message))
        if handler is None or source == self._name:
            self.dropped += 1
            return
        handler(source, message)

    def _on_tick(self, event: Tick) -> None:  # noqa: ARG002
        """Do what is due."""
        if self.role is LEADING:
            self._on_leader_tick()
        elif self.role is FOLLOWING:
            self._on_follower_tick()
        else:
            self._on_election_tick()

    def _on_frame(self, source: str, message: Frame) -> None:
        """The next word on a channel, or one that we know nothing of."""
        channel = self._channel
        if self.role is LEADING:
            self._on_follower_frame(source, message)
        elif channel is not None and channel.peer == source and channel.session == message.session:
            self._on_leader_frame(channel, message)
        else:
            self._turn_away(source, message.session, message.payload)

    def _turn_away(self, source: str, session: int, payload: Any) -> None:
        """One calls who takes us for its leader. While we may yet be elected it is to call again; else never."""
        if type(payload) is Cepoch and (self.role is FOLLOWING or self._choice != self._name):
            self._send(source, Close(session))

    def _on_beat(self, source: str, message: Beat) -> None:
        channel = self._channel
        if self.role is LEADING:
            self._on_follower_beat(source, message)
        elif channel is not None and channel.peer == source and channel.session == message.session:
            self._on_leader_beat(channel, message)

    def _on_resend(self, source: str, message: Resend) -> None:
        """Say again what was lost."""
        channel = self._channel
        if self.role is LEADING:
            learner = self._learners.get(source)
            channel = learner.channel if learner is not None else None
        if channel is not None and channel.peer == source and channel.session == message.session:
            for frame in channel.again(message.first, message.last):
                self._send(source, frame)

    def _on_notification(self, source: str, message: Notification) -> None:
        """As the election has it; and a leader that we call and that knows by now that it leads is called again."""
        channel = self._channel
        if (
            channel is not None
            and channel.peer == source
            and message.state == LEADING
            and not channel.arrived
        ):
            self._call_again(channel)
        super()._on_notification(source, message)

    def _look(self) -> None:
        """Back to the election: whatever this node was, it is no more."""
        self._stop_following()
        self._emit_committed()
        if self.role is LEADING:
            for name in list(self._learners):
                self._drop(name)
            if self._joining is not None:
                self._refuse(self._joining.proposal, "leadership was lost while the new member caught up")
                self._joining = None
            self._abandon_requests()
        self._begin_looking()

    def _advance_discovery_and_synchronization(self) -> None:
        if self.phase is DISCOVERY:
            self._advance_discovery()
        if self.phase is SYNCHRONIZATION:
            self._advance_synchronization()

    def _settle(self) -> None:
        """Draw the consequences of an event; the same after every one, and none of them depends on its kind."""
        durable = self._durable_sequence()
        if durable != self._noted:
            self._note_durable(durable)
        if self._held:
            self._release(durable)
        if self.role is LEADING:
            self._advance_leading()
        if self._channel is not None:
            self._advance_following(self._channel)
        if self._transfer is not None:
            self._advance_transfer(self._transfer)
        if self.commit > self.applied:
            self._emit_committed()
        self._output.deadline_ns = self._deadline_ns()

    def _release(self, durable: int) -> None:
        """Say what was held back until now, on channels that still stand."""
        held = self._held
        while held and held[0][0] <= durable:
            _, channel, payload = held.popleft()
            if channel is self._channel:
                self._tell(channel, payload)

    def _deadline_ns(self) -> int:
        """When time itself has something to say."""
        if self.role is LEADING:
            due = self._commit_due_ns
            return self._heartbeat_deadline if due is None else min(due, self._heartbeat_deadline)
        if self.role is FOLLOWING:
            calling = self._channel is not None and not self._channel.arrived
            return min(self._give_up_ns, self._call_ns) if calling else self._give_up_ns
        if self._finalize_ns is not None:
            return min(self._finalize_ns, self._notify_ns)
        return self._notify_ns if self.role is LOOKING else self._give_up_ns
