"""Zab's replicas in the common world, with what the paper promises beside what every protocol owes.

The properties are those of section 2.2 and 2.3 of Junqueira, Reed & Serafini, "Zab: High-performance broadcast for
primary-backup systems" (DSN 2011): total order and agreement (the common world has them), prefix order, local and
global primary order, primary integrity; and of the epochs: one established leader each, never going back, durable
before anybody is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from tests.targets.reference import worlds
from tests.targets.reference.worlds import MS, Broken, Node, require

from foreshock.targets.reference.node.consensus import Entry, Output, Record, Tick
from foreshock.targets.reference.node.zab import Zab, ZabKnobs
from foreshock.targets.reference.node.zab.messages import Ack, AckEpoch, AckLeader, Frame
from foreshock.targets.reference.node.zab.state import BROADCAST, LEADING

__all__ = ["MS", "QUICK", "Broken", "World"]

QUICK = ZabKnobs(
    heartbeat_ms=20,
    sync_limit_ms=100,
    init_limit_ms=200,
    notification_min_ms=20,
    notification_max_ms=80,
    finalize_ms=20,
    commit_delay_ms=0,
)


class Disk:
    """What a node would find after a crash: the two epochs, and its history as (base, epochs of the entries)."""

    def __init__(self) -> None:
        self.seen = 0
        self.accepted = self.current = 0
        self.base = 0
        self.base_term = 0
        self.terms: list[int] = []

    def read(self, records: list[Record]) -> None:
        """Take note of the records that were not there the last time."""
        for record in records[self.seen :]:
            data = record.data
            if record.kind == "state":
                self.accepted, self.current = data["accepted"], data["current"]
            elif record.kind == "entries":
                del self.terms[data[0][0] - self.base - 1 :]
                self.terms += [entry[1] for entry in data]
            elif record.kind == "truncate":
                del self.terms[data - self.base :]
            else:
                position, term = data[0], data[1]
                covered = position - self.base
                kept = 0 < covered <= len(self.terms) and self.terms[covered - 1] == term
                self.terms = self.terms[covered:] if kept else []
                self.base, self.base_term = position, term
        self.seen = len(records)

    @property
    def last(self) -> int:
        return self.base + len(self.terms)


class World(worlds.World):
    """Zab replicas, and what the paper promises of them."""

    entry_identity: ClassVar[Callable[[Entry], Any]] = staticmethod(lambda entry: entry)

    def __init__(
        self, count: int = 3, *, knobs: ZabKnobs = QUICK, zab: type[Zab] = Zab, **options: Any
    ) -> None:
        self.written: dict[tuple[int, int], tuple[Any, int]] = {}
        self.proposed: dict[tuple[int, int], Any] = {}
        self.commits: dict[str, int] = {}
        self.epochs: dict[str, tuple[int, int]] = {}
        self.disks: dict[str, Disk] = {}
        self.established: set[int] = set()
        super().__init__(zab, knobs, count, patience_ms=knobs.sync_limit_ms, **options)

    def start(self, name: str) -> None:
        """Start a node from what its disk holds; what it knows of commitment begins anew, its epochs do not."""
        self.commits[name] = 0
        disk = self.disks.setdefault(name, Disk())
        disk.read(self.nodes[name].disk)
        self.epochs[name] = (disk.accepted, disk.current)
        super().start(name)

    def give_log(self, name: str, terms: list[int], *, accepted: int, current: int) -> None:
        """Start a node anew from a disk that holds entries of these epochs, and its own two epochs."""
        entries = [Entry(i, entry, "command", i * 100 + entry) for i, entry in enumerate(terms, start=1)]
        state = Record(1, "state", {"accepted": accepted, "current": current})
        self.nodes[name].disk = [state, Record(2, "entries", entries)] if entries else [state]
        self.nodes[name].unsynced = []
        self.disks[name] = Disk()
        self.wire.clear()
        self.start(name)

    def zab(self, name: str) -> Zab:
        """The running replica of a node."""
        zab: Zab = self.replica(name)
        return zab

    def settle(self, milliseconds: int = 400) -> str:
        """Let things take their course until somebody leads; returns who."""
        for _ in range(milliseconds // 5):
            self.pass_time(5)
            leader = self.leader()
            if leader is not None:
                self.deliver_all()
                return leader
        raise Broken("nobody leads")

    def settle_among(self, *names: str) -> str:
        """Let time pass for these nodes alone until one of them leads; the transcript leaves that out."""
        trace, self.trace = self.trace, None
        for _ in range(200):
            self.now += 5 * MS
            for name in names:
                self.step(name, Tick())
            self.deliver_between(*names)
            for name in names:
                if self.zab(name).leading:
                    self.trace = trace
                    return name
        raise Broken(f"none of {names} leads")

    def pass_heartbeat(self, name: str) -> None:
        """A leader's heartbeat is due; nobody else hears the time pass."""
        self.now += self.knobs.heartbeat_ms * MS
        self.tick(name)

    def terms(self, name: str) -> list[int]:
        """The epochs of all entries in a node's log in memory."""
        log = self.zab(name).log
        return [log.term(position) for position in range(log.base + 1, log.last + 1)]

    @staticmethod
    def term_of(replica: Any) -> Any:
        """The epoch, without making a whole description for it."""
        return replica.epoch

    # --- what must hold ---------------------------------------------------------------------------------------

    def check(self, node: Node, replica: Zab, output: Output) -> None:
        """What the paper promises, and the promises of ``consensus.Replica``."""
        name = node.name
        for record in output.persist:
            if record.kind == "entries":
                self.check_order(name, replica, record.data)
        self.check_epochs(name, replica)
        require(replica.commit >= self.commits[name], f"the commit of {name} fell from {self.commits[name]}")
        self.commits[name] = replica.commit
        self.check_words(node, output)
        super().check(node, replica, output)
        require(
            node.applied == replica.applied == replica.commit, f"{name} did not apply all that is committed"
        )
        require(replica.dropped == 0, f"{name} dropped a message that its peers had a right to send")

    def check_epochs(self, name: str, replica: Zab) -> None:
        """The promise never goes back, nor does the epoch that a history stands for, and it is one promised."""
        accepted, current = self.epochs[name]
        require(replica.accepted >= accepted, f"{name} accepts epoch {replica.accepted} after {accepted}")
        require(replica.current >= current, f"{name} stands for epoch {replica.current} after {current}")
        require(replica.accepted >= replica.current, f"{name} stands for an epoch that it never accepted")
        self.epochs[name] = (replica.accepted, replica.current)

    def check_words(self, node: Node, output: Output) -> None:
        """What is said of epochs and history is on the disk by then."""
        disk = self.disks[node.name]
        for _, message in output.send:
            payload = message.payload if isinstance(message, Frame) else None
            if isinstance(payload, AckEpoch | AckLeader | Ack):
                disk.read(node.disk)
                said = f"{node.name} says {payload}, and its disk knows"
                require(disk.accepted >= payload.epoch, f"{said} epoch {disk.accepted}")
                if not isinstance(payload, AckEpoch):
                    require(disk.current == payload.epoch, f"{said} epoch {disk.current}")
                if isinstance(payload, Ack):
                    require(disk.last >= payload.position, f"{said} a history up to {disk.last}")
                if isinstance(payload, AckLeader):
                    last = disk.terms[-1] if disk.terms else disk.base_term
                    require(last <= payload.epoch, f"{said} entries of {last}")

    def led(self) -> int:
        """How many leaders established their epoch."""
        return len(self.established)

    def check_leader(self, name: str, replica: Any) -> None:
        """One established leader an epoch; it begins with everything that is committed anywhere, delivered."""
        if replica.epoch not in self.established:
            self.established.add(replica.epoch)
            require(replica.role is LEADING and replica.phase is BROADCAST, f"{name} leads nothing")
            log = replica.log
            for position, entry in self.committed.items():
                lacks = position > log.base and log.term(position) != entry.term
                require(not lacks, f"{name} leads epoch {replica.epoch} without the committed {entry}")
            require(
                replica.commit >= self.highest_commit,
                f"{name} begins to broadcast in {replica.epoch} before it delivered {self.highest_commit}",
            )
        super().check_leader(name, replica)

    def check_order(self, name: str, replica: Zab, entries: list[Entry]) -> None:
        """Equal zxids mean equal entries and equal predecessors: by induction, equal histories up to there.

        And nothing has an epoch that its primary did not give it, in the order in which it did.
        """
        before = replica.log.term(entries[0].position - 1)
        for entry in entries:
            known = self.written.setdefault((entry.position, entry.term), (entry.data, before))
            require(known == (entry.data, before), f"{name} writes {entry} after an entry of {before}")
            require(entry.term >= before, f"{name} writes {entry} after one of the later epoch {before}")
            if replica.role is LEADING:
                require(entry.term == replica.epoch, f"{name} proposes {entry} in epoch {replica.epoch}")
                self.proposed[entry.position, entry.term] = entry.data
            before = entry.term

    def check_committed(self, node: Node, entry: Entry, proposal: int | None) -> None:
        """Local and global primary order: as the primary proposed it, and epoch after epoch."""
        super().check_committed(node, entry, proposal)
        before = self.committed.get(entry.position - 1)
        if before is not None:
            require(
                before.term <= entry.term, f"{node.name} delivers {entry} after one of epoch {before.term}"
            )
        if self.proposed:
            said = self.proposed.get((entry.position, entry.term), entry.data)
            require(said == entry.data, f"{node.name} delivers {entry}, and its primary proposed {said}")
