"""A tiny deterministic world for Raft replicas: messages, disks, crashes, partitions, and the invariants.

Nothing here is the project's simulator: it is less, and so it can be trusted more. A :class:`World` holds replicas
under test; a test moves it by hand (``deliver``, ``sync``, ``pass_time``, ``crash``, ...), or lets a :class:`Chaos`
move it at random from a seed. After every step of every replica the properties of figure 3 of the extended paper
are checked, as far as that step can have broken them.
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
        """Have this node elected by whoever hears it; the leader's lease with the others runs out first."""
        self.now += self.knobs.election_timeout_max_ms * MS
        self.tick(name)
        self.deliver_all()
        require(self.raft(name).leading, f"{name} was not elected")

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


class Chaos:
    """Moves a world at random: each step is one of what may happen to a distributed system."""

    def __init__(self, world: World, seed: int, *, membership: bool = True, crashes: bool = True) -> None:
        self.world = world
        self.rng = RandomStream(seed, "chaos")
        self.membership = membership
        self.crashes = crashes
        world.sync_at_once = False

    def run(self, steps: int) -> None:
        """So many random steps."""
        for _ in range(steps):
            self.move()

    def move(self) -> None:
        """One random step."""
        world, rng = self.world, self.rng
        draw = rng.below(1000)
        if draw < 580 and world.wire:
            self.deliver()
        elif draw < 780:
            self.sync()
        elif draw < 850:
            self.pass_time()
        elif draw < 940:
            self.ask(world.propose)
        elif draw < 970:
            self.ask(world.read)
        elif draw < 980:
            world.compact(self.some_running())
        elif draw < 986 and self.crashes:
            self.crash_or_start()
        elif draw < 992:
            self.cut_or_heal()
        elif draw < 996 and self.membership:
            self.change_members()
        elif draw < 998 and self.membership:
            self.ask(world.transfer)

    def ask(self, request: Callable[[str], int]) -> None:
        """A client's request at a node that believes that it leads."""
        leader = self.some_leader()
        if leader is not None:
            request(leader)

    def deliver(self) -> None:
        """Mostly the oldest message; sometimes any, lost, or twice."""
        world, rng = self.world, self.rng
        at = 0 if rng.chance(3, 4) else rng.below(len(world.wire))
        draw = rng.below(40)
        if draw == 0 or len(world.wire) > 400:
            world.wire.pop(at)
        else:
            world.deliver(at, again=draw == 1)

    def sync(self) -> None:
        """A node's disk finishes some of its writes."""
        waiting = [node for node in self.world.nodes.values() if node.unsynced and node.raft is not None]
        if waiting:
            node = self.rng.choice(waiting)
            part = self.rng.chance(1, 4)
            self.world.sync(node.name, 1 + self.rng.below(len(node.unsynced)) if part else None)

    def pass_time(self) -> None:
        """Some milliseconds; whoever's deadline has come acts."""
        world = self.world
        world.now += self.rng.below(20 * MS) if self.rng.chance(19, 20) else self.rng.below(250 * MS)
        for node in world.nodes.values():
            if node.raft is not None:
                world.step(node.name, Tick())

    def some_running(self) -> str:
        """A running node; at least one always runs."""
        return self.rng.choice([n.name for n in self.world.nodes.values() if n.raft is not None])

    def some_leader(self) -> str | None:
        """A node that believes that it leads, if there is one."""
        leaders = [n.name for n in self.world.nodes.values() if n.raft is not None and n.raft.leading]
        return self.rng.choice(leaders) if leaders else None

    def crash_or_start(self) -> None:
        """A node crashes, with loss of some of what it had not synced, or comes back; sometimes all crash."""
        world, rng = self.world, self.rng
        down = [n.name for n in world.nodes.values() if n.raft is None]
        if down and rng.chance(2, 3):
            world.start(rng.choice(down))
        elif rng.chance(1, 8):
            for node in world.nodes.values():
                if node.raft is not None:
                    world.crash(node.name, rng.below(len(node.unsynced) + 1))
            world.start(rng.choice(list(world.nodes)))
        elif len(down) + 1 < len(world.nodes):
            name = self.some_running()
            world.crash(name, rng.below(len(world.nodes[name].unsynced) + 1))

    def cut_or_heal(self) -> None:
        """A partition of a random shape, one-way links among them, or the end of one."""
        world, rng = self.world, self.rng
        if world.cut and rng.chance(1, 2):
            world.heal()
        elif rng.chance(1, 3):
            names = list(world.nodes)
            world.cut.add((rng.choice(names), rng.choice(names)))
        else:
            names = list(world.nodes)
            world.isolate(*rng.sample(names, 1 + rng.below(max(1, len(names) // 2))))

    def change_members(self) -> None:
        """Add a node that is none yet, or remove one."""
        world, rng = self.world, self.rng
        leader = self.some_leader()
        if leader is None:
            return
        members = world.raft(leader).members
        name = rng.choice(list(world.nodes))
        if name not in members:
            world.change(leader, add=name)
        elif len(members) > 2:
            world.change(leader, remove=name)

    def calm(self, milliseconds: int = 1500) -> None:
        """Heal everything, start everybody, and let the world go on undisturbed."""
        world = self.world
        world.heal()
        world.sync_at_once = True
        for node in world.nodes.values():
            if node.raft is None:
                world.start(node.name)
            world.sync(node.name)
        world.deliver_all()
        world.pass_time(milliseconds)
