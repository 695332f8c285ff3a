"""What every node that keeps copies has in common: the store, the clients' protocol, and its counts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.cache.knobs import NEVER_NS, CacheKnobs
from foreshock.targets.reference.node.cache.requests import Request, Status, parse_request
from foreshock.targets.reference.node.cache.store import CopyStore
from foreshock.targets.reference.node.codes import Body, error
from foreshock.targets.reference.node.effects import Effects
from foreshock.targets.reference.node.machine import NodeKnobs
from foreshock.targets.reference.node.requests import BadRequest
from foreshock.targets.reference.node.wire import Message, malformed, reply_to


class Asker(NamedTuple):
    """Whom to answer, and to which message."""

    connection: int
    message: Message


class CopyNode(ABC):
    """A node with copies, sans I/O (:class:`foreshock.targets.reference.node.program.NodeProgram`)."""

    def __init__(
        self,
        name: str,
        store: CopyStore,
        knobs: CacheKnobs,
        node_knobs: NodeKnobs,
        random_bits: Callable[[int], int],
    ) -> None:
        self.deadline_ns = NEVER_NS
        self.hits = self.misses = 0
        """How many reads were answered from a copy, and how many were not, since the start."""
        self.boot = random_bits(62)
        """The name of this life of the node: what an earlier one promised is not held against it."""
        self._name = name
        self._store = store
        self._knobs = knobs
        self._node_knobs = node_knobs
        self._sync = 0

    def on_start(self, now_ns: int) -> Effects:
        """Begin with whatever copies the store has."""
        effects = Effects()
        effects.logs.append(
            f"{self._name} keeps copies in its {self._knobs.store}: {len(self._store)} to begin with"
        )
        return self._finish(effects, now_ns)

    def on_tick(self, now_ns: int) -> Effects:
        """Give up what has taken too long, and say again what was not answered."""
        effects = Effects()
        self.pass_time(now_ns, effects)
        return self._finish(effects, now_ns)

    def on_synced(self, up_to: int, now_ns: int) -> Effects:
        """Copies have become durable."""
        if up_to == self._sync:
            self._store.synced()
        return self._finish(Effects(), now_ns)

    def on_peer(self, source: str, message: Any, now_ns: int) -> Effects:
        """The origin says something; other nodes have no business here."""
        effects = Effects()
        if source == self._knobs.origin:
            self.heed(message, now_ns, effects)
        return self._finish(effects, now_ns)

    def on_request(self, connection: int, message: Any, now_ns: int) -> Effects:
        """A client's request."""
        effects = Effects()
        body = message.get("body") if isinstance(message, dict) else None
        if not isinstance(body, dict):
            effects.replies.append(
                (connection, malformed(self._name, "a message needs a body that is an object"))
            )
            return effects
        asker = Asker(connection, message)
        try:
            request = parse_request(body)
        except BadRequest as problem:
            self.reply(asker, error(problem.code, str(problem)), effects)
            return effects
        if isinstance(request, Status):
            self.reply(asker, self._status(), effects)
        elif self.waiting() >= self._node_knobs.requests_max:
            self.reply(asker, error(codes.TEMPORARILY_UNAVAILABLE, "the node has too much to do"), effects)
        elif not self.serve(request, asker, now_ns, effects):
            text = f"a node with copies has no {body['type']} in mode {self._knobs.mode}"
            self.reply(asker, error(codes.NOT_SUPPORTED, text), effects)
        return self._finish(effects, now_ns)

    @abstractmethod
    def on_close(self, connection: int, now_ns: int) -> Effects:
        """A client is gone, and waits no longer."""

    @abstractmethod
    def serve(self, request: Request, asker: Asker, now_ns: int, effects: Effects) -> bool:
        """Answer a request, now or later; false when this kind of node has no such thing."""

    @abstractmethod
    def heed(self, message: Any, now_ns: int, effects: Effects) -> None:
        """A message of the origin arrived."""

    @abstractmethod
    def pass_time(self, now_ns: int, effects: Effects) -> None:
        """Do what is due."""

    @abstractmethod
    def waiting(self) -> int:
        """How many requests wait for an answer."""

    @abstractmethod
    def next_ns(self) -> int:
        """When something is due."""

    def reply(self, asker: Asker, body: Body, effects: Effects) -> None:
        """Answer a client."""
        effects.replies.append((asker.connection, reply_to(asker.message, self._name, body)))

    def _finish(self, effects: Effects, now_ns: int) -> Effects:  # noqa: ARG002
        if self._store.wants_sync():
            self._sync += 1
            effects.sync_up_to = self._sync
        self.deadline_ns = self.next_ns()
        return effects

    def _status(self) -> Body:
        return {
            "type": "status_ok",
            "name": self._name,
            "leading": False,
            "role": "copies",
            "mode": self._knobs.mode,
            "serving": True,
            "copies": len(self._store),
            "hits": self.hits,
            "misses": self.misses,
            "waiting": self.waiting(),
        }
