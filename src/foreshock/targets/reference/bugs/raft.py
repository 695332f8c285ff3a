"""Bugs planted in Raft: each overrides one decision, and drops what would mask it.

Every one has happened. The harness must find each of them, in the simulator, by what clients see alone.
"""

from __future__ import annotations

from typing import Any, Final

from foreshock.targets.reference.node.codes import Body
from foreshock.targets.reference.node.consensus import Event, Output, Propose, Record, Snapshot
from foreshock.targets.reference.node.raft import Raft
from foreshock.targets.reference.node.raft.messages import Append
from foreshock.targets.reference.node.raft.progress import Progress
from foreshock.targets.reference.node.raft.state import LEADER
from foreshock.targets.reference.node.sessions import Session, Sessions


class VoteNotPersisted(Raft):
    """Keeps term and vote in memory only, where figure 2 of the paper wants them durable before any answer.

    PySyncObj did so, which its users met when every node of a Patroni cluster restarted at once (its issue 201 and
    pull request 202); raft-java too (its issue 57). A node that restarts may vote a second time in one term, and
    the terms themselves begin anew below those in the log: then a log that lacks committed entries passes for the
    more up-to-date one, its owner is elected, and acknowledged writes are gone. PreVote and the followers' loyalty to
    a leader that lives, which neither of the two had, would keep such a node from campaigning: they go too.
    """

    def _state_to_save(self) -> dict[str, Any]:
        return {"term": 0, "vote": None}

    def _asks_for_permission(self) -> bool:
        return False

    def _sticks_to_leader(self) -> bool:
        return False


class VotesForShorterLog(Raft):
    """Votes for any candidate, however old its log is: the election restriction of section 5.4.1 is missing.

    jgroups-raft granted votes so (its issue 14), and akka-raft, where it was found by systematic exploration (its
    issues 30 and 51). A node that slept through some writes is elected, and overwrites what was committed.
    """

    def _log_is_up_to_date(self, last_position: int, last_term: int) -> bool:  # noqa: ARG002
        return True


class CommitsOldTermByCounting(Raft):
    """Commits entries of earlier terms as soon as a majority has them: the mistake of figure 8, section 5.4.2.

    LogCabin, by Raft's own author, had it (its issue 44), and so had PySyncObj (169) and canonical/raft (220). An
    entry of an old term that is on a majority can still be overwritten by a leader whose last entry is of a term
    between; whoever was told that it is committed was told wrong.

    Three things would hide that from clients, and go. The no-op that opens a term soon commits the old entries in
    the right way: this leader first brings its followers into line, for ten seconds keeps the no-op and what follows
    it to itself, takes commands only after two, and reads as soon as all that it inherited is "committed". And it
    keeps the clients of an earlier leadership waiting, so that they hear of their entries when it leads again.
    """

    _OPENING_NS: Final = 10_000_000_000
    _DEAF_NS: Final = 2_000_000_000
    _inherited = 0
    _opened_ns = 0

    def _may_commit(self, position: int) -> bool:  # noqa: ARG002
        return True

    def _committed_in_own_term(self) -> bool:
        return self.commit >= self._inherited

    def _open_term(self) -> None:
        self._inherited, self._opened_ns = self.log.last, self._now
        super()._open_term()
        self._beat()

    def _is_opening(self) -> bool:
        return self._now - self._opened_ns < self._OPENING_NS

    def _feed(self, name: str, peer: Progress) -> None:
        if peer.next <= self._inherited or not self._is_opening():
            super()._feed(name, peer)

    def _append_after(self, previous: int, entries_max: int) -> Append:
        if self._is_opening():
            entries_max = min(entries_max, max(0, self._inherited - previous))
        return super()._append_after(previous, entries_max)

    def _on_propose(self, event: Propose) -> None:
        if self.role is LEADER and self._now - self._opened_ns < self._DEAF_NS:
            self._refuse(event.proposal, "this leader still brings its followers into line")
        else:
            super()._on_propose(event)

    def _abandon_leadership(self) -> None:
        waiting, self._proposals = self._proposals, {}
        super()._abandon_leadership()
        self._proposals = waiting

    def _cut_log(self, position: int) -> None:
        super()._cut_log(position)
        self._give_up(position)

    def _install(self, snapshot: Snapshot) -> None:
        super()._install(snapshot)
        self._give_up(0)

    def _give_up(self, position: int) -> None:
        """Nobody can tell any more what became of the entries at and after a position."""
        for lost in [waiting for waiting in self._proposals if waiting >= position]:
            self._refuse(self._proposals.pop(lost), "the entry was overwritten here", definite=False)


class StaleLeaderReads(Raft):
    """Answers reads from the leader's own state without asking a majority whether it still leads.

    etcd and Consul did so at first, and Jepsen showed it of both ("etcd and Consul", 2014). A leader on the small
    side of a partition goes on answering from the past while the other side commits new writes. It would step
    down after an election time-out for want of a quorum (CheckQuorum); that goes too.
    """

    def _leadership_is_confirmed(self, number: int) -> bool:  # noqa: ARG002
        return True

    def _lost_quorum(self) -> bool:
        return False


class RepliesBeforeFsync(Raft):
    """Takes a record for durable as soon as it is made: votes, acknowledgements and commits do not wait.

    etcd answered before the fsync in clusters of one node (its issue 14370), and many stores do so by default. A
    crash then takes entries back that a majority had promised to keep, and votes that were given. Like such a
    store, this one writes in the background, ten times a second, so that a crash has something to take.
    """

    _WRITE_EVERY_NS: Final = 100_000_000

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._unwritten: list[Record] = []
        self._last_write_ns = self._now

    def _durable_sequence(self) -> int:
        return self._written

    def step(self, event: Event, now_ns: int) -> Output:
        """As ever, but what should be persisted waits for the next write in the background."""
        output = super().step(event, now_ns)
        self._unwritten += output.persist
        output.persist = []
        if now_ns - self._last_write_ns >= self._WRITE_EVERY_NS:
            self._last_write_ns = now_ns
            output.persist, self._unwritten = self._unwritten, []
        return output


class AppliesRetryTwice(Sessions):
    """Applies a request again when its client sends it again: the sessions' memory of the last reply is ignored.

    Raft by itself is so (section 8: a leader that crashes after committing and before answering has the command
    executed a second time); Jepsen found jetcd sending such requests again by itself ("jetcd 0.8.2", 2024). An old
    write that is repeated after somebody else's undoes the newer one.
    """

    def answered(self, session: Session, sequence: int) -> Body | None:
        """As the sessions decide, but a request that was answered already counts as new."""
        if sequence == session.sequence:
            return None
        return super().answered(session, sequence)
