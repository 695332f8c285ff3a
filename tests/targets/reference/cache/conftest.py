"""A cache's nodes joined by hand: messages, syncs and time pass only when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.node.cache.knobs import CacheKnobs
from foreshock.targets.reference.node.configuration import NodeConfiguration, build_program
from foreshock.targets.reference.node.effects import Effects
from foreshock.targets.reference.node.machine import NodeKnobs
from foreshock.targets.reference.node.program import NodeProgram

MS = 1_000_000
NAMES = ("n1", "n2", "n3")


class MemoryFiles:
    """Files in memory, all of them durable at once."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def names(self) -> list[str]:
        return sorted(self.content)

    def read(self, name: str) -> bytes:
        if name not in self.content:
            raise FileNotFoundError(name)
        return self.content[name]

    def append(self, name: str, data: bytes) -> None:
        self.content[name] = self.content.get(name, b"") + data

    def truncate(self, name: str, length: int) -> None:
        self.content[name] = self.content[name][:length]

    def replace(self, name: str, data: bytes) -> None:
        self.content[name] = data

    def remove(self, name: str) -> None:
        self.content.pop(name, None)


class Nodes:
    """The origin n1 and two nodes with copies.

    ``cut`` are the nodes that exchange no messages; ``held`` keeps what is on its way while ``hold`` is true. The
    clock of node ``n`` runs at ``rates[n]`` percent of true time.
    """

    def __init__(self, mode: str, bug: type[Any] | None = None, **knobs: Any) -> None:
        self.knobs = CacheKnobs(mode=mode, database="log", **knobs).checked()
        self.bug = bug
        self.now_ns = 0
        self.rates = dict.fromkeys(NAMES, 100)
        self.files = {name: MemoryFiles() for name in NAMES}
        self.programs: dict[str, NodeProgram] = {}
        self.replies: dict[int, list[dict[str, Any]]] = {}
        self.cut: set[str] = set()
        self.hold = False
        self.held: list[tuple[str, str, Any]] = []
        self.logs: list[str] = []
        self._syncs: dict[str, int] = {}
        self._connections = 0
        self._lives = 0
        for name in NAMES:
            self.start(name)
        self.settle()

    def start(self, name: str) -> None:
        """Start a node, anew if it runs: it has its files and nothing else."""
        self._lives += 1
        configuration = NodeConfiguration(name, NAMES, "cache", self.knobs, "test", NodeKnobs())
        bits = RandomStream(self._lives, name).bits
        self._syncs.pop(name, None)
        program = build_program(configuration, self.files[name], bits, self.now(name), bug_class=self.bug)
        self.programs[name] = program
        self._absorb(name, program.on_start(self.now(name)))

    def now(self, name: str) -> int:
        """What the node's clock shows."""
        return self.now_ns * self.rates[name] // 100

    def send(self, name: str, /, **body: Any) -> int:
        """Hand a client's request to a node; returns the connection that the reply comes on."""
        self._connections += 1
        self.replies[self._connections] = []
        message = {"src": "c", "dest": name, "body": body}
        self._absorb(name, self.programs[name].on_request(self._connections, message, self.now(name)))
        return self._connections

    def ask(self, name: str, /, **body: Any) -> dict[str, Any]:
        """Hand over a request and let everything settle; the reply must be there then."""
        connection = self.send(name, **body)
        self.settle()
        return self.reply(connection)

    def reply(self, connection: int) -> dict[str, Any]:
        """The one reply on a connection."""
        (reply,) = self.replies[connection]
        return reply

    def waits(self, connection: int) -> bool:
        """Whether there is no reply yet."""
        return not self.replies[connection]

    def close(self, name: str, connection: int) -> None:
        """A client hangs up."""
        self._absorb(name, self.programs[name].on_close(connection, self.now(name)))

    def settle(self) -> None:
        """Sync and deliver until nothing moves any more; no time passes."""
        while self._syncs or (self.held and not self.hold):
            for name, up_to in sorted(self._syncs.items()):
                del self._syncs[name]
                self._absorb(name, self.programs[name].on_synced(up_to, self.now(name)))
            if not self.hold:
                self.deliver()

    def deliver(self) -> None:
        """Deliver what is on its way, in order, but for nodes that are cut off."""
        on_their_way, self.held = self.held, []
        for message in on_their_way:
            self.deliver_one(message)

    def deliver_one(self, message: tuple[str, str, Any]) -> None:
        source, destination, content = message
        if destination in self.programs and not {source, destination} & self.cut:
            program = self.programs[destination]
            self._absorb(destination, program.on_peer(source, content, self.now(destination)))

    def pass_ms(self, duration_ms: int) -> None:
        """Let time pass in small steps, everything settling in between."""
        for _ in range(duration_ms // 5):
            self.now_ns += 5 * MS
            for name in list(self.programs):
                if self.now(name) >= self.programs[name].deadline_ns:
                    self._absorb(name, self.programs[name].on_tick(self.now(name)))
            self.settle()

    def _absorb(self, name: str, effects: Effects) -> None:
        self.logs += effects.logs
        self.held += [(name, peer, message) for peer, message in effects.send]
        for connection, reply in effects.replies:
            self.replies.setdefault(connection, []).append(reply["body"])
        if effects.sync_up_to:
            self._syncs[name] = effects.sync_up_to


MakeNodes = Callable[..., Nodes]


@pytest.fixture
def make_nodes() -> MakeNodes:
    return Nodes


@pytest.fixture
def memory_files() -> type[MemoryFiles]:
    return MemoryFiles
