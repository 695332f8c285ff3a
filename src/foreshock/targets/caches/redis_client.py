"""The clients of the Redis cache: the servers know nothing of an origin, so that all of it is up to the clients.

In the modes ``aside`` and ``leases`` a client looks up, fills and invalidates. In ``write-through`` it sets the new
value after a write, where the server has no later one, and takes no copy that is older than what it has seen itself.
In ``linearizable`` it fetches read leases from the origin on the server's behalf: a copy lives for the term of its
lease, and as nobody can take it back, a write waits for that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from foreshock.harness.cluster import Node
from foreshock.harness.errors import Indefinite, OperationError
from foreshock.harness.services import Key, Value
from foreshock.targets.caches.client import Body, CacheNodeClient, ReadThroughClient
from foreshock.targets.caches.redis_scripts import FILL_IN, HIT, LOOK_UP, WAIT
from foreshock.targets.redis.connection import RedisConnection

_POLL_NS: Final = 20_000_000
_encode = json.JSONEncoder(separators=(",", ":")).encode


class RedisSettings(msgspec.Struct, frozen=True):
    """What the clients of a Redis cache do beside asking. Times are in ms."""

    ttl_ms: int
    negative_ttl_ms: int
    fill_wait_ms: int
    patience_ms: int
    """How long a ticket lives: how long a client may take to fill."""
    stampede_protection: bool
    voids_tickets: bool
    """Whether an invalidation makes tickets worth nothing, and a later ticket an earlier one: fill leases."""


class Copy(msgspec.Struct, frozen=True):
    """A copy as the server keeps it: ``version as_of value``, the value as JSON."""

    version: int
    as_of: int
    value: Value | None

    @classmethod
    def of(cls, text: str) -> Copy:
        """The copy in a server's text."""
        version, as_of, value = text.split(" ", 2)
        return cls(int(version), int(as_of), json.loads(value))

    def text(self) -> str:
        """The copy as text."""
        return f"{self.version} {self.as_of} {_encode(self.value)}"


class RedisCopies:
    """One process's way to the copies on the servers. What goes wrong there is an ``OperationError``."""

    def __init__(self, client: CacheNodeClient, settings: RedisSettings) -> None:
        self._client = client
        self._settings = settings
        self._runtime = client.context.runtime
        self._identity = client.context.identity
        self._nodes: Mapping[str, Node] = {node.name: node for node in client.context.nodes}
        self._connections: dict[str, RedisConnection] = {}
        self._tokens = 0

    async def close(self) -> None:
        """Drop all connections."""
        for connection in self._connections.values():
            await connection.close()

    def token(self) -> str:
        """A token that nobody else ever has."""
        self._tokens += 1
        return f"{self._identity}/{self._tokens}"

    async def look_up(self, server: str, key: Key, token: str) -> Copy | None:
        """The copy; ``None``: there is none, and the token may fill it, or another one's fill took too long."""
        settings = self._settings
        deadline_ns = self._runtime.now() + settings.fill_wait_ms * 1_000_000
        arguments: list[str | int | bytes] = [token, settings.fill_wait_ms, settings.patience_ms]
        while True:
            reply = await self._to(server).run_script(LOOK_UP, self._keys(key), arguments)
            if reply[0] == HIT:
                return Copy.of(reply[1])
            if reply[0] != WAIT or self._runtime.now() >= deadline_ns:
                return None
            await self._runtime.sleep(_POLL_NS)

    async def issue(self, server: str, key: Key, token: str) -> None:
        """A ticket for a copy that is to take the place of one that is there."""
        await self._to(server).execute("SET", self._keys(key)[2], token, "PX", self._settings.patience_ms)

    async def fill(self, server: str, key: Key, token: str, copy: Copy, term_ms: int | None) -> None:
        """Keep a copy for the term (0: for good), from the ticket on; ``None``: it must not be kept."""
        if term_ms is None:
            return
        arguments: list[str | int | bytes] = [token, term_ms, self._settings.patience_ms]
        arguments += [copy.version, copy.text()]
        await self._to(server).run_script(FILL_IN, self._keys(key), arguments)

    async def invalidate(self, server: str, key: Key) -> None:
        """Drop the copy, and with fill leases the ticket as well."""
        copy, filling, ticket = self._keys(key)
        doomed = [copy, filling, ticket] if self._settings.voids_tickets else [copy, filling]
        await self._to(server).execute("DEL", *doomed)

    def term_ms(self, value: Value | None) -> int | None:
        """How long a copy of the value lives; 0: for good, ``None``: not at all."""
        settings = self._settings
        if value is not None:
            return settings.ttl_ms
        if not settings.negative_ttl_ms:
            return None
        return min(settings.negative_ttl_ms, settings.ttl_ms or settings.negative_ttl_ms)

    def _keys(self, key: Key) -> list[str]:
        """The names of the copy, the filling and the ticket."""
        name = f"{type(key).__name__}/{key}"
        own = f"/{self._identity}"
        filling = f"filling/{name}" + ("" if self._settings.stampede_protection else own)
        return [f"copy/{name}", filling, f"ticket/{name}" + ("" if self._settings.voids_tickets else own)]

    def _to(self, server: str) -> RedisConnection:
        connection = self._connections.get(server)
        if connection is None:
            timeout_ms = self._client.settings.attempt_timeout_ms
            connection = RedisConnection(self._runtime, self._nodes[server].endpoint, timeout_ms)
            self._connections[server] = connection
        return connection


