"""A leader before its epoch is established: discovery and synchronization (the leader's parts of algorithms 1 and 2).

Late followers go the same way while the leader broadcasts: NEWEPOCH, then what they lack including all proposals so
far, then NEWLEADER and, when they have acknowledged it, UPTODATE; proposals follow on NEWLEADER on the FIFO channel.

*Where two histories meet.* An entry of epoch e exists only if e was established, so that a quorum stood for e with its
leader's initial history; every leader that is established later goes on from there, for it compared itself with a
quorum. So the leader's history and a follower's are equal up to the follower's last entry, or up to the leader's last
entry of the same or an earlier epoch, whichever comes first. That is one comparison of zxids: what the follower
has after it goes (TRUNC), what the leader has after it comes (DIFF, or SNAP when the leader's log begins later).
"""

from __future__ import annotations

import json
from typing import Final

from foreshock.targets.reference.node.zab.channel import is_later
from foreshock.targets.reference.node.zab.following import Following
from foreshock.targets.reference.node.zab.learners import Learner, Outgoing, Stage
from foreshock.targets.reference.node.zab.messages import (
    Ack,
    AckEpoch,
    AckLeader,
    Beat,
    Cepoch,
    Close,
    Diff,
    Frame,
    NewEpoch,
    NewLeader,
    Payload,
    Proposal,
    Snap,
    Trunc,
    UpToDate,
)
from foreshock.targets.reference.node.zab.state import (
    BROADCAST,
    DISCOVERY,
    LEADING,
    NS_PER_MS,
    SYNCHRONIZATION,
)

READ_ROUND_BITS: Final = 32
"""A round of confirmation has its epoch above these bits: a late beat of an earlier epoch confirms nothing."""


