"""How a node comes to lead: a canvass, which binds nobody, then phase 1 for all open slots (sections 2.2, 2.4 and 3).

Section 2.4 leaves open how the distinguished proposer is found, for more than one of them does no harm to safety. So
time is used here and nowhere else: a node that hears no leader for a random while asks the others whether they would
promise it a ballot, and begins one if a majority would. Nobody would who hears a leader.
"""

from __future__ import annotations

from foreshock.targets.reference.node.paxos.membership import Membership
from foreshock.targets.reference.node.paxos.messages import (
    Acceptance,
    Canvass,
    CanvassReply,
    Prepare,
    Promise,
    TakeOver,
)
from foreshock.targets.reference.node.paxos.state import CANDIDATE, CANVASSER, LEADER, NS_PER_MS
from foreshock.targets.reference.node.paxos.synod import Ballot


class Electing(Membership):
    """Canvass and phase 1, both ends of the first, the proposer's of the second."""

    # --- canvass ----------------------------------------------------------------------------------------------

    def _on_election_timeout(self) -> None:
        """No word of a leader for too long."""
        self._stop_proposing(None)
        self._restart_election_timer()
        if not self._may_campaign():
            return
        if self._asks_for_permission():
            self._canvass()
        else:
            self._campaign(transfer=False)

    def _may_campaign(self) -> bool:
        """Whether we are an acceptor of slots that are not chosen yet, as far as we know."""
        return self._name in self._acceptors_of(self.commit + 1) or self._name in self.members

    def _asks_for_permission(self) -> bool:
        """Whether a ballot begins only after a majority would promise it."""
        return self.knobs.canvass

    def _canvass(self) -> None:
        self.role = CANVASSER
        self._granted = {self._name}
        message = Canvass(self.promised, self.commit)
        for acceptor in self._acceptors_of(self.commit + 1):
            if acceptor != self._name:
                self._send(acceptor, message)
        self._count_grants()

    def _count_grants(self) -> None:
        if self._is_quorum(self._granted, self._acceptors_of(self.commit + 1)):
            self._campaign(transfer=False)

    def _on_canvass(self, source: str, message: Canvass) -> None:
        """Would we promise? Not while we hear a leader; nor somebody who would have to fetch our snapshot first."""
        loyal = self._is_loyal() and source != self._leader
        granted = not loyal and message.chosen >= self.base
        self._send(source, CanvassReply(self.promised, message.ballot, granted, self.commit))

    def _on_canvass_reply(self, source: str, message: CanvassReply) -> None:
        """With a majority's permission the ballot begins; one who knows more can teach us."""
        self._round_seen = max(self._round_seen, message.ballot.round)
        if self.role is not CANVASSER or message.asked != self.promised:
            return
        if message.granted:
            self._granted.add(source)
            self._count_grants()
        elif message.chosen > self.commit:
            self._ask_to_learn(source)

    # --- phase 1 ----------------------------------------------------------------------------------------------

    def _campaign(self, *, transfer: bool) -> None:
        """Phase 1 (a): promise a ballot of our own to ourselves, and when that is durable, ask all others.

        Were it not durable, a restart might let us use the same ballot for another value.
        """
        ballot = self._next_ballot()
        self._promise(ballot, None)
        self._restart_election_timer()
        self._reset_proposer(ballot)
        self.role = CANDIDATE
        self._adopt_configurations()
        first = self._next
        for name in self._peers:
            self._send_when_durable(name, Prepare(ballot, first, transfer))
        self._send_when_durable(self._name, Promise(ballot, first, 0, self.base, self.commit, ()))

    def _next_ballot(self) -> Ballot:
        """A ballot that nobody ever used: its round is greater than any that we know, and it bears our name."""
        return Ballot(max(self.promised.round, self._round_seen) + 1, self._name)

    def _on_take_over(self, source: str, message: TakeOver) -> None:
        """Our leader wants us to lead: begin without asking for permission."""
        if self._may_take_over(source, message) and self._may_campaign():
            self._campaign(transfer=True)

    def _on_promise(self, source: str, message: Promise) -> None:
        """Phase 1 (b) of an acceptor, perhaps our own: what it reports, and its promise when that is complete."""
        if self.role not in (CANDIDATE, LEADER) or message.ballot != self.ballot:
            return
        if source == self._name:
            self._take_reports(source, self._own_reports())
        else:
            peer = self._peers.get(source)
            if peer is None:
                return
            peer.heard_ns = self._now
            if peer.promised or message.first != peer.promised_up_to:
                return
            self._take_report(source, message)
            if message.ballot != self.ballot:
                return  # the report has ended our leadership
            if message.following:
                peer.promised_up_to = message.following
                self._election_deadline = self._now + self._election_timeout_ns
                self._send(source, Prepare(self.ballot, message.following, False))
                return
            peer.promised = True
            peer.next = max(peer.next, min(self._next, self.commit + 1))
        self._promisers.add(source)
        self._prepared = None
        if self.role is LEADER:
            self._feed_all()
        elif self._has_promises():
            self._lead_from_now_on()

    def _has_promises(self) -> bool:
        return self._is_quorum(self._promisers, self._acceptors_of(self.commit + 1))

    def _own_reports(self) -> list[Acceptance]:
        """What our own acceptor has accepted in slots that are not known to be chosen."""
        return [self.accepted[slot] for slot in sorted(self.accepted) if slot > self.commit]

    def _take_report(self, source: str, message: Promise) -> None:
        """What an acceptor reports: values that are chosen, values that may be, and how much of the log is gone."""
        if message.base > self.commit:
            self._floor = max(self._floor, message.base)
            self._sources.append(source)
            self._ask_to_learn(source)
        chosen = message.chosen
        self._learn(tuple(a for a in message.accepted if a.slot <= chosen))
        self._take_reports(source, [a for a in message.accepted if a.slot > chosen])

    def _take_reports(self, source: str, accepted: list[Acceptance]) -> None:  # noqa: ARG002
        """Keep what was accepted with the greatest ballot in each slot that we have not proposed in yet."""
        reports = self._reports
        for acceptance in accepted:
            slot = acceptance.slot
            if slot < self._next or slot <= self.commit:
                continue
            known = reports.get(slot)
            if known is None or known.ballot < acceptance.ballot:
                reports[slot] = acceptance
            self._reported_through = max(self._reported_through, slot)

    def _lead_from_now_on(self) -> None:
        """A majority has promised: propose in every slot that is open, and speak to everybody."""
        self.role = LEADER
        self._leader = self._name
        if self._transfer is not None:
            self._end_transfer(self._transfer, f"{self._transfer.target} did not come to lead")
        self._reports = {slot: report for slot, report in self._reports.items() if slot > self.commit}
        self._heartbeat_deadline = self._now + self.knobs.heartbeat_ms * NS_PER_MS
        for peer in self._peers.values():
            peer.heard_ns = self._now
        self._advance_proposals()
        for name, peer in self._peers.items():
            if not peer.inflight:
                self._send(name, self._heartbeat())
