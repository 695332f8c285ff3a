"""A follower: discovery, synchronization and broadcast from its side (the follower's parts of algorithms 1 to 3).

Whatever breaks the order of things ends the channel, and the follower looks for a leader again: nothing is guessed.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from foreshock.targets.reference.node.consensus import Entry, ReadReady, Snapshot
from foreshock.targets.reference.node.incoming import SNAPSHOT_TEXT_MAX, Incoming, gathering
from foreshock.targets.reference.node.zab.channel import COUNTER_BITS, Channel
from foreshock.targets.reference.node.zab.election import Election
from foreshock.targets.reference.node.zab.messages import (
    Ack,
    AckEpoch,
    AckLeader,
    Beat,
    Cepoch,
    Close,
    Commit,
    Diff,
    Frame,
    NewEpoch,
    NewLeader,
    Payload,
    Proposal,
    Snap,
    SyncReply,
    TakeOver,
    Trunc,
    UpToDate,
)
from foreshock.targets.reference.node.zab.state import (
    BROADCAST,
    DISCOVERY,
    FOLLOWING,
    NS_PER_MS,
    SYNCHRONIZATION,
)


class Stage(IntEnum):
    """How far a follower has come with its leader."""

    CALLING = 1
    """CEPOCH sent."""
    PROMISED = 2
    """NEWEPOCH accepted; ACK-E is sent when that is durable."""
    CHECKED = 3
    """The leader's history goes on from ours: the first DIFF, or a whole SNAP, fitted."""
    SYNCHRONIZED = 4
    """NEWLEADER accepted; its ACK is sent when all is durable."""
    READY = 5
    """UPTODATE: part of the broadcast."""


class Broken(Exception):
    """The leader said something that does not follow on what it said before, or that we cannot follow."""