class Leading(Following):
    """The leader's end of the channels to its followers."""

    _learners: dict[str, Learner]
    _heard: dict[str, int]
    _announced = False
    _initial_last = 0
    _established_by_ns = 0
    _heartbeat_deadline = 0
    _snapshot_text: tuple[int, str] | None = None
    _read_round = 0
    _latest_promise = 0

    def _lead(self) -> None:
        """We were elected: wait for a quorum's CEPOCH, and tell those who do not know yet."""
        self.role, self.phase, self.epoch, self._leader = LEADING, DISCOVERY, 0, None
        self._learners = {}
        self._heard = dict.fromkeys(self._voters, self._now)
        self._announced = False
        self._read_round = 0
        self._heartbeat_deadline = self._now + self.knobs.heartbeat_ms * NS_PER_MS
        self._prolong()
        self._invite()

    def _prolong(self) -> None:
        """There was progress: a leader that is not established yet may go on."""
        self._established_by_ns = self._now + self.knobs.init_limit_ms * NS_PER_MS

    def _wanted(self) -> tuple[str, ...]:
        """Who should follow us."""
        return self._voters

    def _invite(self) -> None:
        """Tell whoever should follow us, and does not."""
        for name in self._wanted():
            if name != self._name and name not in self._learners:
                self._send(name, self._notification())

    def _answer_seeker(self, source: str) -> None:
        """A leader answers those who may follow it; a stranger that it would turn away is not to try."""
        if self.role is not LEADING or source in self._wanted():
            super()._answer_seeker(source)

    def _drop(self, name: str) -> None:
        """Break the channel with a follower; it may call again."""
        learner = self._learners.pop(name)
        self._send(name, Close(learner.channel.session))

    # --- the channels -----------------------------------------------------------------------------------------

    def _on_follower_frame(self, source: str, message: Frame) -> None:
        """What a follower says, in its order."""
        learner = self._learners.get(source)
        if learner is None or learner.channel.session != message.session:
            if type(message.payload) is Cepoch and message.sequence == 1:
                learner = self._greet(source, message.session)
            else:
                self._answer_stranger(source, message.session, message.acknowledged)
            if learner is None or learner.channel.session != message.session:
                return
        self._hear(source)
        channel = learner.channel
        for payload in channel.take(message, self._now):
            self._on_follower_payload(source, learner, payload)
            if self._learners.get(source) is not learner:
                return
        self._progress(source, learner)
        missing = channel.missing(0, self._now)
        if missing is not None:
            self._send(source, missing)

    def _on_follower_beat(self, source: str, message: Beat) -> None:
        """A sign of life, and of what has arrived."""
        learner = self._learners.get(source)
        if learner is None or learner.channel.session != message.session:
            self._answer_stranger(source, message.session, message.acknowledged)
            return
        self._hear(source)
        channel = learner.channel
        channel.heard_ns = self._now
        channel.acknowledge(message.acknowledged)
        if learner.round < message.round <= self._read_round:
            learner.round = message.round
        missing = channel.missing(message.sent, self._now)
        if missing is not None:
            self._send(source, missing)
        self._progress(source, learner)

    def _hear(self, source: str) -> None:
        self._heard[source] = self._now

    def _answer_stranger(self, source: str, session: int, acknowledged: int) -> None:
        """One that we never answered comes again by itself; one that we did must learn that its channel is gone."""
        if acknowledged:
            self._send(source, Close(session))

    def _greet(self, source: str, session: int) -> Learner | None:
        """CEPOCH opens a channel, in place of an older one; a late copy of an earlier CEPOCH opens none."""
        if source not in self._wanted() or source == self._name:
            self._send(source, Close(session))
            return None
        known = self._learners.get(source)
        if known is not None and is_later(known.channel.session, session):
            return None
        learner = Learner(self._open_channel(source, session))
        self._learners[source] = learner
        return learner

    def _progress(self, name: str, learner: Learner) -> None:
        """Frames have arrived there: there may be room for the next."""
        inflight, acknowledged = learner.inflight, learner.channel.acknowledged
        if inflight and inflight[0] <= acknowledged:
            while inflight and inflight[0] <= acknowledged:
                inflight.popleft()
            self._prolong()
        self._feed(name, learner)

    def _on_follower_payload(self, source: str, learner: Learner, payload: Payload) -> None:
        """One word of a follower; one that does not follow on the last ends the channel."""
        kind = type(payload)
        if kind is Ack and learner.stage >= Stage.SYNCHRONIZED and payload.epoch == self.epoch:  # type: ignore[union-attr]
            fits = self._on_ack(learner, payload)  # type: ignore[arg-type]
        elif kind is Cepoch:
            fits = learner.channel.arrived == 1 and self._on_cepoch(learner, payload)  # type: ignore[arg-type]
        elif payload.epoch != self.epoch:  # type: ignore[union-attr]
            self._drop(
                source
            )  # it speaks to us as we were before a restart: a late CEPOCH had opened its channel anew
            return
        elif kind is AckEpoch:
            fits = learner.stage is Stage.ASKED and self._on_ack_epoch(source, learner, payload)  # type: ignore[arg-type]
        elif kind is AckLeader:
            fits = learner.stage is Stage.OFFERED and self._on_ack_leader(learner)
        else:
            fits = self._on_other_payload(learner, payload)
        if not fits and self.role is LEADING and self._learners.get(source) is learner:
            self.dropped += 1
            self._drop(source)

    def _on_other_payload(self, learner: Learner, payload: Payload) -> bool:  # noqa: ARG002
        return False

    # --- discovery (algorithm 1) ------------------------------------------------------------------------------

    def _on_cepoch(self, learner: Learner, message: Cepoch) -> bool:
        """Once there is an epoch, ask for its promise; one who promised a later one makes us begin anew.

        There a quorum had begun to move on. Without a new election that follower could never follow us.
        """
        self._latest_promise = max(self._latest_promise, message.accepted)
        if self.epoch and message.accepted > self.epoch:
            self._look()
        elif self._announced:
            self._ask(learner)
        return True

    def _ask(self, learner: Learner) -> None:
        learner.stage = Stage.ASKED
        self._tell(learner.channel, NewEpoch(self.epoch))

    def _advance_discovery(self) -> None:
        """With a quorum's CEPOCH choose an epoch later than all that it accepted; make it durable; ask for it.

        It is later, too, than any promise that we ever heard of, so that nobody need stay away from us.
        """
        if not self.epoch and self._is_quorum({self._name, *self._learners}):
            self.epoch = 1 + max(self.accepted, self._latest_promise)
            self.accepted = self.epoch
            self._read_round = self.epoch << READ_ROUND_BITS
            self._save_epochs()
        if self.epoch and not self._announced and self._epochs_are_durable():
            self._announced = True
            for learner in self._learners.values():
                self._ask(learner)
        if self._announced:
            promised = {name for name, learner in self._learners.items() if learner.promised}
            if self._is_quorum(promised | {self._name}):
                self._begin_synchronization()

    def _on_ack_epoch(self, source: str, learner: Learner, message: AckEpoch) -> bool:
        """A promise. In a quorum that is to make us leader, nobody's history may be later than ours."""
        learner.stage = Stage.PROMISED
        learner.answer = message
        if self.phase is not DISCOVERY:
            self._synchronize(learner)
            self._feed(source, learner)
        elif self._is_ahead(message):
            self._look()
        return True

    def _is_ahead(self, message: AckEpoch) -> bool:
        """Whether a follower's history is later than ours: then it, or somebody like it, should lead."""
        theirs = (message.current, message.last_term, message.last_position)
        return theirs > (self.current, self.log.last_term, self.log.last)

    # --- synchronization (algorithm 2) ------------------------------------------------------------------------

    def _begin_synchronization(self) -> None:
        """Our history is the epoch's initial one: stand for the epoch with it, and bring the followers to it."""
        self.phase = SYNCHRONIZATION
        self._initial_last = self.log.last
        self.current = self.epoch
        self._save_epochs()
        self._prolong()
        for name, learner in list(self._learners.items()):
            if learner.stage is Stage.PROMISED:
                self._synchronize(learner)
                self._feed(name, learner)

    def _synchronize(self, learner: Learner) -> None:
        """Find out where the histories meet, and have the follower forget what it has beyond."""
        answer = learner.answer
        if answer is None:
            return
        learner.stage = Stage.SYNCHRONIZING
        meeting = min(answer.last_position, self.log.last_through(answer.last_term))
        learner.next = meeting + 1
        if self.log.base <= meeting < answer.last_position:
            self._tell(learner.channel, Trunc(self.epoch, meeting))

    def _feed(self, name: str, learner: Learner) -> None:
        """Send what the follower lacks, as far as its window allows: SNAP, DIFF, NEWLEADER, then proposals."""
        window = self.knobs.inflight_messages_max
        while len(learner.inflight) < window:
            if learner.stage is Stage.SYNCHRONIZING:
                if learner.snapshot is not None or learner.next <= self.log.base:
                    if not self._send_piece(learner):
                        self._drop(name)
                        return
                elif learner.next <= self.log.last or not learner.checked:
                    self._send_diff(learner)
                else:
                    learner.stage = Stage.OFFERED
                    learner.offered = self.log.last
                    self._tell(learner.channel, NewLeader(self.epoch, self.log.last))
            elif learner.stage >= Stage.OFFERED and learner.next <= self.log.last:
                if learner.next <= self.log.base:
                    self._drop(name)
                    return
                self._send_proposal(learner)
            else:
                return

    def _send_data(self, learner: Learner, payload: Payload) -> None:
        self._tell(learner.channel, payload)
        learner.inflight.append(learner.channel.sent)

    def _send_diff(self, learner: Learner) -> None:
        knobs, log, previous = self.knobs, self.log, learner.next - 1
        entries = log.batch(learner.next, knobs.batch_entries_max, knobs.batch_bytes_max)
        self._send_data(learner, Diff(self.epoch, previous, log.term(previous), entries))
        learner.checked = True
        learner.next += len(entries)

    def _send_proposal(self, learner: Learner) -> None:
        """The next entries; all are of our own epoch, for the follower had the initial history before."""
        knobs = self.knobs
        entries = self.log.batch(learner.next, knobs.batch_entries_max, knobs.batch_bytes_max)
        learner.next += len(entries)
        learner.told = min(self.commit, learner.next - 1)
        self._send_data(learner, Proposal(self.epoch, entries, learner.told))

    def _send_piece(self, learner: Learner) -> bool:
        """The whole snapshot if it is short (without making text of it), else its next piece; false without one."""
        outgoing = learner.snapshot
        if outgoing is None:
            snapshot = self.snapshot
            if snapshot is None:
                return False
            if self._snapshot_text is None or self._snapshot_text[0] != snapshot.position:
                self._snapshot_text = (snapshot.position, json.dumps(snapshot.data, separators=(",", ":")))
            outgoing = Outgoing(snapshot, self._snapshot_text[1], 0)
        position, term, members, data = outgoing.snapshot
        size, total, offset = self.knobs.snapshot_chunk_bytes, len(outgoing.text), outgoing.offset
        if total > size:
            piece = outgoing.text[offset : offset + size]
            self._send_data(learner, Snap(self.epoch, position, term, members, offset, total, piece))
        else:
            self._send_data(learner, Snap(self.epoch, position, term, members, 0, 0, data))
        learner.snapshot = outgoing._replace(offset=offset + size)
        if offset + size >= total:
            learner.snapshot = None
            learner.checked = True
            learner.next = position + 1
        return True

    def _on_ack_leader(self, learner: Learner) -> bool:
        """The follower stands for our epoch with our history."""
        learner.stage = Stage.SYNCHRONIZED
        learner.match = learner.offered
        self._matches_moved = True
        if self.phase is BROADCAST:
            self._bring_up_to_date(learner)
        return True

    def _bring_up_to_date(self, learner: Learner) -> None:
        learner.stage = Stage.READY
        learner.told = min(self.commit, learner.next - 1)
        self._tell(learner.channel, UpToDate(self.epoch, learner.told))

    def _on_ack(self, learner: Learner, message: Ack) -> bool:
        """The follower has that much durable; it cannot have more than we sent."""
        if message.position >= learner.next:
            return False
        learner.match = max(learner.match, message.position)
        self._matches_moved = True
        return True

    def _matched(self) -> int:
        """Up to where a quorum, that stands for our epoch, has our history durable; -1 before there is one."""
        ours = self.durable_position if self._epochs_are_durable() else -1
        return self._quorum_value({name: learner.match for name, learner in self._learners.items()}, ours)

    def _advance_synchronization(self) -> None:
        """With a quorum's ACK of NEWLEADER the epoch is established, and its initial history committed."""
        if self._matched() >= self._initial_last:
            self.phase = BROADCAST
            self._leader = self._name
            self._failures = 0
            self.commit = max(self.commit, self._initial_last)
            for learner in self._learners.values():
                if learner.stage is Stage.SYNCHRONIZED:
                    self._bring_up_to_date(learner)
