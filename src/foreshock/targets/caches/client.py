"""The clients of a distributed cache: which nodes they ask, and how they end an operation honestly.

A key's copies are with the nodes that the ring names for it, and with no other: a client that finds none of them at
work goes to the origin itself. So the loss of a node costs hits, and no node ever holds a copy that a writer would
not think of.

Reads may be asked again. A write is sent once: when it is not answered, nobody knows (``Indefinite``); when it
was certainly never sent, or refused before it did anything, it may be tried elsewhere.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections import OrderedDict
from typing import Any, ClassVar, Final

import msgspec

from foreshock.harness.errors import Definite, Indefinite, OperationError
from foreshock.harness.runtime import (
    Connection,
    ConnectionClosed,
    ConnectionRefused,
    Message,
    TimeoutExpired,
)
from foreshock.harness.services import Key, Value
from foreshock.harness.target import ClientContext
from foreshock.targets.caches.figures import CacheFigures
from foreshock.targets.caches.ring import RingSource
from foreshock.targets.reference.node import codes

Body = dict[str, Any]

_MS: Final = 1_000_000
_SEEN_MAX: Final = 1_024
_SKIP_NS: Final = 500_000_000
"""For how long a client does not ask a node again that did not answer."""


_RING_NS: Final = 500_000_000
"""How long a client goes on by the ring that it knows: for so long two clients may send a key to different nodes."""


class ClientSettings(msgspec.Struct, frozen=True):
    """How a client behaves. Times are in ms."""

    origin: str
    replicas: int = 1
    """How many nodes may hold a copy of a key."""
    attempt_timeout_ms: int = 500
    """How long a node of the cache gets to answer."""
    retry_ms: int = 20
    """The pause before the origin is asked again."""


class NotSent(OperationError):
    """The request was certainly never sent, or refused before it did anything."""


class NoAnswer(OperationError):
    """The request may have been carried out, or may be yet."""


class CacheNodeClient:
    """What all clients of a cache have in common: a connection to each node that they have to do with."""

    service: ClassVar[str] = "cache"

    def __init__(
        self, context: ClientContext, settings: ClientSettings, rings: RingSource, figures: CacheFigures
    ) -> None:
        self.context = context
        self.settings = settings
        self.figures = figures
        self.attempts = 0
        """How many requests the last operation took so far, but for fills and invalidations."""
        self._rings = rings
        self._ring = rings.ring
        self._ring_until_ns = 0
        self._runtime = context.runtime
        self._nodes = {node.name: node for node in context.nodes}
        self._connections: dict[str, Connection] = {}
        self._skipped_until_ns: dict[str, int] = {}
        self._messages = 0

    async def open(self) -> None:
        """Nothing yet: the client connects with its first requests."""

    async def close(self) -> None:
        """Drop all connections."""
        for name in list(self._connections):
            self._disconnect(name)

    @abstractmethod
    async def get(self, key: Key) -> Value | None:
        """The value of the key as the cache sees it, ``None`` when it is absent."""

    async def put(self, key: Key, value: Value) -> None:
        """Set the key to a value."""
        await self._write(key, {"type": "put", "key": key, "value": value})

    async def delete(self, key: Key) -> None:
        """Remove the key."""
        await self._write(key, {"type": "delete", "key": key})

    @abstractmethod
    async def _write(self, key: Key, body: Body) -> None:
        """Have a put or a delete carried out."""

    def deadline_ns(self) -> int:
        """When an operation that starts now is to end: a little before the interpreter would end it."""
        timeout_ms = self.context.timeout_ms
        return self._runtime.now() + (timeout_ms - min(timeout_ms // 10, 200)) * _MS

    def owners(self, key: Key) -> list[str]:
        """The nodes that may hold a copy of the key; each process begins with one of its own choice."""
        now_ns = self._runtime.now()
        if now_ns >= self._ring_until_ns:
            self._ring, self._ring_until_ns = self._rings.ring, now_ns + _RING_NS
        owners = self._ring.owners(key, self.settings.replicas)
        first = self.context.process % len(owners) if owners else 0
        return owners[first:] + owners[:first]

    def at_work(self, names: list[str]) -> list[str]:
        """Those of the nodes that have not failed to answer a moment ago."""
        now_ns = self._runtime.now()
        return [name for name in names if self._skipped_until_ns.get(name, 0) <= now_ns]

    def skip(self, name: str) -> None:
        """Do not ask the node again for a moment."""
        self._skipped_until_ns[name] = self._runtime.now() + _SKIP_NS

    # --- the origin ---------------------------------------------------------------------------------------------

    async def read_origin(
        self, key: Key, deadline_ns: int, version: int | None = None, *, lease_for: str | None = None
    ) -> Body:
        """Read the row of a key, again and again until the deadline; raises ``Definite``: a read changes nothing.

        ``version`` is that of a copy at hand, ``lease_for`` a store that wants to keep what is read.
        """
        body: Body = {"type": "read", "key": key}
        if lease_for is not None:
            body["lease_for"] = lease_for
        if version is not None:
            body["version"] = version
        problem = "there was no time to ask the origin"
        while deadline_ns > self._runtime.now():
            try:
                return await self.ask(self.settings.origin, body, deadline_ns)
            except (NotSent, NoAnswer) as error:
                problem = str(error)
            await self._pause(deadline_ns)
        raise Definite(problem)

    async def write_origin(self, body: Body, deadline_ns: int) -> Body:
        """Have the origin carry out a write, once; raises ``Definite`` or ``Indefinite``."""
        problem = "there was no time to ask the origin"
        while deadline_ns > self._runtime.now():
            try:
                return await self.ask(
                    self.settings.origin, body, deadline_ns, patience_ms=self.context.timeout_ms
                )
            except NotSent as error:
                problem = str(error)
            except NoAnswer as error:
                raise Indefinite(str(error)) from None
            await self._pause(deadline_ns)
        raise Definite(problem)

    async def _pause(self, deadline_ns: int) -> None:
        left_ns = max(deadline_ns - self._runtime.now(), 0)
        await self._runtime.sleep(min(self.settings.retry_ms * _MS, left_ns))

    # --- requests -----------------------------------------------------------------------------------------------

    async def ask(self, name: str, body: Body, deadline_ns: int, *, patience_ms: int | None = None) -> Body:
        """One request to one node. Raises :class:`NotSent` or :class:`NoAnswer`, or ``Definite`` for nonsense."""
        timeout_ms = self.settings.attempt_timeout_ms if patience_ms is None else patience_ms
        sent = False
        try:
            left_ns = max(deadline_ns - self._runtime.now(), 1)
            connection = await self._runtime.timeout(
                self._connect(name), min(left_ns, self.settings.attempt_timeout_ms * _MS)
            )
            self.attempts += 1
            sent = True
            left_ns = max(deadline_ns - self._runtime.now(), 1)
            reply = await self._runtime.timeout(
                self._exchange(name, connection, body), min(left_ns, timeout_ms * _MS)
            )
        except (ConnectionRefused, ConnectionClosed, TimeoutExpired) as problem:
            self._disconnect(name)
            self.skip(name)
            why = "no answer" if isinstance(problem, TimeoutExpired) else str(problem) or "connection lost"
            raise (NoAnswer if sent else NotSent)(f"{name}: {why}") from None
        if reply.get("type") != "error":
            return reply
        text = f"{name}: {reply.get('text')}"
        code = reply.get("code")
        if code == codes.TEMPORARILY_UNAVAILABLE:
            raise NotSent(text)
        if code in (codes.MALFORMED, codes.NOT_SUPPORTED):
            raise Definite(text)
        raise NoAnswer(text)

    async def _connect(self, name: str) -> Connection:
        connection = self._connections.get(name)
        if connection is None:
            connection = await self._runtime.connect(self._nodes[name].endpoint)
            self._connections[name] = connection
        return connection

    async def _exchange(self, name: str, connection: Connection, body: Body) -> Body:
        self._messages += 1
        number = self._messages
        message: Message = {"src": self.context.identity, "dest": name, "body": {**body, "msg_id": number}}
        await connection.send(message)
        while True:
            answer = (await connection.receive()).get("body")
            if isinstance(answer, dict) and answer.get("in_reply_to") in (None, number):
                return answer

    def _disconnect(self, name: str) -> None:
        connection = self._connections.pop(name, None)
        if connection is not None:
            connection.close()


class LookAsideClient(CacheNodeClient):
    """Looks into the cache itself and fills it: the modes ``aside`` and ``leases``."""

    async def get(self, key: Key) -> Value | None:
        """The value of the key, from a copy or, when there is none, from the origin, which becomes the copy."""
        self.attempts = 0
        deadline_ns = self.deadline_ns()
        for owner in self.at_work(self.owners(key)):
            try:
                found = await self.ask(owner, {"type": "lookup", "key": key}, deadline_ns)
            except (NotSent, NoAnswer):
                continue
            if found["hit"]:
                self.figures.note("hits", self._runtime.now())
                return found["value"]
            row = await self._read_anew(key, found, deadline_ns)
            self.figures.note("misses", self._runtime.now())
            await self._fill(owner, key, found["ticket"], row, deadline_ns)
            return row["value"]
        row = await self.read_origin(key, deadline_ns)
        self.figures.note("bypasses", self._runtime.now())
        return row["value"]

    async def _read_anew(self, key: Key, found: Body, deadline_ns: int) -> Body:
        """The origin's row; where a copy has run out that is still right, the value need not be sent."""
        row = await self.read_origin(key, deadline_ns, found.get("version"))
        return {**row, "value": found["value"]} if row.get("unchanged") else row

    async def _fill(self, owner: str, key: Key, ticket: Any, row: Body, deadline_ns: int) -> None:
        fill = {
            "type": "fill",
            "key": key,
            "ticket": ticket,
            "version": row["version"],
            "as_of": row["as_of"],
        }
        await self._tell(owner, {**fill, "value": row["value"]}, deadline_ns)

    async def _write(self, key: Key, body: Body) -> None:
        self.attempts = 0
        deadline_ns = self.deadline_ns()
        try:
            await self.write_origin(body, deadline_ns)
        except Indefinite:
            await self._invalidate(key, deadline_ns)
            raise
        await self._invalidate(key, deadline_ns)
        self.figures.note("writes", self._runtime.now())

    async def _invalidate(self, key: Key, deadline_ns: int) -> None:
        """Have every copy dropped, as far as nodes can be reached; else it lives until it runs out."""
        for owner in self.owners(key):
            await self._tell(owner, {"type": "invalidate", "key": key}, deadline_ns)

    async def _tell(self, name: str, body: Body, deadline_ns: int) -> None:
        """Ask for something that the operation does not depend on."""
        attempts = self.attempts
        with contextlib.suppress(OperationError):
            await self.ask(name, body, deadline_ns)
        self.attempts = attempts


