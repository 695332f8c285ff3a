"""A few naive nodes, and a network between them that delivers what the test says, in the order that it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from foreshock.targets.naive.node.common import NaiveKnobs, NaiveNode
from foreshock.targets.reference.node.configuration import NodeConfiguration, build_program
from foreshock.targets.reference.node.effects import Effects
from foreshock.targets.reference.node.machine import NodeKnobs
from foreshock.targets.reference.node.programs import load_program

MS = 1_000_000


class NoFiles:
    """A disk that nobody may touch: the naive nodes keep nothing."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a naive node touched its disk: {name}")


def no_bits(count: int) -> int:
    raise AssertionError("a naive node drew a random number")


class Network:
    """Nodes n1, n2, ... of one program. Messages wait until :meth:`deliver` or :meth:`run` lets them through."""

    def __init__(
        self,
        program: str,
        count: int = 3,
        *,
        node_class: type[NaiveNode] | None = None,
        requests_max: int = 100,
        patience_ms: int = 300,
    ) -> None:
        self.program = program
        self.names = [f"n{i + 1}" for i in range(count)]
        self.now_ns = 5 * MS
        self.waiting: list[tuple[str, str, Any]] = []
        """Messages under way: source, destination, the message as JSON."""
        self.cut: set[frozenset[str]] = set()
        self.logs: list[str] = []
        self._knobs = NaiveKnobs(patience_ms=patience_ms)
        self._node_knobs = NodeKnobs(requests_max=requests_max)
        self._kind = load_program(program)
        self._class = node_class
        self._replies: dict[int, dict[str, Any]] = {}
        self._connections = 0
        self.nodes: dict[str, Any] = {}
        for name in self.names:
            self.start(name)

    def start(self, name: str) -> None:
        """Start the node, or start it again after a kill, with nothing that it knew."""
        configuration = NodeConfiguration(
            name=name,
            members=tuple(self.names),
            program=self.program,
            program_knobs=self._knobs,
            knobs=self._node_knobs,
        )
        if self._class is not None:
            self.nodes[name] = self._class(configuration, no_bits)
        else:
            self.nodes[name] = build_program(configuration, NoFiles(), no_bits, self.now_ns)
        self.absorb(name, self.nodes[name].on_start(self.now_ns))

    def absorb(self, name: str, effects: Effects) -> None:
        assert not effects.sync_up_to
        assert not effects.close
        self.logs += effects.logs
        for peer, message in effects.send:
            self.waiting.append((name, peer, json.loads(json.dumps(self._kind.encode(message)))))
        for connection, reply in effects.replies:
            assert connection not in self._replies, "a request is answered once"
            self._replies[connection] = json.loads(json.dumps(reply))

    def ask(self, name: str, **body: Any) -> int:
        """A client's request; returns the connection on which the reply will come."""
        self._connections += 1
        message = {"src": "c", "dest": name, "body": {"msg_id": 7, **body}}
        self.absorb(name, self.nodes[name].on_request(self._connections, message, self.now_ns))
        return self._connections

    def raw(self, name: str, message: Any) -> dict[str, Any] | None:
        """Any message at all, and the reply to it."""
        self._connections += 1
        self.absorb(name, self.nodes[name].on_request(self._connections, message, self.now_ns))
        return self.reply(self._connections)

    def reply(self, connection: int) -> dict[str, Any] | None:
        """The body of the reply, less the message's number; ``None`` when there is none yet."""
        if connection not in self._replies:
            return None
        body: dict[str, Any] = dict(self._replies[connection]["body"])
        body.pop("in_reply_to", None)
        return body

    def deliver(self, source: str, destination: str) -> None:
        """Let the oldest message from the one to the other through."""
        found = next(m for m in self.waiting if m[:2] == (source, destination))
        self.waiting.remove(found)
        decoded = self._kind.decode(found[2])
        self.absorb(destination, self.nodes[destination].on_peer(source, decoded, self.now_ns))

    def run(self) -> None:
        """Let all messages through, in order, until there are none; those over a cut link are lost."""
        while self.waiting:
            source, destination, _ = self.waiting[0]
            if frozenset((source, destination)) in self.cut:
                self.waiting.pop(0)
            else:
                self.deliver(source, destination)

    def isolate(self, *names: str) -> None:
        """Cut the nodes off from all others."""
        rest = [name for name in self.names if name not in names]
        self.cut |= {frozenset((one, other)) for one in names for other in rest}

    def pass_ms(self, ms: int) -> None:
        """Time passes, and every node whose time has come is told."""
        self.now_ns += ms * MS
        for name, node in self.nodes.items():
            if node.deadline_ns <= self.now_ns:
                self.absorb(name, node.on_tick(self.now_ns))

    def done(self, name: str, **body: Any) -> dict[str, Any]:
        """A request, everything that it leads to, and the reply; patience is had where it is needed."""
        connection = self.ask(name, **body)
        for _ in range(4):
            self.run()
            found = self.reply(connection)
            if found is not None:
                return found
            self.pass_ms(300)
        raise AssertionError("no reply came")

    def questions(self) -> Iterator[tuple[str, str, str]]:
        """The questions under way: source, destination and type."""
        for source, destination, message in self.waiting:
            if "question" in message:
                yield source, destination, message["question"]["type"]
