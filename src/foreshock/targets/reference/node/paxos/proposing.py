"""The leader: phase 2 for one slot after another, several at a time (sections 2.2 and 3).

A leader proposes in a slot only if

* it knows the slot's acceptors: all up to a window before is known to be chosen;
* a majority of *these* acceptors has promised its ballot. One promise covers all slots, so that phase 1 is done at once
  for all slots that have the same acceptors;
* it knows that the slot is not covered by somebody's snapshot (then the value is chosen, and must be learned).

What it proposes there is, in this order: the value with the greatest ballot that was reported (P2c); a no-op, in a gap
before a reported slot (section 3); once, a no-op of its
own, the *barrier*; what clients wish; and no-ops until a change of the members counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from foreshock.targets.reference.node.consensus import Propose
from foreshock.targets.reference.node.paxos.accepting import Accepting
from foreshock.targets.reference.node.paxos.messages import (
    Accept,
    Acceptance,
    Accepted,
    Nack,
    Prepare,
    Value,
)
from foreshock.targets.reference.node.paxos.progress import Progress
from foreshock.targets.reference.node.paxos.state import CANDIDATE, LEADER, NS_PER_MS, Wish
from foreshock.targets.reference.node.paxos.synod import Learner

NOOP: Final = Value("noop", None)
"""What leaves the state unchanged."""


class Proposing(Accepting):
    """What a leader proposes, to whom it speaks, and what it makes of the answers."""

    # --- what is proposed -------------------------------------------------------------------------------------

    def _on_propose(self, event: Propose) -> None:
        """A client's command: it gets the next slot that is free, at once if the window allows."""
        waiting = len(self._open) + len(self._wishes)
        if self.role is not LEADER:
            self._refuse(event.proposal, "this node does not lead")
        elif self._transfer is not None:
            self._refuse(event.proposal, f"leadership is being handed to {self._transfer.target}")
        elif waiting >= self.knobs.pending_proposals_max:
            self._refuse(event.proposal, f"{waiting} commands wait to be chosen already")
        else:
            self._wishes.append(Wish(event.proposal, Value("command", event.command)))

    def _advance_proposals(self) -> None:
        """Propose in as many slots as there are values for, and as the rules above allow."""
        if self.commit < self._floor:
            return
        if self._next <= self.commit:
            self._next = self.commit + 1
        first = self._next
        values: list[Value] = []
        while self._may_propose(self._next):
            if self._next in self._chosen_ahead:
                self._propose_from(first, values)
                self._next += 1
                first, values = self._next, []
                continue
            value = self._value_for(self._next)
            if value is None:
                break
            values.append(value)
            self._next += 1
        self._propose_from(first, values)

    def _may_propose(self, slot: int) -> bool:
        """Whether the slot's acceptors are known, and a majority of them has promised."""
        if slot > self.commit + self.knobs.window_slots:
            return False
        acceptors = self._acceptors_of(slot)
        if acceptors is not self._prepared:
            if not self._is_quorum(self._promisers, acceptors):
                return False
            self._prepared = acceptors
        return True

    def _value_for(self, slot: int) -> Value | None:
        """What to propose in the slot, by the order in the module's text; ``None`` when there is nothing to propose."""
        reported = self._reported_in(slot)
        if reported is not None:
            return Value(reported.kind, reported.data)
        if slot <= self._reported_through:
            return NOOP
        if self._barrier is None:
            self._barrier = slot
            return NOOP
        if self._wishes:
            proposal, value = self._wishes.popleft()
            if proposal is not None:
                self._proposals[slot] = proposal
            return value
        return NOOP if slot <= self._settled_from() and self._settled_from() > self.commit else None

    def _reported_in(self, slot: int) -> Acceptance | None:
        """The proposal with the greatest ballot that was reported in phase 1 for the slot, if any (P2c)."""
        return self._reports.pop(slot, None)

    def _propose_from(self, first: int, values: Sequence[Value]) -> None:
        """Phase 2 (a) from a slot on: our own acceptor accepts like any other, and is counted when that is durable."""
        if not values:
            return
        self._take(self.ballot, first, values)
        last = first + len(values) - 1
        for slot in range(first, last + 1):
            self._open[slot] = Learner(self._acceptors_of(slot), self._is_quorum)
        reply = Accepted(self.ballot, first, last, self.commit, 0)
        self._send_when_durable(self._name, reply, self._written)
        self._feed_all()

    # --- to whom it is sent -----------------------------------------------------------------------------------

    def _feed_all(self) -> None:
        """Send what is proposed to everybody who promised, as far as their windows allow."""
        for name, peer in self._peers.items():
            if peer.promised:
                self._feed(name, peer)

    def _feed(self, name: str, peer: Progress) -> None:
        if peer.next <= self.base:
            peer.next = self.commit + 1  # it learns what is before
        inflight_max = self.knobs.inflight_accepts_max
        while peer.next < self._next and len(peer.inflight) < inflight_max:
            first = peer.next
            values = self._values_from(first)
            if values:
                peer.next += len(values)
                peer.inflight[peer.next - 1] = self._now
                self._send(name, Accept(self.ballot, first, values, self.commit, self._round))
            else:  # what was learned under another ballot is no proposal of ours: it is to be learned there, too
                peer.next += 1

    def _values_from(self, first: int) -> tuple[Value, ...]:
        """What we have proposed in the slots from one on, as much as one message takes.

        Nodes that are equally far get the same: the last answer is kept.
        """
        key = (first, self._next, self.ballot)
        if key != self._fed[0]:
            values = []
            for acceptance in self._batch(first, self._next - 1):
                if acceptance.ballot != self.ballot:
                    break
                values.append(Value(acceptance.kind, acceptance.data))
            self._fed = (key, tuple(values))
        return self._fed[1]

    def _heartbeat(self) -> Accept:
        return Accept(self.ballot, self._next, (), self.commit, self._round)

    def _beat(self) -> None:
        """Speak to everybody, and repeat what may have been lost."""
        self._heartbeat_deadline = self._now + self.knobs.heartbeat_ms * NS_PER_MS
        patience_ns = 2 * self.knobs.heartbeat_ms * NS_PER_MS
        for name, peer in self._peers.items():
            if not peer.promised:
                self._send(name, Prepare(self.ballot, peer.promised_up_to, False))
            if self.role is LEADER:
                self._send(name, self._heartbeat())
                peer.rewind_if_silent(self._now, patience_ns)
                if peer.promised:
                    self._feed(name, peer)
        if self.commit < self._floor:
            self._ask_to_learn(self._sources[self._beats() % len(self._sources)])

    def _beats(self) -> int:
        """A number that differs from beat to beat, so that everybody who can teach us is asked in turn."""
        return self._now // (self.knobs.heartbeat_ms * NS_PER_MS)

    # --- answers ----------------------------------------------------------------------------------------------

    def _heard(self, source: str, message: Accepted) -> Progress | None:
        """The progress of a node that answered our ballot; ``None`` for strangers and what is late."""
        peer = self._peers.get(source) if message.ballot == self.ballot else None
        if peer is not None:
            peer.heard_ns = self._now
            peer.round = max(peer.round, min(message.round, self._round))
            peer.knows(min(message.chosen, self.commit))
        return peer

    def _on_accepted(self, source: str, message: Accepted) -> None:
        """Phase 2 (b) of an acceptor, perhaps our own: a slot that a majority has accepted is chosen."""
        ballot, first, last = message.ballot, message.first, message.last
        peer = self._heard(source, message)
        if (peer is None and source != self._name) or ballot != self.ballot:
            return
        if last >= self._next:
            self.dropped += 1
            return
        if last < first:
            return
        open_slots, chosen = self._open, self._chosen_ahead
        for slot in range(max(first, self.commit + 1), last + 1):
            learner = open_slots.get(slot)
            if learner is not None and self._is_chosen(learner, source):
                del open_slots[slot]
                chosen.add(slot)
        if self.commit + 1 in chosen:
            self._advance_chosen()
        if peer is not None:
            peer.accepted(first, last)
            if peer.promised:
                self._feed(source, peer)

    def _is_chosen(self, learner: Learner, acceptor: str) -> bool:
        """Whether a slot's proposal is chosen, now that this acceptor has accepted it (section 2.3)."""
        return learner.on_accepted(acceptor, self.ballot)

    def _on_nack(self, source: str, message: Nack) -> None:  # noqa: ARG002
        """Our ballot is past: a proposer gives up when it hears of a greater one (the end of section 2.2)."""
        self._round_seen = max(self._round_seen, message.ballot.round)
        rejected = message.rejected == self.ballot and message.ballot > self.ballot
        if rejected and self.role in (LEADER, CANDIDATE):
            self._stop_proposing(None)

    # --- the quorum that a leader leads -----------------------------------------------------------------------

    def _may_read(self) -> bool:
        """Whether all that any lesser ballot can have chosen is known to be chosen: our own no-op after it is."""
        return self._barrier is not None and self.commit >= self._barrier

    def _quorum_of(self, acceptors: Sequence[str], holds: Callable[[Progress], bool]) -> bool:
        """Whether a majority of these acceptors satisfies this; we ourselves do."""
        supporters = {name for name, peer in self._peers.items() if holds(peer)}
        supporters.add(self._name)
        return self._is_quorum(supporters, acceptors)

    def _lost_quorum(self) -> bool:
        """Whether no majority has answered for so long that others may have chosen another leader."""
        since_ns = self._now - self.knobs.election_timeout_max_ms * NS_PER_MS
        return not self._quorum_of(
            self._acceptors_of(self.commit + 1), lambda peer: peer.heard_ns >= since_ns
        )