class ReadThroughClient(CacheNodeClient):
    """Has the cache's nodes read for it: the modes ``write-through`` and ``linearizable``.

    It remembers of every key which change it has seen last, and wants values that are no older: so what one client
    reads never goes backwards, and it sees what it wrote itself (Terry et al., "Session Guarantees for Weakly
    Consistent Replicated Data", 1994).
    """

    writes_through: ClassVar[bool] = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._seen: OrderedDict[Key, int] = OrderedDict()
        self._forgotten = 0

    async def get(self, key: Key) -> Value | None:
        """The value of the key, from the first of its nodes that answers, else from the origin."""
        self.attempts = 0
        deadline_ns = self.deadline_ns()
        request = {"type": "get", "key": key, "need": self.needed(key)}
        for owner in self.at_work(self.owners(key)):
            try:
                found = await self.ask(owner, request, deadline_ns)
            except (NotSent, NoAnswer):
                continue
            self.figures.note("hits" if found["hit"] else "misses", self._runtime.now())
            self.see(key, found["version"])
            return found["value"]
        row = await self.read_origin(key, deadline_ns)
        self.figures.note("bypasses", self._runtime.now())
        self.see(key, row["version"])
        return row["value"]

    async def _write(self, key: Key, body: Body) -> None:
        self.attempts = 0
        reply = await self._written(key, body, self.deadline_ns())
        self.figures.note("writes", self._runtime.now())
        self.see(key, reply["version"])

    async def _written(self, key: Key, body: Body, deadline_ns: int) -> Body:
        if self.writes_through:
            for owner in self.at_work(self.owners(key)):
                try:
                    return await self.ask(owner, body, deadline_ns, patience_ms=self.context.timeout_ms)
                except NotSent:
                    continue
                except NoAnswer as error:
                    raise Indefinite(str(error)) from None
        return await self.write_origin(body, deadline_ns)

    def needed(self, key: Key) -> int:
        """As of how many changes a value of the key must be at least."""
        return self._seen.get(key, self._forgotten)

    def see(self, key: Key, version: int) -> None:
        """Remember a version. What was forgotten for want of room counts for every key that is not remembered."""
        self._seen[key] = max(version, self._seen.get(key, 0))
        self._seen.move_to_end(key)
        if len(self._seen) > _SEEN_MAX:
            self._forgotten = max(self._forgotten, self._seen.popitem(last=False)[1])


class WriteThroughClient(ReadThroughClient):
    """Has the cache's nodes write for it, too."""

    writes_through: ClassVar[bool] = True
