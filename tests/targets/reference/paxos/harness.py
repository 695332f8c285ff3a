"""Paxos's replicas in the common world, with the invariants of "Paxos Made Simple" beside the common ones."""

from __future__ import annotations

from typing import Any

from tests.targets.reference import worlds
from tests.targets.reference.worlds import MS, Broken, Node, require

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.node.consensus import Entry, Output, Record, Tick
from foreshock.targets.reference.node.paxos import Paxos, PaxosKnobs
from foreshock.targets.reference.node.paxos.messages import Accept, Accepted, Promise
from foreshock.targets.reference.node.paxos.synod import NO_BALLOT, Ballot

__all__ = ["MS", "QUICK", "Broken", "World", "knobs_of"]

QUICK = PaxosKnobs(election_timeout_min_ms=100, election_timeout_max_ms=200, heartbeat_ms=20, window_slots=16)


def knobs_of(seed: int) -> PaxosKnobs:
    """Knobs drawn so that rare paths are walked often."""
    rng = RandomStream(seed, "knobs")
    return PaxosKnobs(
        election_timeout_min_ms=100,
        election_timeout_max_ms=rng.choice([120, 200, 300]),
        heartbeat_ms=rng.choice([10, 20, 50]),
        canvass=rng.chance(4, 5),
        window_slots=rng.choice([1, 2, 5, 16, 100]),
        batch_slots_max=rng.choice([1, 2, 64]),
        batch_bytes_max=rng.choice([1, 100, 100_000]),
        inflight_accepts_max=rng.choice([1, 2, 8]),
        promise_slots_max=rng.choice([1, 3, 1024]),
        snapshot_keep_entries=rng.choice([0, 1, 5]),
        snapshot_chunk_bytes=rng.choice([7, 100_000]),
    )


class Disk:
    """What the records on a node's disk add up to."""

    def __init__(self) -> None:
        self.read = 0
        self.promised = NO_BALLOT
        self.accepted: dict[int, Ballot] = {}