class RedisLookAsideClient(CacheNodeClient):
    """The modes ``aside`` and ``leases``."""

    def __init__(self, *arguments: Any, redis: RedisSettings) -> None:
        super().__init__(*arguments)
        self._copies = RedisCopies(self, redis)

    async def close(self) -> None:
        """Drop all connections."""
        await super().close()
        await self._copies.close()

    async def get(self, key: Key) -> Value | None:
        """The value of the key, from a copy or, when there is none, from the origin, which becomes the copy."""
        self.attempts = 0
        deadline_ns = self.deadline_ns()
        copies, token = self._copies, self._copies.token()
        for server in self.at_work(self.owners(key)):
            try:
                copy = await copies.look_up(server, key, token)
            except OperationError:
                self.skip(server)
                continue
            if copy is not None:
                self.figures.note("hits", self._runtime.now())
                return copy.value
            row = await self.read_origin(key, deadline_ns)
            self.figures.note("misses", self._runtime.now())
            await self._fill(server, key, token, row)
            return row["value"]
        row = await self.read_origin(key, deadline_ns)
        self.figures.note("bypasses", self._runtime.now())
        return row["value"]

    async def _fill(self, server: str, key: Key, token: str, row: Body) -> None:
        copy = Copy(row["version"], row["as_of"], row["value"])
        try:
            await self._copies.fill(server, key, token, copy, self._copies.term_ms(copy.value))
        except OperationError:
            self.skip(server)

    async def _write(self, key: Key, body: Body) -> None:
        self.attempts = 0
        deadline_ns = self.deadline_ns()
        try:
            await self.write_origin(body, deadline_ns)
        except Indefinite:
            await self._invalidate(key)
            raise
        await self._invalidate(key)
        self.figures.note("writes", self._runtime.now())

    async def _invalidate(self, key: Key) -> None:
        for server in self.owners(key):
            try:
                await self._copies.invalidate(server, key)
            except OperationError:
                self.skip(server)


class RedisVersionsClient(ReadThroughClient):
    """The modes ``write-through`` and ``linearizable``: copies are compared by version, or live under leases."""

    def __init__(self, *arguments: Any, redis: RedisSettings, leases: bool) -> None:
        super().__init__(*arguments)
        self._copies = RedisCopies(self, redis)
        self._leases = leases

    async def close(self) -> None:
        """Drop all connections."""
        await super().close()
        await self._copies.close()

    async def get(self, key: Key) -> Value | None:
        """The value of the key, from a copy that is no older than what this client has seen, else from the origin."""
        self.attempts = 0
        deadline_ns = self.deadline_ns()
        need = self.needed(key)
        copies, token = self._copies, self._copies.token()
        for server in self.at_work(self.owners(key)):
            try:
                copy = await copies.look_up(server, key, token)
                if copy is not None and copy.as_of >= need:
                    self.figures.note("hits", self._runtime.now())
                    self.see(key, copy.version)
                    return copy.value
                if copy is not None:
                    await copies.issue(server, key, token)
            except OperationError:
                self.skip(server)
                continue
            row = await self._read(server, key, deadline_ns)
            self.figures.note("misses", self._runtime.now())
            await self._keep(server, key, token, row)
            return row["value"]
        row = await self._read(None, key, deadline_ns)
        self.figures.note("bypasses", self._runtime.now())
        return row["value"]

    async def _read(self, server: str | None, key: Key, deadline_ns: int) -> Body:
        """The origin's row, with a lease for the server where this is what copies live under."""
        row = await self.read_origin(key, deadline_ns, lease_for=server if self._leases else None)
        self.see(key, row["version"])
        return row

    async def _keep(self, server: str, key: Key, token: str, row: Body) -> None:
        copy = Copy(row["version"], row["as_of"], row["value"])
        term_ms = row.get("term_ms", 0) or None if self._leases else self._copies.term_ms(copy.value)
        try:
            await self._copies.fill(server, key, token, copy, term_ms)
        except OperationError:
            self.skip(server)

    async def _written(self, key: Key, body: Body, deadline_ns: int) -> Body:
        """Write to the origin, and where copies have no leases, into the cache: its age counts from before that."""
        owners = [] if self._leases else self.at_work(self.owners(key))
        token = self._copies.token()
        ready = []
        for server in owners:
            try:
                await self._copies.issue(server, key, token)
                ready.append(server)
            except OperationError:
                self.skip(server)
        reply = await self.write_origin(body, deadline_ns)
        row = {"version": reply["version"], "as_of": reply["version"], "value": body.get("value")}
        for server in ready:
            await self._keep(server, key, token, row)
        return reply
