"""The state that all parts of a Paxos replica share, and what changes it in one place.

Every node plays all three roles of "Paxos Made Simple". *Durability*: what is written becomes durable later, in order,
and whatever is said on the strength of it is held back until then. *Configuration*: which nodes are the acceptors of a
slot is itself chosen, ``window_slots`` slots before (the end of section 3 of the paper, where the window is called
alpha; Lamport, Malkhi & Zhou, "Reconfiguring a State Machine", 2010, call it R-alpha). So every slot has exactly one
set of acceptors, and nobody proposes in a slot whose set it does not know: each slot is an instance of the
single-decree algorithm as it stands in the paper, and its proof holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Final, NamedTuple

from foreshock.targets.reference.node.consensus import Committed, Entry
from foreshock.targets.reference.node.incoming import Incoming
from foreshock.targets.reference.node.membership import Joining, MembershipState
from foreshock.targets.reference.node.paxos.knobs import PaxosKnobs
from foreshock.targets.reference.node.paxos.messages import Acceptance, Accepted, Message, Value
from foreshock.targets.reference.node.paxos.progress import Progress
from foreshock.targets.reference.node.paxos.synod import NO_BALLOT, Ballot, Learner, is_majority

NS_PER_MS: Final = 1_000_000
SAVE_CHOSEN_SLOTS: Final = 64
"""After so many slots that were chosen, the next thing that is written says so."""


class Role(StrEnum):
    """What a replica is as a proposer; every replica is an acceptor and a learner besides."""

    FOLLOWER = "follower"
    CANVASSER = "canvasser"
    CANDIDATE = "candidate"
    LEADER = "leader"


FOLLOWER, CANVASSER, CANDIDATE, LEADER = Role


class Wish(NamedTuple):
    """A value that waits for a slot at the leader, and the driver's number for it, if it has one."""

    proposal: int | None
    value: Value


class Change(NamedTuple):
    """A change of membership that is proposed, and not yet safe to report."""

    proposal: int
    members: tuple[str, ...]
    reported: bool
    """Whether the no-op that reports it is proposed."""


