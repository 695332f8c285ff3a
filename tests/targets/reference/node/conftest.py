"""A few machines joined by hand: messages, syncs and time pass only when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.node.configuration import NodeConfiguration, build_program
from foreshock.targets.reference.node.effects import Effects
from foreshock.targets.reference.node.machine import NodeKnobs, NodeMachine
from foreshock.targets.reference.node.raft import RaftKnobs

MS = 1_000_000
QUICK = RaftKnobs(election_timeout_min_ms=100, election_timeout_max_ms=200, heartbeat_ms=20)


class MemoryFiles:
    """Files in memory; ``full`` makes the disk refuse."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.full = False

    def names(self) -> list[str]:
        return sorted(self.content)

    def read(self, name: str) -> bytes:
        return self.content[name]

    def append(self, name: str, data: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device", name)
        self.content[name] = self.content.get(name, b"") + data

    def truncate(self, name: str, length: int) -> None:
        self.content[name] = self.content[name][:length]

    def replace(self, name: str, data: bytes) -> None:
        self.content[name] = data

    def remove(self, name: str) -> None:
        self.content.pop(name, None)


class Cluster:
    """Machines by name. ``replies`` are the bodies that each connection got; ``cut`` nodes hear no peer."""

    def __init__(self, count: int, knobs: NodeKnobs, raft_knobs: RaftKnobs) -> None:
        self.names = tuple(f"n{i + 1}" for i in range(count))
        self.now_ns = 0
        self.knobs, self.raft_knobs = knobs, raft_knobs
        self.files = {name: MemoryFiles() for name in self.names}
        self.machines: dict[str, NodeMachine] = {}
        self.replies: dict[int, list[dict[str, Any]]] = {}
        self.cut: set[str] = set()
        self.logs: list[str] = []
        self._mail: list[tuple[str, str, Any]] = []
        self._unsynced: dict[str, int] = {}
        for name in self.names:
            self.start(name)

    def start(self, name: str) -> None:
        configuration = NodeConfiguration(name, self.names, "raft", self.raft_knobs, "test", self.knobs)
        bits = RandomStream(1, name).bits
        self.machines[name] = build_program(configuration, self.files[name], bits, self.now_ns)
        self._absorb(name, self.machines[name].on_start(self.now_ns))

    def request(self, name: str, connection: int = 1, /, **body: Any) -> None:
        """Hand a request to a node; its reply, if there is one yet, is in ``replies``."""
        self.send(name, connection, {"src": "c", "dest": name, "body": body})

    def send(self, name: str, connection: int, message: Any) -> None:
        self._absorb(name, self.machines[name].on_request(connection, message, self.now_ns))

    def ask(self, name: str, /, **body: Any) -> dict[str, Any]:
        """Hand a request to a node and let everything settle; returns the reply."""
        self.replies[1] = []
        self.request(name, 1, **body)
        self.settle()
        (reply,) = self.replies[1]
        return reply

    def settle(self) -> None:
        """Sync and deliver until nothing is under way. No time passes."""
        while self._mail or self._unsynced:
            for name, up_to in sorted(self._unsynced.items()):
                del self._unsynced[name]
                self._absorb(name, self.machines[name].on_synced(up_to, self.now_ns))
            mail, self._mail = self._mail, []
            for source, destination, message in mail:
                if destination in self.machines and not {source, destination} & self.cut:
                    self._absorb(
                        destination, self.machines[destination].on_peer(source, message, self.now_ns)
                    )

    def pass_ms(self, duration_ms: int) -> None:
        """Let time pass in small steps, everything settling in between."""
        for _ in range(duration_ms // 5):
            self.now_ns += 5 * MS
            for name, machine in self.machines.items():
                if self.now_ns >= machine.deadline_ns:
                    self._absorb(name, machine.on_tick(self.now_ns))
            self.settle()

    def lead(self) -> str:
        """Let time pass until one of the nodes that can hear their peers leads; returns its name."""
        for _ in range(400):
            leaders = [n for n, m in self.machines.items() if m.replica.leading and n not in self.cut]
            if leaders:
                self.pass_ms(50)
                return leaders[0]
            self.pass_ms(5)
        raise AssertionError("no leader was elected")

    def _absorb(self, name: str, effects: Effects) -> None:
        self.logs += effects.logs
        self._mail += [(name, peer, message) for peer, message in effects.send]
        for connection, reply in effects.replies:
            self.replies.setdefault(connection, []).append(reply["body"])
        if effects.sync_up_to:
            self._unsynced[name] = effects.sync_up_to


MakeCluster = Callable[..., Cluster]


@pytest.fixture
def make_cluster() -> MakeCluster:
    def make(count: int = 1, raft_knobs: RaftKnobs = QUICK, **knobs: int) -> Cluster:
        return Cluster(count, NodeKnobs(**knobs), raft_knobs)

    return make
