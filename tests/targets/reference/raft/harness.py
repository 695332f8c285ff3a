"""A tiny deterministic world for Raft replicas: messages, disks, crashes, partitions, and the invariants.

Nothing here is the project's simulator: it is less, and so it can be trusted more. A :class:`World` holds replicas
under test; a test moves it by hand (``deliver``, ``sync``, ``pass_time``, ``crash``, ...), or lets a ``Chaos`` move
it at random from a seed. After every step of every replica the properties of figure 3 of the extended paper are
checked, as far as that step can have broken them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.node.consensus import (
    ChangeMembership,
    Compact,
    Durable,
    Entry,
    Event,
    Output,
    Propose,
    Read,
    Receive,
    Record,
    Refused,
    Tick,
    TransferLeadership,
)
from foreshock.targets.reference.node.raft import Raft, RaftKnobs

MS = 1_000_000
QUICK = RaftKnobs(election_timeout_min_ms=100, election_timeout_max_ms=200, heartbeat_ms=20)


class Broken(AssertionError):
    """An invariant does not hold."""


def require(holds: bool, sentence: str) -> None:
    if not holds:
        raise Broken(sentence)


class Node:
    """One node: a replica while it runs, what its disk holds, and a state machine that is a running digest."""

    def __init__(self, name: str, members: tuple[str, ...], bits: Callable[[int], int]) -> None:
        self.name = name
        self.members = members
        self.bits = bits
        self.raft: Raft | None = None
        self.disk: list[Record] = []
        self.unsynced: list[Record] = []
        self.applied = 0
        self.digest = 0
        self.commit = 0


class World:
    """Replicas, the messages between them, and everything that was ever committed or promised."""

    def __init__(
        self,
        count: int = 3,
        *,
        seed: int = 0,
        knobs: RaftKnobs = QUICK,
        raft: type[Raft] = Raft,
        joiners: int = 0,
        sync_at_once: bool = True,
    ) -> None:
        self.rng = RandomStream(seed, "world")
        self.knobs = knobs
        self.raft_class = raft
        self.sync_at_once = sync_at_once
        self.now = 0
        self.wire: list[tuple[str, str, Any]] = []
        self.cut: set[tuple[str, str]] = set()
        self.trace: list[str] | None = None
        members = tuple(f"n{i + 1}" for i in range(count))
        self.nodes: dict[str, Node] = {}
        for i in range(count + joiners):
            name = f"n{i + 1}"
            bits = self.rng.stream(name).bits
            self.nodes[name] = Node(name, members if i < count else (), bits)
        # What the invariants remember.
        self.leaders: dict[int, str] = {}
        self.written: dict[tuple[int, int], tuple[Any, int]] = {}
        self.committed: dict[int, Entry] = {}
        self.digests: dict[int, int] = {0: 0}
        self.highest_commit = 0
        self.requests = 0
        self.reads_asked: dict[int, int] = {}
        self.reads_answered: list[int] = []
        self.proposals_done: dict[int, Entry] = {}
        self.refused: dict[int, Refused] = {}
        self.done: list[int] = []
        for name in self.nodes:
            self.start(name)

    # --- moving it --------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start a node from what its disk holds."""
        node = self.nodes[name]
        node.raft = self.raft_class.recover(
            name, node.members, list(node.disk), self.knobs, node.bits, self.now
        )
        node.applied = node.digest = node.commit = 0
        self.step(name, Tick())

    def give_log(self, name: str, terms: list[int], *, term: int) -> None:
        """Start a node anew from a disk that holds entries of these terms, and its own term."""
        entries = [Entry(i, entry, "command", i * 100 + entry) for i, entry in enumerate(terms, start=1)]
        state = Record(1, "state", {"term": term, "vote": None})
        self.nodes[name].disk = [state, Record(2, "entries", entries)] if entries else [state]
        self.nodes[name].unsynced = []
        self.start(name)

    def crash(self, name: str, keep: int = 0) -> None:
        """Stop a node at once; of what was not synced only the first ``keep`` records are on the disk."""
        node = self.nodes[name]
        node.raft = None
        node.disk.extend(node.unsynced[:keep])
        node.unsynced = []
        self.say(f"{name} crashes")

    def sync(self, name: str, count: int | None = None) -> None:
        """Make the first ``count`` unsynced records of a node durable (all of them by default), and say so."""
        node = self.nodes[name]
        part = node.unsynced[:count]
        if part:
            node.disk.extend(part)
            del node.unsynced[: len(part)]
            self.step(name, Durable(part[-1].sequence))

    def step(self, name: str, event: Event) -> Output:
        """One event into one replica; its output is carried out and checked."""
        node = self.nodes[name]
        raft = node.raft
        assert raft is not None
        output = raft.step(event, self.now)
        if self.trace is not None:
            self.say_step(name, event, output)
        self.check(node, raft, output)
        node.unsynced.extend(output.persist)
        for destination, message in output.send:
            if destination in self.nodes and (name, destination) not in self.cut:
                self.wire.append((name, destination, message))
        if self.sync_at_once:
            self.sync(name)
        return output

    def deliver(self, at: int = 0, *, again: bool = False) -> bool:
        """Deliver the message at a place of the wire; ``again`` leaves a duplicate there."""
        source, destination, message = self.wire[at] if again else self.wire.pop(at)
        if self.nodes[destination].raft is None or (source, destination) in self.cut:
            return False
        self.step(destination, Receive(source, message))
        return True

    def deliver_all(self, limit: int = 20_000) -> None:
        """Deliver in order until nothing is on the wire."""
        while self.wire:
            limit -= 1
            require(limit > 0, "the messages never end")
            self.deliver()

    def deliver_between(self, *names: str) -> None:
        """Deliver in order what goes between these nodes, and lose all else."""
        while self.wire:
            source, destination, _ = self.wire[0]
            if source in names and destination in names:
                self.deliver()
            else:
                self.wire.pop(0)

    def tick(self, name: str) -> None:
        """Let the node's deadline pass, and nobody else's."""
        raft = self.nodes[name].raft
        assert raft is not None
        self.now = max(self.now, raft.step(Tick(), self.now).deadline_ns)
        self.step(name, Tick())

    def pass_time(self, milliseconds: int, *, deliver: bool = True) -> None:
        """Let time pass for all, delivering everything every 5 ms."""
        for _ in range(milliseconds // 5):
            self.now += 5 * MS
            for node in self.nodes.values():
                if node.raft is not None:
                    self.step(node.name, Tick())
            if deliver:
                self.deliver_all()

    def elect(self, name: str) -> None:
        """Have this node elected by whoever hears it, once nobody hears a leader any more.

        It may take two attempts: by the first a node may learn that its term is past.
        """
        for _ in range(2):
            if not self.raft(name).leading:
                self.now += self.knobs.election_timeout_max_ms * MS
                self.tick(name)
                self.deliver_all()
        require(self.raft(name).leading, f"{name} was not elected")

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

    def isolate(self, *names: str) -> None:
        """Cut these nodes (which still hear each other) off from the rest, both ways."""
        for one in names:
            for other in self.nodes:
                if other not in names:
                    self.cut |= {(one, other), (other, one)}

    def heal(self) -> None:
        """No link is cut any more."""
        self.cut.clear()

    def propose(self, name: str, command: Any = None) -> int:
        """A client's command at a node."""
        self.requests += 1
        self.step(name, Propose(self.requests, self.requests if command is None else command))
        return self.requests

    def read(self, name: str) -> int:
        """A client's read at a node; it must see all that is committed anywhere by now."""
        self.requests += 1
        self.reads_asked[self.requests] = self.highest_commit
        self.step(name, Read(self.requests))
        return self.requests

    def change(self, name: str, *, add: str | None = None, remove: str | None = None) -> int:
        """A change of membership, asked for at a node."""
        self.requests += 1
        self.step(name, ChangeMembership(self.requests, add, remove))
        return self.requests

    def transfer(self, name: str, target: str | None = None) -> int:
        """Ask a node to hand its leadership over."""
        self.requests += 1
        self.step(name, TransferLeadership(self.requests, target))
        return self.requests

    def compact(self, name: str) -> None:
        """The node's driver takes a snapshot of its state machine."""
        node = self.nodes[name]
        self.step(name, Compact(node.applied, {"position": node.applied, "digest": node.digest}))

    def raft(self, name: str) -> Raft:
        """The running replica of a node."""
        raft = self.nodes[name].raft
        assert raft is not None
        return raft

    def leader(self) -> str | None:
        """The running leader of the greatest term."""
        leaders = [n.raft for n in self.nodes.values() if n.raft is not None and n.raft.leading]
        return max(leaders, key=lambda raft: raft.term).name if leaders else None

    def terms(self, name: str) -> list[int]:
        """The terms of all entries in a node's log in memory."""
        log = self.raft(name).log
        return [log.term(position) for position in range(log.base + 1, log.last + 1)]

    # --- what must hold ---------------------------------------------------------------------------------------

    def check(self, node: Node, raft: Raft, output: Output) -> None:
        """Figure 3 of the extended paper, and the promises of ``consensus.Replica``."""
        name, log = node.name, raft.log
        for record in output.persist:
            if record.kind == "entries":
                self.check_log_matching(name, raft, record.data)
        if raft.leading and self.leaders.get(raft.term) != name:
            require(raft.term not in self.leaders, f"term {raft.term} has two leaders, {name} and another")
            self.leaders[raft.term] = name
            for position, entry in self.committed.items():
                lacks = position > log.base and log.term(position) != entry.term
                require(not lacks, f"{name} leads term {raft.term} without the committed {entry}")
            require(log.last >= self.highest_commit, f"{name} leads with a log that ends at {log.last}")
        require(raft.commit >= node.commit, f"the commit index of {name} fell from {node.commit}")
        node.commit = raft.commit
        if output.restore is not None:
            require(output.restore.position > node.applied, f"{name} restores what it has applied")
            node.applied = output.restore.position
            node.digest = output.restore.data["digest"]
            known = self.digests.get(node.applied)
            require(known == node.digest, f"{name} restores a state that was never at {node.applied}")
        for entry, proposal in output.committed:
            self.check_committed(node, entry, proposal)
        require(node.applied == raft.applied == raft.commit, f"{name} did not apply all that is committed")
        for read, position in output.reads:
            least = self.reads_asked.pop(read)
            require(position <= node.applied, f"{name} answers a read before it has applied {position}")
            require(position >= least, f"{name} answers a read at {position}, though {least} was committed")
            self.reads_answered.append(read)
        for refusal in output.refused:
            self.reads_asked.pop(refusal.request, None)
            self.refused[refusal.request] = refusal
        self.done.extend(output.done)
        require(output.deadline_ns >= 0, f"{name} has no deadline")
        require(raft.dropped == 0, f"{name} dropped a message that its peers had a right to send")

    def check_log_matching(self, name: str, raft: Raft, entries: list[Entry]) -> None:
        """Equal position and term mean equal entry and equal predecessor: by induction, equal logs up to there."""
        before = raft.log.term(entries[0].position - 1)
        for entry in entries:
            known = self.written.setdefault((entry.position, entry.term), (entry.data, before))
            require(known == (entry.data, before), f"{name} writes {entry} after a term-{before} entry")
            before = entry.term

    def check_committed(self, node: Node, entry: Entry, proposal: int | None) -> None:
        """State-machine safety: nobody ever applies another entry at a position."""
        require(entry.position == node.applied + 1, f"{node.name} applies {entry} after {node.applied}")
        known = self.committed.setdefault(entry.position, entry)
        require(known == entry, f"{node.name} applies {entry}, though {known} was applied elsewhere")
        node.applied = entry.position
        node.digest = (node.digest * 31 + hash_of(entry)) % (1 << 61)
        digest = self.digests.setdefault(entry.position, node.digest)
        require(digest == node.digest, f"{node.name} has another state at {entry.position}")
        self.highest_commit = max(self.highest_commit, entry.position)
        if proposal is not None:
            require(proposal not in self.proposals_done, f"proposal {proposal} is committed twice")
            require(proposal not in self.refused, f"proposal {proposal} was refused, and is committed")
            self.proposals_done[proposal] = entry

    # --- transcripts ------------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """One line of the transcript, if one is kept."""
        if self.trace is not None:
            self.trace.append(line)

    def say_step(self, name: str, event: Event, output: Output) -> None:
        """An event and its consequences, one line each; steps without consequences leave no trace."""
        raft = self.raft(name)
        lines = [
            f"  persist {record.sequence} {record.kind} {shown(record.data)}" for record in output.persist
        ]
        lines += [f"  -> {to} {shown(message)}" for to, message in output.send]
        if output.restore is not None:
            lines.append(f"  restore {shown(output.restore)}")
        lines += [f"  commit {shown(entry)}" for entry, _ in output.committed]
        lines += [f"  read {read} at {position}" for read, position in output.reads]
        lines += [f"  refuse {refusal.request}: {refusal.reason}" for refusal in output.refused]
        lines += [f"  done {number}" for number in output.done]
        if lines or isinstance(event, Receive):
            what = f"<- {event.source} {shown(event.message)}" if isinstance(event, Receive) else shown(event)
            assert self.trace is not None
            self.trace.append(f"{name} ({raft.role}, term {raft.term}) {what}")
            self.trace.extend(lines)


def hash_of(entry: Entry) -> int:
    """A number that tells entries apart, the same in every process."""
    return entry.position * 1_000_003 + entry.term * 7919 + (entry.data if isinstance(entry.data, int) else 1)


def shown(value: Any) -> str:
    """A value for people: entries short, messages by their fields' names."""
    if isinstance(value, Entry):
        return f"{value.position}:{value.term}:{value.kind}={value.data}"
    if hasattr(value, "_asdict"):
        fields = ", ".join(f"{key}={shown(item)}" for key, item in value._asdict().items())
        return f"{type(value).__name__}({fields})"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    return str(value)
