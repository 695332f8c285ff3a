"""Elections: PreVote, votes, and the beginning of a leadership (sections 5.2 and 5.4.1; dissertation 9.6, 4.2.3)."""

from __future__ import annotations

from foreshock.targets.reference.node.raft.membership import Membership
from foreshock.targets.reference.node.raft.messages import (
    PreVote,
    PreVoteReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from foreshock.targets.reference.node.raft.progress import Progress
from foreshock.targets.reference.node.raft.state import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    NS_PER_MS,
    PRECANDIDATE,
)


class Election(Membership):
    """Both sides of an election."""

    # --- asking -----------------------------------------------------------------------------------------------

    def _on_election_timeout(self) -> None:
        """No word of a leader for too long."""
        self._restart_election_timer()
        self._leader = None
        if not self._may_campaign():
            return
        if self._asks_for_permission():
            self._ask_for_permission()
        else:
            self._campaign(transfer=False)

    def _may_campaign(self) -> bool:
        """Whether we have a vote; a member whose removal is not committed still may (dissertation 4.2.2)."""
        if self._name in self._voters:
            return True
        return self._configurations[-1][0] > self.commit and self._name in self._members_at(self.commit)

    def _asks_for_permission(self) -> bool:
        """Whether a term begins only after a majority would vote in it (dissertation 9.6)."""
        return self.knobs.prevote

    def _ask_for_permission(self) -> None:
        """PreVote: begin no term that a majority would not vote in (dissertation 9.6)."""
        self.role = PRECANDIDATE
        self._votes = {self._name}
        message = PreVote(self.term, self.log.last, self.log.last_term)
        for voter in self._voters:
            if voter != self._name:
                self._send(voter, message)
        if self._has_majority():
            self._campaign(transfer=False)

    def _campaign(self, *, transfer: bool) -> None:
        """Begin a term and ask for votes; our own counts, like anybody's, once it is durable."""
        self.role = CANDIDATE
        self._leader = None
        self._votes = set()
        self._enter_term(self.term + 1)
        self.vote = self._name
        self._save_state()
        self._restart_election_timer()
        message = Vote(self.term, self.log.last, self.log.last_term, transfer)
        for voter in self._voters:
            if voter == self._name:
                self._send_when_durable(voter, VoteReply(self.term, True))
            else:
                self._send_when_durable(voter, message)

    def _has_majority(self) -> bool:
        return sum(voter in self._votes for voter in self._voters) >= self._majority

    def _on_prevote_reply(self, source: str, message: PreVoteReply) -> None:
        """With a majority's permission the term begins."""
        if self.role is PRECANDIDATE and message.granted and message.proposed == self.term + 1:
            self._votes.add(source)
            if self._has_majority():
                self._campaign(transfer=False)

    def _on_vote_reply(self, source: str, message: VoteReply) -> None:
        """With a majority's votes the candidate leads."""
        if self.role is CANDIDATE and message.granted:
            self._votes.add(source)
            if self._has_majority():
                self._become_leader()

    def _on_timeout_now(self, source: str, message: TimeoutNow) -> None:  # noqa: ARG002
        """Our leader wants us to lead: campaign without asking for permission (dissertation 3.10)."""
        if self._may_obey_timeout_now(source) and self._may_campaign():
            self._campaign(transfer=True)

    # --- answering --------------------------------------------------------------------------------------------

    def _on_prevote(self, source: str, message: PreVote) -> None:
        """Would we vote so? Not while we hear a leader. (A term that we have seen was refused before this.)"""
        granted = not self._sticks_to_leader() and self._log_is_up_to_date(
            message.last_position, message.last_term
        )
        self._send_when_durable(source, PreVoteReply(self.term, message.term + 1, granted))

    def _on_vote(self, source: str, message: Vote) -> None:
        """RequestVote, receiver's step 2 of figure 2; a granted vote is spoken of when it is durable."""
        waits = self._honours_a_lease() and not message.transfer
        granted = (
            not waits
            and self._may_vote_for(source)
            and self._log_is_up_to_date(message.last_position, message.last_term)
        )
        if granted and self.vote is None:
            self.vote = source
            self._save_state()
        if granted:
            self._restart_election_timer()
        self._send_when_durable(source, VoteReply(self.term, granted))

    def _may_vote_for(self, candidate: str) -> bool:
        """One vote a term (section 5.2)."""
        return self.vote == candidate or (self.vote is None and self.role in (FOLLOWER, PRECANDIDATE))

    def _log_is_up_to_date(self, last_position: int, last_term: int) -> bool:
        """Whether a candidate's log has all that may be committed: by last term, then length (section 5.4.1)."""
        return (last_term, last_position) >= (self.log.last_term, self.log.last)

    def _sticks_to_leader(self) -> bool:
        """Whether we heard our leader so lately that nobody else should disturb it (dissertation 4.2.3)."""
        if self.role is LEADER or self._honours_a_lease():
            return True
        if self._leader is None or self._leader_heard_ns is None:
            return False
        return self._now - self._leader_heard_ns < self.knobs.election_timeout_min_ms * NS_PER_MS

    # --- leading ----------------------------------------------------------------------------------------------

    def _become_leader(self) -> None:
        """Take the lead: nothing is known of the followers yet, and an entry of our own term opens the term."""
        self.role = LEADER
        self._leader = self._name
        if self._transfer is not None:
            self._end_transfer(self._transfer, f"{self._transfer.target} did not win the election")
        self._round = 0
        self._begin_leases()
        self._peers = {
            voter: Progress(self.log.last + 1, self._now) for voter in self._voters if voter != self._name
        }
        self._heartbeat_deadline = self._now + self.knobs.heartbeat_ms * NS_PER_MS
        self._open_term()

    def _open_term(self) -> None:
        """A no-op that commits what earlier terms left, and lets reads begin (section 8); and the first heartbeat."""
        self._propose("noop", None)
