"""Fast leader election: notifications, rounds, and who is best by (epoch, zxid, id).

The election is the paper's oracle (section 3: phase 0): it only has to find, sooner or later, one node that a quorum
can reach and whose history is the latest among them. Safety never rests on it; discovery makes sure.

A node that looks for a leader tells all members what its history is worth and for whom it votes, and changes its vote
to the best of those it has heard in this round. A node of an earlier round joins the later one. When a quorum votes
for its choice, it waits a moment for somebody better (not when it has heard everybody), and then leads or follows.

ZooKeeper passes votes on, so a node may vote for somebody whom it cannot reach, fail to connect, and vote for the same
again (Elasticsearch's Zen discovery knew that too: its issue 31801). Here a notification vouches for its sender alone,
and nobody votes for one whom it has not heard itself in this round.

An established leader invites whoever should follow it and does not: it answers each notification, and repeats itself
with each heartbeat. A node that looks for a leader accepts at once. It need not ask who else follows: a leader without
a quorum ends by itself.
"""

from __future__ import annotations

from typing import NamedTuple

from foreshock.targets.reference.node.zab.messages import Notification
from foreshock.targets.reference.node.zab.state import (
    BROADCAST,
    ELECTION,
    LEADING,
    LOOKING,
    NS_PER_MS,
    ZabState,
)

PATIENCE_DOUBLINGS_MAX = 4


class Credentials(NamedTuple):
    """What a node's history is worth; compared as a whole, the greatest is best."""

    epoch: int
    last_term: int
    last_position: int
    weight: int
    name: str


def _credentials(source: str, message: Notification) -> Credentials:
    """What a node says that its history is worth."""
    return Credentials(message.epoch, message.last_term, message.last_position, message.weight, source)


