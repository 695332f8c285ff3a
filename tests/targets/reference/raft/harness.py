"""Raft's replicas in the common world, with the properties of figure 3 of the extended paper beside the common ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from tests.targets.reference import worlds
from tests.targets.reference.worlds import MS, Broken, Node, require

from foreshock.targets.reference.node.consensus import Entry, Output, Record, Tick
from foreshock.targets.reference.node.raft import Raft, RaftKnobs

__all__ = ["MS", "QUICK", "Broken", "World"]

QUICK = RaftKnobs(election_timeout_min_ms=100, election_timeout_max_ms=200, heartbeat_ms=20)


class World(worlds.World):
    """Raft replicas, and what figure 3 promises of them."""

    entry_identity: ClassVar[Callable[[Entry], Any]] = staticmethod(lambda entry: entry)

    def __init__(
        self, count: int = 3, *, knobs: RaftKnobs = QUICK, raft: type[Raft] = Raft, **options: Any
    ) -> None:
        self.written: dict[tuple[int, int], tuple[Any, int]] = {}
        self.commits: dict[str, int] = {}
        super().__init__(raft, knobs, count, **options)

    def start(self, name: str) -> None:
        """Start a node from what its disk holds; its commit index begins anew."""
        self.commits[name] = 0
        super().start(name)

    def give_log(self, name: str, terms: list[int], *, term: int) -> None:
        """Start a node anew from a disk that holds entries of these terms, and its own term."""
        entries = [Entry(i, entry, "command", i * 100 + entry) for i, entry in enumerate(terms, start=1)]
        state = Record(1, "state", {"term": term, "vote": None})
        self.nodes[name].disk = [state, Record(2, "entries", entries)] if entries else [state]
        self.nodes[name].unsynced = []
        self.start(name)

    def elect_only(self, name: str) -> None:
        """Have this node elected, and lose all that it says as a leader."""
        self.now += self.knobs.election_timeout_max_ms * MS
        self.tick(name)
        while not self.raft(name).leading:
            require(bool(self.wire), f"{name} was not elected")
            self.deliver()
        self.wire.clear()

    def pass_heartbeat(self, name: str) -> None:
        """A leader's heartbeat is due; nobody else hears the time pass."""
        self.now += self.knobs.heartbeat_ms * MS
        self.step(name, Tick())

    def raft(self, name: str) -> Raft:
        """The running replica of a node."""
        raft: Raft = self.replica(name)
        return raft

    @staticmethod
    def term_of(replica: Any) -> Any:
        """The term, without making a whole description for it."""
        return replica.term

    def terms(self, name: str) -> list[int]:
        """The terms of all entries in a node's log in memory."""
        log = self.raft(name).log
        return [log.term(position) for position in range(log.base + 1, log.last + 1)]

    def check(self, node: Node, replica: Raft, output: Output) -> None:
        """Figure 3 of the extended paper, and the promises of ``consensus.Replica``."""
        name = node.name
        for record in output.persist:
            if record.kind == "entries":
                self.check_log_matching(name, replica, record.data)
        require(
            replica.commit >= self.commits[name], f"the commit index of {name} fell from {self.commits[name]}"
        )
        self.commits[name] = replica.commit
        super().check(node, replica, output)
        applied_all = node.applied == replica.applied == replica.commit
        require(applied_all, f"{name} did not apply all that is committed")
        require(replica.dropped == 0, f"{name} dropped a message that its peers had a right to send")

    def check_leader(self, name: str, replica: Raft) -> None:
        """Leader Completeness: a new leader's log has all that was ever committed."""
        if self.leaders.get(replica.term) != name:
            log = replica.log
            for position, entry in self.committed.items():
                lacks = position > log.base and log.term(position) != entry.term
                require(not lacks, f"{name} leads term {replica.term} without the committed {entry}")
            require(log.last >= self.highest_commit, f"{name} leads with a log that ends at {log.last}")
        super().check_leader(name, replica)

    def check_log_matching(self, name: str, raft: Raft, entries: list[Entry]) -> None:
        """Equal position and term mean equal entry and equal predecessor: by induction, equal logs up to there."""
        before = raft.log.term(entries[0].position - 1)
        for entry in entries:
            known = self.written.setdefault((entry.position, entry.term), (entry.data, before))
            require(known == (entry.data, before), f"{name} writes {entry} after a term-{before} entry")
            before = entry.term
