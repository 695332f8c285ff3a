"""Redlock: a lock on a majority of independent Redis servers, as the Redis documentation describes the algorithm.

To acquire, a client notes the time, asks every server for the key with the same random owner and a short time-out, and
holds the lock if a majority granted it and less time has passed than the time to live less a margin for clock drift.
If not, it removes its key everywhere and tries again after a random pause. Releasing removes the key on every server,
also where the client believes that it was not granted.

What it needs: clocks of servers that neither jump nor run ahead of the client's by more than the margin, servers that
remember what they granted (synced before the answer, or kept away after a crash for longer than any time to live:
``restart_delay_ms``), and users who stop in time, for the algorithm has no fencing token: nothing in it counts grants
in their order, and counters on the servers would not do (Kleppmann, "How to do distributed locking", 2016).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, ClassVar, Final

from msgspec import Meta
from msgspec.structs import replace

from foreshock.harness.errors import Definite, Indefinite
from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.services import Client, Key
from foreshock.harness.target import ClientContext
from foreshock.targets.locks.redis_client import MS, PollingLockClient, Won
from foreshock.targets.locks.redis_findings import REDLOCK_EXHIBITS, REDLOCK_PROMISES
from foreshock.targets.locks.redis_lock import lock_name
from foreshock.targets.locks.redis_options import RedisLockOptionsBase
from foreshock.targets.locks.redis_scripts import ACQUIRE_WITH_TOKEN, LOCK_SCRIPTS, RELEASE, RENEW
from foreshock.targets.redis.connection import RedisConnection, Reply
from foreshock.targets.redis.scripts import Script
from foreshock.targets.redis.server_target import RedisTarget
from foreshock.targets.redis.simulated_server import ServerSettings

_PERMILLE: Final = 1_000
_DRIFT_MS: Final = 2
"""What the documentation's reference implementation adds to the drift, for the milliseconds in which Redis expires."""

Ask = Callable[[RedisConnection, int], Awaitable[Reply]]
"""Ask one server within so many ms."""


class RedlockOptions(RedisLockOptionsBase, frozen=True, kw_only=True):
    """Options of the lock on a majority of servers."""

    server_timeout_ms: Annotated[
        int,
        Meta(
            description="how long one server may take to answer (ms); to be small beside the time to live",
            ge=1,
            le=60_000,
        ),
    ] = 250
    drift_permille: Annotated[
        int,
        Meta(
            description="how much of the time to live is given up for the drift of clocks, in thousandths",
            ge=0,
            le=500,
        ),
    ] = 10
    restart_delay_ms: Annotated[
        int,
        Meta(
            description="how long a server that crashed stays away when it is started again (ms); as long as the time "
            "to live, it makes up for a server that forgets",
            ge=0,
            le=600_000,
        ),
    ] = 0
    counters: Annotated[
        bool,
        Meta(
            description="whether servers count their grants and the highest count of a majority passes for a fencing "
            "token; it is none, since it need not grow: this is here to show that"
        ),
    ] = False