class Election(ZabState):
    """A node that looks for a leader; the beginning of both other roles is in the modules that build on this."""

    _round = 0
    _choice: str | None = None
    _finalize_ns: int | None = None
    _notify_ns = 0
    _notify_interval_ns = 0
    _obedient_ns = 0
    _left: str | None = None
    _failures = 0

    def _begin_looking(self) -> None:
        """A new round: vote for ourselves, as far as we have a vote, and say so."""
        self.role, self.phase, self.epoch, self._leader = LOOKING, ELECTION, 0, None
        self._enter_round(self._round + 1)
        pause = self.knobs.heartbeat_ms * NS_PER_MS << min(self._failures, PATIENCE_DOUBLINGS_MAX)
        self._obedient_ns = self._now + (pause if self._failures else 0)
        self._failures += 1
        self._shout()

    def _enter_round(self, number: int) -> None:
        self._round = number
        self._candidates: dict[str, Credentials] = {}
        self._votes: dict[str, str] = {}
        self._finalize_ns = None
        self._choice = self._name if self._may_lead() else None
        self._notify_interval_ns = self.knobs.notification_min_ms * NS_PER_MS

    def _may_lead(self) -> bool:
        """Whether we have a vote; a member whose removal is not known to be committed still has."""
        if self._name in self._voters:
            return True
        return self._configurations[-1][0] > self.commit and self._name in self._members_at(self.commit)

    def _own_credentials(self) -> Credentials:
        weight = 1 + (self._now <= self._preferred_until_ns) if self._name in self._voters else 0
        return Credentials(self.current, self.log.last_term, self.log.last, weight, self._name)

    def _rank(self, credentials: Credentials) -> tuple[object, ...]:
        """What makes a candidate better than another: epoch, then zxid, then id; but first one that stays."""
        return credentials

    def _notification(self) -> Notification:
        """How we stand, as everybody may know it."""
        own = self._own_credentials()
        established = self.epoch if self.role is LEADING and self.phase is BROADCAST else 0
        voted = self._choice or self._name
        return Notification(self._round, str(self.role), *own[:4], voted, established)

    def _shout(self) -> None:
        """Tell all other members how we stand, and when to do so again; a node without a vote keeps silent.

        So are all told who look for a leader as we do, members or not: configurations may differ, and a node that is
        none by ours may be the one that has to lead, or one without which nobody can.
        """
        if self._may_lead():
            notification = self._notification()
            for name in (*self._voters, *(name for name in self._candidates if name not in self._voters)):
                if name != self._name:
                    self._send(name, notification)
        self._notify_ns = self._now + self._notify_interval_ns
        longest_ns = self.knobs.notification_max_ms * NS_PER_MS
        self._notify_interval_ns = min(2 * self._notify_interval_ns, longest_ns)
        self._tally()

    def _on_election_tick(self) -> None:
        """Somebody better did not come in time, or our words may have been lost."""
        if self._finalize_ns is not None and self._now >= self._finalize_ns:
            self._decide()
        elif self._now >= self._notify_ns:
            self._shout()

    # --- hearing ----------------------------------------------------------------------------------------------

    def _on_notification(self, source: str, message: Notification) -> None:
        """Somebody says how it stands."""
        if self.role is not LOOKING:
            if message.state == LOOKING:
                self._answer_seeker(source)
            return
        if message.established:
            if self._accepts_invitation(source):
                self._follow(source)
        elif self._choice is None:
            self._support(source, message)
        elif message.state == LOOKING:
            self._hear_seeker(source, message)
        elif message.round >= self._round and message.state == LEADING:
            self._hear_elected(source, message)
        elif message.round == self._round:
            self._votes[source] = message.leader

    def _support(self, source: str, message: Notification) -> None:
        """Without a vote we lead nobody, but help whoever asks and knows no less than we do.

        It asks because we have a vote by its configuration, which may be later than ours: if that was not committed
        before all members restarted, nobody can be elected without us, nor tell us of it.
        """
        if self._rank(_credentials(source, message)) < self._rank(self._own_credentials()):
            return
        if message.state == LOOKING:
            if message.round > self._round:
                self._enter_round(message.round)
            self._send(source, self._notification()._replace(leader=source))
        elif message.state == LEADING and message.round >= self._round and self._accepts_invitation(source):
            self._follow(source)

    def _hear_seeker(self, source: str, message: Notification) -> None:
        """Another node looks for a leader: bring the rounds together, then weigh what it says."""
        if message.round < self._round:
            self._send(source, self._notification())
            return
        late = message.round > self._round
        if late:
            self._enter_round(message.round)
        if self._weigh(source, message) or late:
            self._shout()
        self._tally()

    def _hear_elected(self, source: str, message: Notification) -> None:
        """Somebody was elected, maybe by another configuration than ours: follow it if we know nobody better."""
        self._weigh(source, message)
        if self._choice == source and self._accepts_invitation(source):
            self._follow(source)

    def _answer_seeker(self, source: str) -> None:
        """We look no more, and say whom we have found; see the leader's part for whom it wants to follow it."""
        self._send(source, self._notification())

    def _accepts_invitation(self, source: str) -> bool:
        """At once; but a leader with whom it did not work is tried again after a while only."""
        return source != self._left or self._now >= self._obedient_ns

    def _weigh(self, source: str, message: Notification) -> bool:
        """Take note of a candidate and its vote; whether it is better than our choice, and so becomes it."""
        candidate = self._candidates[source] = _credentials(source, message)
        self._votes[source] = message.leader
        choice = self._own_credentials()
        if self._choice is not None and self._choice != self._name:
            choice = self._candidates[self._choice]
        if self._rank(candidate) <= self._rank(choice):
            return False
        self._choice = source
        self._finalize_ns = None
        return True

    def _supporters(self, leader: str) -> set[str]:
        return {voter for voter, choice in self._votes.items() if choice == leader}

    def _tally(self) -> None:
        """Decide at once when all members agree; give a quorum's choice a moment for somebody better to come.

        One whom we left not long ago gets longer, lest our rounds follow each other so fast that others, who count by
        another configuration than ours, never come to the end of one.
        """
        choice = self._choice
        if choice is None or self.role is not LOOKING:
            return
        supporters = self._supporters(choice) | {self._name}
        if not self._is_quorum(supporters):
            self._finalize_ns = None
        elif supporters.issuperset(self._voters) and self._accepts_invitation(choice):
            self._decide()
        elif self._finalize_ns is None:
            self._finalize_ns = self._now + self.knobs.finalize_ms * NS_PER_MS
            if not self._accepts_invitation(choice):
                self._finalize_ns = max(self._finalize_ns, self._obedient_ns)

    def _decide(self) -> None:
        """The end of the election, as far as this node is concerned."""
        self._finalize_ns = None
        if self._choice == self._name:
            self._lead()
        elif self._choice is not None:
            self._follow(self._choice)

    # --- what comes after -------------------------------------------------------------------------------------

    def _lead(self) -> None:
        raise NotImplementedError

    def _follow(self, leader: str) -> None:
        raise NotImplementedError
