"""The state that all parts of a Raft replica share, and what changes it in one place.

Everything here is figure 2 of the extended paper, with two things made explicit. *Durability*: what is written
becomes durable later, in order, and whatever is said on the strength of it is held back until then. And
*configuration*: the latest one in the log counts, committed or not (section 6).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Final

from foreshock.targets.reference.node.incoming import Incoming
from foreshock.targets.reference.node.log import Log
from foreshock.targets.reference.node.logged_state import LoggedState
from foreshock.targets.reference.node.membership import Joining
from foreshock.targets.reference.node.raft.knobs import RaftKnobs
from foreshock.targets.reference.node.raft.messages import Append, Message
from foreshock.targets.reference.node.raft.progress import Progress

NS_PER_MS: Final = 1_000_000


class Role(StrEnum):
    """What a replica is at present; a pre-candidate is a follower that asks before it begins a term."""

    FOLLOWER = "follower"
    PRECANDIDATE = "precandidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


FOLLOWER, PRECANDIDATE, CANDIDATE, LEADER = Role


class RaftState(LoggedState[RaftKnobs]):
    """The fields of one replica and the few moves that every part makes."""

    protocol: ClassVar[str] = "Raft"

    def __init__(
        self,
        name: str,
        members: Sequence[str],
        knobs: RaftKnobs,
        random_bits: Callable[[int], int],
        now_ns: int,
    ) -> None:
        super().__init__(name, members, knobs.checked(), random_bits, now_ns)

        # Durable on every server (figure 2).
        self.term = 0
        self.vote: str | None = None
        self.log = Log()

        # What waits until they are.
        self._held: deque[tuple[int, str, Message]] = deque()

        # Volatile on every server.
        self.role = FOLLOWER
        self._election_timeout_ns = self._draw_election_timeout()
        self._election_deadline = now_ns + self._election_timeout_ns
        self._leader_heard_ns: int | None = None
        self._matched = 0
        self._leader_round = 0
        self._acknowledgement_owed = False
        self._votes: set[str] = set()
        self._incoming: Incoming | None = None

        # Volatile on leaders.
        self._peers: dict[str, Progress] = {}
        self._heartbeat_deadline = 0
        self._round = 0
        self._reads_waiting: list[int] = []
        self._reads_confirming: list[int] = []
        self._reads_position = 0
        self._joining: Joining | None = None
        self._last_append_key: tuple[int, ...] = ()
        self._last_append = Append(0, 0, 0, (), 0, 0)
        self._snapshot_text: tuple[int, str] | None = None

        self._adopt_configuration()

    # --- the past, and what is durable of it ------------------------------------------------------------------

    def _state_to_save(self) -> dict[str, Any]:
        """What must outlive a crash beside the log: the term, and whom we voted for in it (figure 2)."""
        return {"term": self.term, "vote": self.vote}

    def _cut_log(self, position: int) -> None:
        """Drop the entries at and after a position; that the next ones are written says so on disk."""
        self._forget_entries_after(position - 1)

    # --- talking ----------------------------------------------------------------------------------------------

    def _send_when_durable(self, destination: str, message: Message) -> None:
        """Send once term and vote, and with them all records before, are durable."""
        if self._state_sequence <= self._durable_sequence() and destination != self._name:
            self._output.send.append((destination, message))
        else:
            self._held.append((self._state_sequence, destination, message))

    # --- roles and terms --------------------------------------------------------------------------------------

    def _draw_election_timeout(self) -> int:
        """A wait in ns, uniform between the two knobs, so that ties are rare (section 5.2)."""
        knobs = self.knobs
        span = (knobs.election_timeout_max_ms - knobs.election_timeout_min_ms) * NS_PER_MS
        return knobs.election_timeout_min_ms * NS_PER_MS + (span * self._random_bits(32) >> 32)

    def _restart_election_timer(self) -> None:
        self._election_timeout_ns = self._draw_election_timeout()
        self._election_deadline = self._now + self._election_timeout_ns

    def _enter_term(self, term: int) -> None:
        """Take over a greater term: no vote, and nothing known yet of how our log and its leader's compare."""
        self.term = term
        self.vote = None
        self._matched = 0
        self._leader_round = 0
        self._acknowledgement_owed = False
        self._incoming = None

    def _become_follower(self, term: int, leader: str | None) -> None:
        """Follow, in this term or a greater one (figure 4)."""
        self._leader = leader
        if term > self.term:
            self._enter_term(term)
            self._save_state()
        if self.role is not FOLLOWER:
            was_leader = self.role is LEADER
            self.role = FOLLOWER
            self._restart_election_timer()
            if was_leader:
                self._abandon_leadership()

    def _abandon_leadership(self) -> None:
        """Tell everybody who waits on this leader that it leads no more."""
        for proposal in self._proposals.values():
            self._refuse(proposal, "leadership was lost before the entry was committed", definite=False)
        for read in self._reads_confirming + self._reads_waiting:
            self._refuse(read, "leadership was lost before the read was confirmed")
        if self._joining is not None:
            self._refuse(self._joining.proposal, "leadership was lost while the new member caught up")
        self._proposals = {}
        self._reads_confirming = []
        self._reads_waiting = []
        self._joining = None
        self._peers = {}
        self._incoming = None

    # --- configurations ---------------------------------------------------------------------------------------

    def _adopt_configuration(self) -> None:
        """Count by the latest configuration from now on; a leader feeds exactly its members, and a learner."""
        super()._adopt_configuration()
        if self.role is not LEADER:
            return
        wanted = set(self._voters)
        if self._joining is not None:
            wanted.add(self._joining.name)
        wanted.discard(self._name)
        for name in sorted(wanted - set(self._peers)):
            self._peers[name] = Progress(self.log.last + 1, self._now)
        for name in sorted(set(self._peers) - wanted):
            del self._peers[name]

    def _quorum_value(self, ours: int, field: Callable[[Progress], int]) -> int:
        """The greatest value that a majority of the voters have reached; ours counts only if we vote."""
        peers = self._peers
        name = self._name
        values = [ours if voter == name else field(peers[voter]) for voter in self._voters]
        values.sort()
        return values[len(values) - self._majority]
