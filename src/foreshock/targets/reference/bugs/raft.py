"""Bugs planted in Raft: each overrides one decision, and drops what would mask it.

Every one has happened. The harness must find each of them, in the simulator, by what clients see alone.
"""

from __future__ import annotations

from typing import Any, Final

from foreshock.targets.reference.node.codes import Body
from foreshock.targets.reference.node.consensus import Entry, Event, Output, Record, Snapshot
from foreshock.targets.reference.node.raft import Raft
from foreshock.targets.reference.node.raft.messages import Append
from foreshock.targets.reference.node.raft.progress import Progress
from foreshock.targets.reference.node.raft.state import NS_PER_MS
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

    Some things would hide that from clients, and go. The no-op that opens a term soon commits the old entries in
    the right way: this leader first brings its followers into line, for ten seconds keeps the no-op and what follows
    it to itself, and reads as soon as all that it inherited is "committed". And it keeps the clients of an earlier
    leadership waiting, so that they hear of their entries when it leads again.
    """

    _OPENING_NS: Final = 10_000_000_000
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


class KeepsConflictingSuffix(Raft):
    """Never takes back an entry that a new leader's contradict: steps 2 and 3 of AppendEntries (figure 2) go by
    positions, not by terms.

    Copycat, the ancestor of Atomix, kept such a suffix and applied it as soon as the new leader's commit index had
    passed it (its issue 265); ScyllaDB's Raft took obsolete entries for committed in the same way (9965). A leader
    that was cut off with entries that it alone had applies those in place of what was committed meanwhile. From
    then on its copy differs, which clients see when it leads again.
    """

    def _fits(self, previous: int, previous_term: int) -> bool:  # noqa: ARG002
        return previous <= self.log.last

    def _take(self, entries: tuple[Entry, ...]) -> None:
        news = tuple(entry for entry in entries if entry.position > self.log.last)
        if news:
            self._append_to_log(news)


class SnapshotDropsDedupTable(Sessions):
    """Leaves what the sessions remember of their last requests out of snapshots.

    The commonest mistake of those who build their first replicated store: the key-value lab of MIT's course 6.824
    warns of it in so many words, and section 6.3 of Ongaro's dissertation has the sessions in the replicated state
    for this reason. A node that comes back from a snapshot applies a request again that its client sends again,
    others do not: an old write is repeated after a newer one, and the copies differ from then on.
    """

    def snapshot(self) -> Any:
        """The whole state, but for the numbers of and the replies to the sessions' last requests."""
        data = super().snapshot()
        return data | {
            "sessions": [[i, ttl_ms, touched, 0, None] for i, ttl_ms, touched, *_ in data["sessions"]]
        }


class LeaseOutlivesSkewedClock(Raft):
    """Counts a lease by the leader's own clock for the whole of the followers' time-out, as if all clocks ran alike.

    TiKV did so (its issue 964 and pull request 1127), by the leases of etcd's Raft library, which leave it to their
    user that clocks drift (etcd's issue 6005). When the leader's clock is the slower one, the others elect a new leader
    before the old one's lease is over: it answers reads from the past.
    """

    def _lease_ns(self) -> int:
        return self.knobs.election_timeout_min_ms * NS_PER_MS


class TwoMembershipChangesAtOnce(Raft):
    """Begins a change of membership while the last one is not committed, and before its own term has committed any.

    Ongaro's dissertation (4.1) has the first half of the rule alone, and that is not enough, as he told the raft-dev
    list in 2015, with the second half as the mend; without either, two changes one upon the other do it. They can
    make a majority of those few that a leader on the small side of a partition still hears, while the large side
    elects another: two leaders commit.
    """

    def _may_change_members(self) -> bool:
        return self._joining is None and self._name in self._voters