class PaxosState(MembershipState[PaxosKnobs]):
    """The fields of one replica and the few moves that every part makes."""

    protocol: ClassVar[str] = "Paxos"

    def __init__(
        self,
        name: str,
        members: Sequence[str],
        knobs: PaxosKnobs,
        random_bits: Callable[[int], int],
        now_ns: int,
    ) -> None:
        super().__init__(name, members, knobs.checked(), random_bits, now_ns)

        # The acceptor: durable.
        self.promised = NO_BALLOT
        self.accepted: dict[int, Acceptance] = {}
        self.base = 0
        """Up to here a snapshot has taken over; what was accepted there is forgotten."""
        self.last = 0
        """The greatest slot in which something was ever accepted."""

        # What of it is durable already.
        self._saved_chosen = 0
        self._chosen_before = 0
        """Up to where the records say that all is chosen."""
        self._held: deque[tuple[int, str, Message]] = deque()

        # The learner.
        self._chosen_ahead: set[int] = set()
        self._incoming: Incoming | None = None
        self._configurations: list[tuple[int, tuple[str, ...]]] = [(1, tuple(sorted(members)))]
        """From which slot on each set of acceptors counts."""

        # The proposer, and whom it follows when it does not lead.
        self.role = FOLLOWER
        self._leader_heard_ns: int | None = None
        self._leader_round = 0
        self._election_timeout_ns = self._draw_election_timeout()
        self._election_deadline = now_ns + self._election_timeout_ns
        self._round_seen = 0
        self._granted: set[str] = set()
        self._reset_proposer(NO_BALLOT)
        self._fed: tuple[tuple[int, int, Ballot], tuple[Value, ...]] = ((0, 0, NO_BALLOT), ())
        self._snapshot_text: tuple[int, str] = (0, "")

    def _reset_proposer(self, ballot: Ballot) -> None:
        """Everything that a proposer knows under one ballot, and nothing of it yet."""
        self.ballot = ballot
        """The ballot that we campaign for or lead with."""
        self._peers: dict[str, Progress] = {}
        self._promisers: set[str] = set()
        self._prepared: tuple[str, ...] | None = None
        self._reports: dict[int, Acceptance] = {}
        self._reported_through = 0
        self._floor = 0
        self._sources: list[str] = []
        self._next = self.commit + 1
        self._barrier: int | None = None
        self._open: dict[int, Learner] = {}
        self._wishes: deque[Wish] = deque()
        self._proposals: dict[int, int] = {}
        self._heartbeat_deadline = self._now + self.knobs.heartbeat_ms * NS_PER_MS
        self._round = 0
        self._reads_waiting: list[int] = []
        self._reads_confirming: list[int] = []
        self._reads_position = 0
        self._joining: Joining | None = None
        self._change: Change | None = None

    # --- the past, and what is durable of it ------------------------------------------------------------------

    def _save_state(self) -> None:
        """Write the promise; and up to where all is chosen.

        That needs to be durable only when the acceptors change. It is written now and then besides, so that a cluster
        that lost its power as a whole need not agree anew on everything since the last snapshot.
        """
        self._saved_chosen = self.commit
        super()._save_state()

    def _state_to_save(self) -> dict[str, Any]:
        """What must outlive a crash beside what was accepted."""
        return {"promised": self.promised, "chosen": self.commit, "window": self.knobs.window_slots}

    def _record(self, acceptances: list[Acceptance]) -> None:
        """Keep what was accepted, and ask for its durability."""
        accepted = self.accepted
        for acceptance in acceptances:
            accepted[acceptance.slot] = acceptance
            self.last = max(self.last, acceptance.slot)
        self._write("accepted", acceptances)
        if self.commit - self._saved_chosen >= SAVE_CHOSEN_SLOTS:
            self._save_state()

    def entry(self, position: int) -> Entry | None:
        """What is known to be chosen there, if the log still holds it."""
        acceptance = self.accepted.get(position) if position <= self.commit else None
        if acceptance is None:
            return None
        return Entry(position, acceptance.ballot.round, acceptance.kind, acceptance.data)

    def _emit_committed(self) -> None:
        """Hand over what has become known to be chosen since the last time."""
        accepted, proposals, committed = self.accepted, self._proposals, self._output.committed
        for slot in range(self.applied + 1, self.commit + 1):
            _, ballot, kind, data = accepted[slot]
            proposal = proposals.pop(slot, None) if proposals else None
            committed.append(Committed(Entry(slot, ballot.round, kind, data), proposal))
        self.applied = max(self.applied, self.commit)

    # --- talking ----------------------------------------------------------------------------------------------

    def _send_when_durable(self, destination: str, message: Message, sequence: int | None = None) -> None:
        """Send once the record with this sequence, or else the latest state, is durable, and all before it."""
        wanted = self._state_sequence if sequence is None else sequence
        if wanted <= self._durable_sequence() and destination != self._name:
            self._output.send.append((destination, message))
        else:
            self._held.append((wanted, destination, message))

    def _send_merged(self, destination: str, message: Message) -> None:
        """Send; acceptances of neighbouring slots that become durable together go in one message."""
        send = self._output.send
        if type(message) is Accepted and send and send[-1][0] == destination:
            before = send[-1][1]
            same = type(before) is Accepted and before.ballot == message.ballot
            if same and before.first <= before.last and before.last + 1 == message.first:
                send[-1] = (destination, message._replace(first=before.first))
                return
        send.append((destination, message))

    # --- time and loyalty -------------------------------------------------------------------------------------

    def _draw_election_timeout(self) -> int:
        """A wait in ns, uniform between the two knobs, so that duels of proposers end soon."""
        knobs = self.knobs
        span = (knobs.election_timeout_max_ms - knobs.election_timeout_min_ms) * NS_PER_MS
        return knobs.election_timeout_min_ms * NS_PER_MS + (span * self._random_bits(32) >> 32)

    def _restart_election_timer(self) -> None:
        self._election_timeout_ns = self._draw_election_timeout()
        self._election_deadline = self._now + self._election_timeout_ns

    def _stop_proposing(self, leader: str | None) -> None:
        """Follow; tell everybody who waits on this proposer that it proposes no more."""
        self._leader = leader
        if self.role is FOLLOWER:
            return
        self.role = FOLLOWER
        self._restart_election_timer()
        for proposal in self._proposals.values():
            self._refuse(proposal, "leadership was lost before the command was chosen", definite=False)
        for wish in self._wishes:
            if wish.proposal is not None:
                self._refuse(wish.proposal, "leadership was lost", definite=wish.value.kind != "noop")
        for read in self._reads_confirming + self._reads_waiting:
            self._refuse(read, "leadership was lost before the read was confirmed")
        if self._joining is not None:
            self._refuse(self._joining.proposal, "leadership was lost while the new member caught up")
        change = self._change
        if change is not None and not change.reported:
            self._refuse(
                change.proposal, "leadership was lost during the change of membership", definite=False
            )
        self._reset_proposer(NO_BALLOT)

    # --- acceptors --------------------------------------------------------------------------------------------

    def _is_quorum(self, supporters: Collection[str], acceptors: Sequence[str]) -> bool:
        """Whether so many of a slot's acceptors are enough."""
        return is_majority(supporters, acceptors)

    @property
    def members(self) -> tuple[str, ...]:
        """The latest configuration that is chosen, even if it does not count yet."""
        return self._configurations[-1][1]

    def _acceptors_of(self, slot: int) -> tuple[str, ...]:
        """The acceptors of a slot that is at most a window after what is known to be chosen."""
        for since, members in reversed(self._configurations):
            if since <= slot:
                return members
        return self._configurations[0][1]

    def _settled_from(self) -> int:
        """From which slot on the latest configuration counts."""
        return self._configurations[-1][0]

    def _adopt_configurations(self) -> None:
        """A proposer speaks to the acceptors of all slots that are not chosen yet, and to a node that joins."""
        self._prepared = None
        if self.role is not LEADER and self.role is not CANDIDATE:
            return
        wanted = set(self._acceptors_of(self.commit + 1))
        for since, members in self._configurations:
            if since > self.commit:
                wanted.update(members)
        if self._joining is not None:
            wanted.add(self._joining.name)
        wanted.discard(self._name)
        for name in sorted(wanted - set(self._peers)):
            self._peers[name] = Progress(self.commit + 1, self._now)
        for name in sorted(set(self._peers) - wanted):
            del self._peers[name]
            self._promisers.discard(name)