class RedlockClient(PollingLockClient):
    """Locks on a majority of the servers, which are asked all at once."""

    def __init__(self, context: ClientContext, options: RedlockOptions) -> None:
        super().__init__(context, options)
        self.redlock_options = options
        self.quorum = len(context.nodes) // 2 + 1
        self._servers = self._connections()
        self._background = self._connections()

    @property
    def drift_ms(self) -> int:
        """What a grant is shorter than its time to live, for clocks that do not run alike."""
        options = self.redlock_options
        return -(-options.ttl_ms * options.drift_permille // _PERMILLE) + _DRIFT_MS

    async def open(self) -> None:
        """Nothing yet: the client connects with its first commands."""

    async def try_once(self, key: Key, owner: str, timeout_ms: int) -> Won | None:
        """Ask every server; without a majority, or too late, give everything back and report failure."""
        ttl_ms = self.options.ttl_ms
        started_ns = self.runtime.now()
        name = lock_name(key)

        async def ask(redis: RedisConnection, bound_ms: int) -> Reply:
            if not self.redlock_options.counters:
                return await redis.execute("SET", name, owner, "NX", "PX", ttl_ms, timeout_ms=bound_ms)
            keys = [name, f"{name}:token"]
            return await redis.run_script(ACQUIRE_WITH_TOKEN, keys, [owner, ttl_ms], timeout_ms=bound_ms)

        answers = await self._ask_all(self._servers, ask, timeout_ms)
        granted = [answer for answer in answers if answer is not None and not isinstance(answer, Exception)]
        token = max((answer for answer in granted if isinstance(answer, int)), default=None)
        won = Won(token, valid_ms=max(ttl_ms - self.drift_ms, 0))
        if len(granted) >= self.quorum and not self.is_late(won, started_ns):
            return won
        await self._remove_everywhere(key, owner, timeout_ms)
        return None

    async def renew_once(self, key: Key, owner: str, timeout_ms: int) -> int:
        """Extend the lock on every server where it is ours; it goes on if a majority did so in time."""
        return await self._extend(self._servers, key, owner, timeout_ms)

    async def renew_in_background(self, key: Key, owner: str) -> bool:
        """As :meth:`renew_once`, beside the client's other commands."""
        return bool(await self._extend(self._background, key, owner, self.redlock_options.server_timeout_ms))

    async def release_once(self, key: Key, owner: str, timeout_ms: int) -> bool:
        """Remove our key everywhere; ``Indefinite`` while a majority may still have it."""
        answers = await self._remove_everywhere(key, owner, timeout_ms)
        unknown = [answer for answer in answers if isinstance(answer, Exception)]
        if len(unknown) < self.quorum:
            return any(answer == 1 for answer in answers if not isinstance(answer, Exception))
        text = f"{len(unknown)} of {len(answers)} servers did not answer to the release: {unknown[0]}"
        if all(isinstance(answer, Definite) for answer in answers):
            raise Definite(text)
        raise Indefinite(text)

    async def disconnect(self) -> None:
        """Drop every connection."""
        for connection in (*self._servers, *self._background):
            await connection.close()

    # --- within -------------------------------------------------------------------------------------------------

    def _connections(self) -> tuple[RedisConnection, ...]:
        timeout_ms = self.redlock_options.server_timeout_ms
        return tuple(RedisConnection(self.runtime, node.endpoint, timeout_ms) for node in self.context.nodes)

    async def _extend(
        self, connections: tuple[RedisConnection, ...], key: Key, owner: str, timeout_ms: int
    ) -> int:
        started_ns = self.runtime.now()
        ttl_ms = self.options.ttl_ms
        answers = await self._ask_all(
            connections,
            lambda redis, bound_ms: redis.run_script(
                RENEW, [lock_name(key)], [owner, ttl_ms], timeout_ms=bound_ms
            ),
            timeout_ms,
        )
        extended = sum(answer == 1 for answer in answers if not isinstance(answer, Exception))
        unknown = sum(isinstance(answer, Indefinite) for answer in answers)
        valid_ms = ttl_ms - self.drift_ms
        if extended >= self.quorum and self.runtime.now() - started_ns < valid_ms * MS:
            return valid_ms
        if extended + unknown >= self.quorum:
            raise Indefinite(f"only {extended} of {len(answers)} servers are known to have extended the lock")
        return 0

    async def _remove_everywhere(
        self, key: Key, owner: str, timeout_ms: int
    ) -> list[Reply | Definite | Indefinite]:
        return await self._ask_all(
            self._servers,
            lambda redis, bound_ms: redis.run_script(RELEASE, [lock_name(key)], [owner], timeout_ms=bound_ms),
            timeout_ms,
        )

    async def _ask_all(
        self, connections: tuple[RedisConnection, ...], ask: Ask, timeout_ms: int
    ) -> list[Reply | Definite | Indefinite]:
        """Every server's answer, or why there is none, all asked at once and each bounded by its time-out."""
        bound_ms = min(timeout_ms, self.redlock_options.server_timeout_ms)
        tasks = [
            self.runtime.spawn(_answer(ask, connection, bound_ms), name=f"redlock of {self.context.identity}")
            for connection in connections
        ]
        return [await task.wait() for task in tasks]


async def _answer(ask: Ask, connection: RedisConnection, bound_ms: int) -> Reply | Definite | Indefinite:
    try:
        return await ask(connection, bound_ms)
    except (Definite, Indefinite) as problem:
        return problem


class Redlock(RedisTarget[RedlockOptions]):
    """Five redis-servers that know nothing of each other, and clients that ask for a majority of them."""

    Options = RedlockOptions
    default_nodes: ClassVar[int] = 5
    services: ClassVar[Mapping[str, type[Any]]] = {"lock": RedlockClient}
    scripts: ClassVar[tuple[Script, ...]] = LOCK_SCRIPTS
    promises: ClassVar[tuple[Promise, ...]] = REDLOCK_PROMISES
    exhibits: ClassVar[tuple[Exhibit, ...]] = REDLOCK_EXHIBITS

    @property
    def settings(self) -> ServerSettings:
        """How the servers are run."""
        return replace(super().settings, restart_delay_ms=self.options.restart_delay_ms)

    def client(self, service: str, context: ClientContext) -> Client:
        """A client of all five."""
        client: Client = self.services[service](context, self.options)
        return client
