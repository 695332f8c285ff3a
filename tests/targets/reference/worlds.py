"""A tiny deterministic world for replicas of any protocol: messages, disks, clocks, crashes, partitions, invariants.

Nothing here is the project's simulator: it is less, and so it can be trusted more. A :class:`World` holds replicas
under test; a test moves it by hand (``deliver``, ``sync``, ``pass_time``, ``crash``, ...), or lets a ``Chaos`` move
it at random from a seed. After every step of every replica everything is checked that no consensus protocol may
break, as far as that step can have broken it:

* one leader: of each term (ballot, epoch) at most one node ever says that it leads it;
* agreement: nobody ever applies, or shows in its log as applied, another entry at a position than anybody else;
* state-machine safety: equal positions mean equal state, through snapshots too, and nothing is applied twice;
* a proposal's fate is told once, a definitely refused one never takes effect, and no command is committed twice;
* a read sees all that was committed anywhere when it was asked.

A protocol's own tests subclass :class:`World` and add what that protocol promises beside: see ``raft/harness.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

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

MS = 1_000_000


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
        self.replica: Any = None
        """The replica (a ``RecoverableReplica``) while the node runs, else ``None``."""
        self.disk: list[Record] = []
        self.unsynced: list[Record] = []
        self.applied = 0
        self.digest = 0
        self.deadline_ns = 0
        self.drift_percent = 0
        """By how much this node's clock runs faster than the world's."""


class World:
    """Replicas, the messages between them, and everything that was ever committed or promised.

    ``replica`` is the protocol's class, made by its ``recover``; ``knobs`` are the protocol's own, of which only
    ``election_timeout_max_ms`` is looked at here (``patience_ms`` stands for it where there is none).
    """

    entry_identity: ClassVar[Callable[[Entry], Any]] = staticmethod(
        lambda entry: (entry.position, entry.kind, entry.data)
    )
    """What must agree between nodes; a protocol whose entries keep their term for ever compares the whole entry."""

    def __init__(
        self,
        replica: type[Any],
        knobs: Any,
        count: int = 3,
        *,
        seed: int = 0,
        joiners: int = 0,
        sync_at_once: bool = True,
        patience_ms: int | None = None,
        drift_percent: dict[str, int] | None = None,
    ) -> None:
        self.rng = RandomStream(seed, "world")
        self.replica_class = replica
        self.knobs = knobs
        self.patience_ms = knobs.election_timeout_max_ms if patience_ms is None else patience_ms
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
            self.nodes[name].drift_percent = (drift_percent or {}).get(name, 0)
        # What the invariants remember.
        self.leaders: dict[Any, str] = {}
        self.committed: dict[int, Entry] = {}
        self.places: dict[int, int] = {}
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
        node.replica = self.replica_class.recover(
            name, node.members, list(node.disk), self.knobs, node.bits, self.clock(name)
        )
        node.applied = node.digest = 0
        self.step(name, Tick())

    def crash(self, name: str, keep: int = 0) -> None:
        """Stop a node at once; of what was not synced only the first ``keep`` records are on the disk."""
        node = self.nodes[name]
        node.replica = None
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

    def clock(self, name: str) -> int:
        """What a node's own clock shows, in ns."""
        return self.now * (100 + self.nodes[name].drift_percent) // 100

    def step(self, name: str, event: Event) -> Output:
        """One event into one replica; its output is carried out and checked."""
        node = self.nodes[name]
        replica = node.replica
        assert replica is not None
        output: Output = replica.step(event, self.clock(name))
        if self.trace is not None:
            self.say_step(name, event, output)
        self.check(node, replica, output)
        node.deadline_ns = output.deadline_ns
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
        if self.nodes[destination].replica is None or (source, destination) in self.cut:
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
        node = self.nodes[name]
        self.now = max(self.now, -(-node.deadline_ns * 100 // (100 + node.drift_percent)))
        self.step(name, Tick())

    def pass_time(self, milliseconds: int, *, deliver: bool = True) -> None:
        """Let time pass for all, delivering everything every 5 ms."""
        for _ in range(milliseconds // 5):
            self.now += 5 * MS
            for node in self.nodes.values():
                if node.replica is not None:
                    self.step(node.name, Tick())
            if deliver:
                self.deliver_all()

    def elect(self, name: str) -> None:
        """Have this node elected by whoever hears it, once nobody hears a leader any more.

        It may take two attempts: by the first a node may learn that its term is past.
        """
        for _ in range(2):
            if not self.replica(name).leading:
                self.now += self.patience_ms * MS
                self.tick(name)
                self.deliver_all()
        require(self.replica(name).leading, f"{name} was not elected")

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
        """A client's command at a node; by default one that nobody else proposes."""
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

    def replica(self, name: str) -> Any:
        """The running replica of a node."""
        replica = self.nodes[name].replica
        assert replica is not None
        return replica

    def led(self) -> int:
        """How many leaders there have been."""
        return len(self.leaders)

    def leader(self) -> str | None:
        """The running leader of the greatest term."""
        leaders = [n.replica for n in self.nodes.values() if n.replica is not None and n.replica.leading]
        found: Any = max(leaders, key=self.term_of, default=None)
        return None if found is None else str(found.name)

    @staticmethod
    def term_of(replica: Any) -> Any:
        """A replica's term, ballot or epoch, as something that compares."""
        term = replica.describe()["term"]
        return tuple(term) if isinstance(term, list) else term

    # --- what must hold ---------------------------------------------------------------------------------------

    def check(self, node: Node, replica: Any, output: Output) -> None:
        """What every protocol owes, after one step; a protocol's own world adds to it, before or after."""
        name = node.name
        if replica.leading:
            self.check_leader(name, replica)
        if output.restore is not None:
            require(output.restore.position > node.applied, f"{name} restores what it has applied")
            node.applied = output.restore.position
            node.digest = output.restore.data["digest"]
            known = self.digests.get(node.applied)
            require(known == node.digest, f"{name} restores a state that was never at {node.applied}")
        for entry, proposal in output.committed:
            self.check_committed(node, entry, proposal)
        if output.committed or output.restore is not None:
            self.check_log(node, replica, max(1, node.applied - 8))
        for read, position in output.reads:
            require(read in self.reads_asked, f"{name} answers the read {read}, which nobody waits for")
            least = self.reads_asked.pop(read)
            require(position <= node.applied, f"{name} answers a read before it has applied {position}")
            require(position >= least, f"{name} answers a read at {position}, though {least} was committed")
            self.reads_answered.append(read)
        for refusal in output.refused:
            self.reads_asked.pop(refusal.request, None)
            self.check_refused(name, refusal)
        self.done.extend(output.done)
        require(output.deadline_ns >= 0, f"{name} has no deadline")

    def check_leader(self, name: str, replica: Any) -> None:
        """Election safety: at most one leader a term; and whoever begins to lead shows nothing but what is agreed."""
        term = self.term_of(replica)
        if self.leaders.get(term) != name:
            require(term not in self.leaders, f"term {term} has two leaders, {name} and another")
            self.leaders[term] = name
            self.check_log(self.nodes[name], replica, 1)

    def check_log(self, node: Node, replica: Any, first: int) -> None:
        """What a node has applied stands in its log as everybody applied it, from a position on."""
        identity = type(self).entry_identity
        for position in range(first, node.applied + 1):
            entry = replica.entry(position)
            agreed = self.committed.get(position)
            if entry is not None and agreed is not None:
                same = identity(entry) == identity(agreed)
                require(same, f"{node.name} holds {entry} where it applied {agreed}")

    def check_committed(self, node: Node, entry: Entry, proposal: int | None) -> None:
        """State-machine safety: nobody ever applies another entry at a position."""
        require(entry.position == node.applied + 1, f"{node.name} applies {entry} after {node.applied}")
        identity = type(self).entry_identity
        known = self.committed.setdefault(entry.position, entry)
        same = identity(known) == identity(entry)
        require(same, f"{node.name} applies {entry}, though {known} was applied elsewhere")
        node.applied = entry.position
        node.digest = (node.digest * 31 + hash_of(entry, known.term)) % (1 << 61)
        digest = self.digests.setdefault(entry.position, node.digest)
        require(digest == node.digest, f"{node.name} has another state at {entry.position}")
        self.highest_commit = max(self.highest_commit, entry.position)
        if entry.kind == "command" and isinstance(entry.data, int):
            place = self.places.setdefault(entry.data, entry.position)
            require(
                place == entry.position, f"command {entry.data} is committed at {place} and {entry.position}"
            )
            refusal = self.refused.get(entry.data)
            lied = refusal is not None and refusal.definite
            require(
                not lied, f"command {entry.data} was refused as certainly without effect, and is committed"
            )
        if proposal is not None:
            require(proposal not in self.proposals_done, f"proposal {proposal} is committed twice")
            require(proposal not in self.refused, f"proposal {proposal} was refused, and is committed")
            self.proposals_done[proposal] = entry

    def check_refused(self, name: str, refusal: Refused) -> None:
        """A request is answered once, and not with a lie."""
        request = refusal.request
        require(request not in self.refused, f"{name} refuses request {request} twice")
        require(request not in self.proposals_done, f"{name} refuses proposal {request}, which is committed")
        lied = refusal.definite and request in self.places
        require(not lied, f"{name} says that command {request} has no effect, and it is committed")
        self.refused[request] = refusal

    def check_survival(self) -> None:
        """Everything that was ever committed is on every member that has caught up, once all was healed.

        What is beyond a snapshot's edge shows in the digest of the state.
        """
        leader = self.leader()
        require(leader is not None, "nobody leads after everything was healed")
        for member in self.replica(str(leader)).members:
            node = self.nodes[member]
            require(node.applied == self.highest_commit, f"{member} lags behind at {node.applied}")
            require(node.digest == self.digests[node.applied], f"{member} has another state")
            self.check_log(node, node.replica, 1)

    # --- transcripts ------------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """One line of the transcript, if one is kept."""
        if self.trace is not None:
            self.trace.append(line)

    def say_step(self, name: str, event: Event, output: Output) -> None:
        """An event and its consequences, one line each; steps without consequences leave no trace."""
        described = self.replica(name).describe()
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
            self.trace.append(f"{name} ({described['role']}, term {described['term']}) {what}")
            self.trace.extend(lines)


def hash_of(entry: Entry, term: int) -> int:
    """A number that tells entries apart, the same in every process; ``term`` is that of the first who applied it."""
    data = entry.data if isinstance(entry.data, int) else 1
    return entry.position * 1_000_003 + (term if isinstance(term, int) else 0) * 7919 + data


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