class World(worlds.World):
    """Paxos replicas; after every step:

    * one value a ballot: nobody proposes two values in one slot under one ballot (ballots are unique);
    * promises are durable when they are told, never fall, and nothing is said to be accepted against one;
    * acceptances are durable when they are told;
    * agreement, by counting: what a majority of a slot's acceptors has durably accepted under one ballot is chosen;
      no two values are, and nothing else is ever applied there.
    """

    def __init__(
        self, count: int = 3, *, knobs: PaxosKnobs = QUICK, paxos: type[Paxos] = Paxos, **options: Any
    ) -> None:
        self.proposed: dict[tuple[int, Ballot], Any] = {}
        self.promises: dict[str, Ballot] = {}
        self.commits: dict[str, int] = {}
        self.disks: dict[str, Disk] = {}
        self.votes: dict[tuple[int, Ballot], set[str]] = {}
        self.chosen: dict[int, tuple[str, Any]] = {}
        self.configurations: list[tuple[int, tuple[str, ...]]] = [
            (1, tuple(f"n{i + 1}" for i in range(count)))
        ]
        super().__init__(paxos, knobs, count, **options)

    def start(self, name: str) -> None:
        """Start a node from what its disk holds; what it knows to be chosen begins anew."""
        self.commits[name] = 0
        super().start(name)

    def pass_heartbeat(self, name: str) -> None:
        """A leader's heartbeat is due; nobody else hears the time pass."""
        self.now += self.knobs.heartbeat_ms * MS
        self.step(name, Tick())

    def give_state(self, name: str, promised: Ballot, accepted: dict[int, tuple[int, Any]]) -> None:
        """Start a node anew from a disk with this promise, and a command accepted in each slot in a round of n9's."""
        rows = [[slot, [number, "n9"], "command", data] for slot, (number, data) in accepted.items()]
        state = {"promised": list(promised), "chosen": 0, "window": self.knobs.window_slots}
        node = self.nodes[name]
        node.disk = [Record(1, "state", state), *([Record(2, "accepted", rows)] if rows else [])]
        node.unsynced = []
        self.promises[name] = promised
        self.disks[name] = Disk()
        self.start(name)

    def paxos(self, name: str) -> Paxos:
        """The running replica of a node."""
        paxos: Paxos = self.replica(name)
        return paxos

    @staticmethod
    def term_of(replica: Any) -> Any:
        """The ballot that a replica leads with, or has promised."""
        return replica.ballot if replica.leading else replica.promised

    def disk(self, node: Node) -> Disk:
        """A node's disk as it is now; what is new there are votes."""
        disk = self.disks.setdefault(node.name, Disk())
        for record in node.disk[disk.read :]:
            if record.kind == "state":
                disk.promised = max(disk.promised, Ballot(*record.data["promised"]))
            elif record.kind == "accepted":
                for slot, (number, owner), kind, data in record.data:
                    disk.accepted[slot] = Ballot(number, owner)
                    self.vote(node.name, slot, Ballot(number, owner), (kind, data))
        disk.read = len(node.disk)
        return disk

    def vote(self, name: str, slot: int, ballot: Ballot, value: tuple[str, Any]) -> None:
        """An acceptance is durable; with a majority of them the value is chosen, for ever."""
        voters = self.votes.setdefault((slot, ballot), set())
        voters.add(name)
        acceptors = next(members for since, members in reversed(self.configurations) if since <= slot)
        if 2 * len(voters & set(acceptors)) > len(acceptors):
            known = self.chosen.setdefault(slot, value)
            require(known == value, f"both {known} and {value} are chosen in slot {slot}")

    # --- what must hold ---------------------------------------------------------------------------------------

    def check(self, node: Node, replica: Paxos, output: Output) -> None:
        """What the paper promises, then what every protocol owes."""
        name = node.name
        for _, message in output.send:
            if type(message) is Promise:
                self.check_promise(node, message)
            elif type(message) is Accepted:
                self.check_accepted(node, message)
            elif type(message) is Accept:
                self.check_proposals(name, message)
        require(replica.commit >= self.commits[name], f"what {name} knows to be chosen fell")
        self.commits[name] = replica.commit
        super().check(node, replica, output)
        require(node.applied == replica.applied == replica.commit, f"{name} did not apply all that is chosen")
        require(replica.dropped == 0, f"{name} dropped a message that its peers had a right to send")

    def check_committed(self, node: Node, entry: Entry, proposal: int | None) -> None:
        """Nothing is applied but what a majority of the slot's acceptors durably accepted under one ballot."""
        for other in self.nodes.values():
            self.disk(other)
        value = self.chosen.get(entry.position)
        same = value == (entry.kind, entry.data)
        require(same, f"{node.name} applies {entry}, and what is chosen there is {value}")
        super().check_committed(node, entry, proposal)
        since = entry.position + self.knobs.window_slots
        since_last, members = self.configurations[-1]
        is_one_change = entry.kind == "configuration" and len(set(members) ^ set(entry.data)) == 1
        if is_one_change and since_last < since:
            self.configurations.append((since, tuple(entry.data)))

    def check_proposals(self, name: str, message: Accept) -> None:
        """Under one ballot there is at most one proposal a slot."""
        for slot, value in enumerate(message.values, start=message.first):
            known = self.proposed.setdefault((slot, message.ballot), value)
            require(
                known == value, f"{name} proposes {value} and {known} in slot {slot} under {message.ballot}"
            )

    def check_promise(self, node: Node, message: Promise) -> None:
        """A promise is durable when it is told, and never below an earlier one."""
        name, ballot = node.name, message.ballot
        require(ballot >= self.promises.get(name, NO_BALLOT), f"{name} promises {ballot} after a greater one")
        self.promises[name] = ballot
        promised = self.disk(node).promised
        require(promised >= ballot, f"{name} tells of a promise of {ballot} that is not durable")

    def check_accepted(self, node: Node, message: Accepted) -> None:
        """What is told to be accepted is durable, was proposed, and breaks no promise.

        A slot that is known to be chosen may be told without a record of its own: the value is the same.
        """
        if message.last < message.first:
            return
        name, ballot = node.name, message.ballot
        promised = self.promises.get(name, NO_BALLOT)
        require(ballot >= promised, f"{name} accepts {ballot} after it promised {promised}")
        self.promises[name] = ballot
        durable = self.disk(node)
        for slot in range(message.first, message.last + 1):
            if slot > message.chosen:
                held = durable.accepted.get(slot)
                require(held is not None and held >= ballot, f"{name} lacks slot {slot} that it accepted")
