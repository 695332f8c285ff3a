"""The acceptor: phases 1 (b) and 2 (b) for all slots at once (sections 2.2 and 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from foreshock.targets.reference.node.paxos.messages import (
    Accept,
    Acceptance,
    Accepted,
    Nack,
    Prepare,
    Promise,
    Value,
)
from foreshock.targets.reference.node.paxos.snapshots import Snapshots
from foreshock.targets.reference.node.paxos.state import CANVASSER, NS_PER_MS
from foreshock.targets.reference.node.paxos.synod import Ballot, may_accept, may_promise

AHEAD_SLOTS_MAX: Final = 1 << 16
"""How far after what is known to be chosen an acceptor takes proposals: a limit on its memory, not a rule of Paxos."""


class Accepting(Snapshots):
    """What an acceptor promises and accepts, and to which leader it is loyal."""

    # --- phase 1 ----------------------------------------------------------------------------------------------

    def _on_prepare(self, source: str, message: Prepare) -> None:
        """Phase 1 (b): promise, durably, and report what was accepted; unless a greater ballot is promised.

        An acceptor may always ignore a request (section 2.2): it does so while it hears the leader, which keeps a node
        that hears nobody from disturbing those that do. That is for the sake of liveness and nothing else.
        """
        ballot = message.ballot
        if not self._may_promise(ballot):
            self._send(source, Nack(self.promised, ballot))
            return
        if ballot > self.promised:
            if not message.transfer and source != self._leader and self._is_loyal():
                return
            self._promise(ballot, None)
            self._restart_election_timer()
        elif self._leader is None:
            self._election_deadline = (
                self._now + self._election_timeout_ns
            )  # a long report is fetched in pieces
        self._send_when_durable(source, self._report(ballot, message.first), self._written)

    def _may_promise(self, ballot: Ballot) -> bool:
        """Whether no greater ballot is promised."""
        return may_promise(self.promised, ballot)

    def _promise(self, ballot: Ballot, leader: str | None) -> None:
        """Take no part in lesser ballots any more, our own among them."""
        self.promised = ballot
        self._round_seen = max(self._round_seen, ballot.round)
        self._leader_round = 0
        self._stop_proposing(leader)
        self._save_state()

    def _report(self, ballot: Ballot, first: int) -> Promise:
        """A promise, with what is accepted from a slot on, as much as one message may tell."""
        first = max(first, 1)
        slots = sorted(slot for slot in self.accepted if slot >= first)
        following = 0
        if len(slots) > self.knobs.promise_slots_max:
            following = slots[self.knobs.promise_slots_max]
            del slots[self.knobs.promise_slots_max :]
        accepted = tuple([self.accepted[slot] for slot in slots])
        return Promise(ballot, first, following, self.base, self.commit, accepted)

    # --- phase 2 ----------------------------------------------------------------------------------------------

    def _on_accept(self, source: str, message: Accept) -> None:
        """Phase 2 (b): accept, durably, unless a greater ballot is promised; and learn how far all is chosen."""
        ballot = message.ballot
        if not self._may_accept(ballot):
            self._send(source, Nack(self.promised, ballot))
            return
        if ballot == self.ballot:
            self.dropped += 1  # our own ballot, from somebody else
            return
        if ballot > self.promised:
            self._promise(ballot, source)
        self._hear_leader(source)
        self._leader_round = max(self._leader_round, message.round)
        first, values = message.first, message.values
        last = first + len(values) - 1
        if values:
            if last > self.commit + AHEAD_SLOTS_MAX:
                return
            self._take(ballot, first, values)
        if not self._follow_chosen(ballot, message.chosen) and not values:
            self._ask_to_learn(source)
        # What repeats an earlier message was accepted then, and may not be durable yet: all that is written counts.
        reply = Accepted(ballot, first, last, self.commit, self._leader_round)
        self._send_when_durable(source, reply, self._written if values else None)

    def _may_accept(self, ballot: Ballot) -> bool:
        """P1a: whether no greater ballot is promised."""
        return may_accept(self.promised, ballot)

    def _take(self, ballot: Ballot, first: int, values: Sequence[Value]) -> None:
        """Accept these values from a slot on.

        What is known to be chosen is left as it is: the same value is proposed there (P2), or the message is old.
        After a gap it may get a greater ballot, but not a lesser one: we may have learned it without a promise, so
        that an old leader could put its own value in its place.
        """
        accepted, commit, ahead = self.accepted, self.commit, self._chosen_ahead
        news = []
        for slot, (kind, data) in enumerate(values, start=first):
            if slot > commit:
                known = accepted.get(slot)
                if known is None or known.ballot < ballot or (known.ballot > ballot and slot not in ahead):
                    news.append(Acceptance(slot, ballot, kind, data))
        if news:
            self._record(news)

    # --- the leader that we hear ------------------------------------------------------------------------------

    def _hear_leader(self, leader: str) -> None:
        """Take note that the ballot's owner lives."""
        if self.role is CANVASSER:
            self._stop_proposing(leader)
        self._leader = leader
        self._leader_heard_ns = self._now
        self._election_deadline = self._now + self._election_timeout_ns

    def _is_loyal(self) -> bool:
        """Whether we lead, or heard our leader so lately that nobody else should disturb it."""
        if self._leader is None:
            return False
        if self._leader == self._name:
            return True
        heard = self._leader_heard_ns
        return heard is not None and self._now - heard < self.knobs.election_timeout_min_ms * NS_PER_MS