class Following(Election):
    """The follower's end of the channel to its leader."""

    _channel: Channel | None = None
    _stage = Stage.CALLING
    _incoming: Incoming | None = None
    _acknowledged_position = 0
    _beat_owed = False
    _leader_round = 0
    _call_ns = 0
    _give_up_ns = 0
    _sessions = 0
    _syncing: set[int]
    _syncs: deque[tuple[int, int]]
    _payload_handlers: dict[type, Callable[[Channel, Any], None]]

    def _follow(self, leader: str) -> None:
        """Begin discovery with this leader: a new channel, and CEPOCH on it."""
        self.role, self.phase, self.epoch, self._leader = FOLLOWING, DISCOVERY, 0, None
        if not self._sessions % (1 << COUNTER_BITS):
            self._sessions = self._random_bits(32) << COUNTER_BITS
        self._sessions += 1
        channel = self._channel = self._open_channel(leader, self._sessions)
        self._stage = Stage.CALLING
        self._incoming = None
        self._beat_owed = False
        self._leader_round = 0
        self._give_up_ns = self._now + self.knobs.init_limit_ms * NS_PER_MS
        self._call_ns = self._now + self.knobs.heartbeat_ms * NS_PER_MS
        self._tell(channel, Cepoch(self.accepted))

    def _stop_following(self) -> None:
        """Leave the leader, and tell it so; reads that wait for its answer are refused."""
        channel = self._channel
        if channel is None:
            return
        self._channel = None
        self._left = channel.peer
        self._send(channel.peer, Close(channel.session))
        for read in sorted(self._syncing) + [read for _, read in self._syncs]:
            self._refuse(read, "the leader was lost before it answered the sync")
        self._syncing.clear()
        self._syncs.clear()

    def _on_follower_tick(self) -> None:
        """Call again while nothing was heard; give up a leader that is silent for too long."""
        channel = self._channel
        if channel is None or self._now >= self._give_up_ns:
            self._look()
        elif self._stage is Stage.CALLING and self._now >= self._call_ns:
            self._call_again(channel)

    def _call_again(self, channel: Channel) -> None:
        """CEPOCH was lost, or came before the leader knew that it is one."""
        self._call_ns = self._now + self.knobs.heartbeat_ms * NS_PER_MS
        for frame in channel.again(1, 1):
            self._send(channel.peer, frame)

    def _hear_leader(self) -> None:
        """The leader lives."""
        if self._stage is not Stage.CALLING:
            self._give_up_ns = self._now + self.knobs.sync_limit_ms * NS_PER_MS

    # --- the channel ------------------------------------------------------------------------------------------

    def _on_leader_frame(self, channel: Channel, message: Frame) -> None:
        """What the leader says, in its order; the first word that breaks it ends the channel."""
        self._hear_leader()
        handlers = self._payload_handlers
        for payload in self._arrive(channel, message):
            handler = handlers.get(type(payload))
            try:
                if handler is None:
                    raise Broken
                if type(payload) is not NewEpoch and payload.epoch != self.epoch:  # type: ignore[union-attr]
                    self._look()  # a leader that restarted meanwhile, and got a late copy of our CEPOCH
                    return
                handler(channel, payload)
            except Broken:
                self.dropped += 1
                self._look()
                return
            if self._channel is not channel:
                return
        missing = channel.missing(0, self._now)
        if missing is not None:
            self._send(channel.peer, missing)

    def _arrive(self, channel: Channel, message: Frame) -> list[Payload]:
        """What may be acted upon now: frames in the order of their numbers, and none left out."""
        return channel.take(message, self._now)

    def _on_leader_beat(self, channel: Channel, message: Beat) -> None:
        """Answer in kind; the answer confirms that we have promised nothing to a later leader."""
        self._hear_leader()
        channel.acknowledge(message.acknowledged)
        self._leader_round = max(self._leader_round, message.round)
        missing = channel.missing(message.sent, self._now)
        if missing is not None:
            self._send(channel.peer, missing)
        self._beat_owed = True

    def _advance_following(self, channel: Channel) -> None:
        """What a follower does after every event."""
        if self._stage >= Stage.SYNCHRONIZED and self._epochs_are_durable():
            position = self.durable_position
            if position > self._acknowledged_position:
                self._acknowledged_position = position
                self._beat_owed = False
                self._tell(channel, Ack(self.epoch, position))
        while self._syncs and self._syncs[0][0] <= self.commit:
            position, read = self._syncs.popleft()
            self._output.reads.append(ReadReady(read, position))
        if self._beat_owed:
            self._beat_owed = False
            beat = Beat(channel.session, channel.sent, channel.arrived, self._leader_round)
            self._send(channel.peer, beat)
        if channel.overflows:
            self._look()

    # --- discovery (algorithm 1) ------------------------------------------------------------------------------

    def _on_new_epoch(self, channel: Channel, message: NewEpoch) -> None:
        """Promise to follow nobody of an earlier epoch, and say where our history ends, once that is durable."""
        if self._stage is not Stage.CALLING or message.epoch < self.accepted:
            raise Broken
        promised = message.epoch > self.accepted
        if promised:
            self.accepted = message.epoch
            self._save_epochs()
        self.epoch = message.epoch
        self._stage = Stage.PROMISED
        self._hear_leader()
        log = self.log
        answer = AckEpoch(message.epoch, self.current, log.last_term, log.last, promised)
        self._tell_when_durable(channel, answer)

    # --- synchronization (algorithm 2) ------------------------------------------------------------------------

    def _on_trunc(self, channel: Channel, message: Trunc) -> None:  # noqa: ARG002
        """Forget what is not in the leader's history; nothing that is committed can be meant."""
        if self._stage is not Stage.PROMISED or not self._may_forget_after(message.position):
            raise Broken
        if message.position < self.log.last:
            self._truncate(message.position)

    def _may_forget_after(self, position: int) -> bool:
        return position >= self.commit and position >= self.log.base

    def _truncate(self, position: int) -> None:
        self._cut_log(position)

    def _on_diff(self, channel: Channel, message: Diff) -> None:  # noqa: ARG002
        """Take the leader's entries over; the first DIFF shows whether the histories meet where it believes."""
        if self._stage not in (Stage.PROMISED, Stage.CHECKED):
            raise Broken
        if not self._fits(message.previous_position, message.previous_term):
            raise Broken
        self._enter_synchronization()
        if message.entries:
            self._take(message.entries)

    def _fits(self, position: int, term: int) -> bool:
        """Whether our history ends with the entry after which the leader's entries come."""
        return position == self.log.last and term == self.log.last_term

    def _enter_synchronization(self) -> None:
        self._stage = Stage.CHECKED
        self.phase = SYNCHRONIZATION
        self._beat_owed = True

    def _take(self, entries: tuple[Entry, ...]) -> None:
        self._append_to_log(entries)

    def _on_snap(self, channel: Channel, message: Snap) -> None:  # noqa: ARG002
        """Put the leader's snapshot in place of our history; it ends later than what the two have in common."""
        if self._stage not in (Stage.PROMISED, Stage.CHECKED) or message.position <= self.commit:
            raise Broken
        self._beat_owed = True
        data = message.data
        if message.total:
            text = self._gather(message)
            if text is None:
                return
            try:
                data = json.loads(text)
            except (ValueError, RecursionError):
                raise Broken from None
        if not self.accepts_snapshot(data):
            raise Broken
        self._install(Snapshot(message.position, message.term, message.members, data))
        self._enter_synchronization()

    def _gather(self, message: Snap) -> str | None:
        """Add a piece to those before it; the whole text once it is complete, else ``None``."""
        known = gathering(self._incoming, "", message.position, message.term, message.total)
        if message.total > SNAPSHOT_TEXT_MAX or not known.add(message.offset, message.data):
            raise Broken
        text = known.text()
        self._incoming = known if text is None else None
        return text

    def _install(self, snapshot: Snapshot) -> None:
        """One record replaces snapshot and log at once, so a crash leaves the old history whole, or the new one.

        What we had after the common part goes with it: an entry of ours at the snapshot's position would be of an
        earlier epoch than the leader's, or else the histories would meet there.
        """
        self._install_snapshot(snapshot)

    def _on_new_leader(self, channel: Channel, message: NewLeader) -> None:
        """Our history is the leader's: stand for its epoch with it. The ACK waits for the disk."""
        if self._stage is not Stage.CHECKED or message.position != self.log.last:
            raise Broken
        self.current = message.epoch
        self._save_epochs()
        self._stage = Stage.SYNCHRONIZED
        self._acknowledged_position = message.position
        self._tell_when_durable(channel, AckLeader(message.epoch))

    def _on_up_to_date(self, channel: Channel, message: UpToDate) -> None:
        """The leader is established: deliver what it has committed, and serve."""
        if self._stage is not Stage.SYNCHRONIZED:
            raise Broken
        self._stage = Stage.READY
        self.phase = BROADCAST
        self._leader = channel.peer
        self._failures = 0
        self._beat_owed = True
        self._advance_to(message.commit)

    # --- broadcast (algorithm 3) ------------------------------------------------------------------------------

    def _on_proposal(self, channel: Channel, message: Proposal) -> None:  # noqa: ARG002
        """Add the entries to our history; acknowledged when they are durable."""
        if self._stage < Stage.SYNCHRONIZED or not self._goes_on(message.entries):
            raise Broken
        self._take(message.entries)
        if self._stage is Stage.READY:
            self._advance_to(message.commit)

    def _goes_on(self, entries: tuple[Entry, ...]) -> bool:
        """Whether nothing is missing between our history and these."""
        return entries[0].position == self.log.last + 1

    def _on_commit(self, channel: Channel, message: Commit) -> None:  # noqa: ARG002
        """Deliver up to there."""
        if self._stage is not Stage.READY:
            raise Broken
        self._advance_to(message.position)

    def _advance_to(self, position: int) -> None:
        """The leader never says that something is committed before it has proposed it on this channel."""
        if position > self.log.last:
            raise Broken
        self.commit = max(self.commit, position)

    def _on_sync_reply(self, channel: Channel, message: SyncReply) -> None:  # noqa: ARG002
        """The read may run when we have delivered that much."""
        if message.read not in self._syncing:
            raise Broken
        self._syncing.discard(message.read)
        self._syncs.append((message.position, message.read))

    def _on_take_over(self, channel: Channel, message: TakeOver) -> None:  # noqa: ARG002
        """The leader wants us for its successor: look for a leader, and among equals be preferred for a while."""
        if self._stage is not Stage.READY:
            raise Broken
        self._preferred_until_ns = self._now + self.knobs.init_limit_ms * NS_PER_MS
        self._look()

    def _look(self) -> None:
        raise NotImplementedError
