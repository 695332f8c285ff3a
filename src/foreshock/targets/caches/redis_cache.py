"""The ``redis-cache`` target: copies on real ``redis-server`` nodes, shared by all clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from foreshock.harness.cluster import Endpoint, Node
from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.runtime import Runtime
from foreshock.harness.services import Client
from foreshock.harness.simulation.program import Machine, Program
from foreshock.harness.target import ClientContext
from foreshock.targets.caches.findings import STRICTLY, finding, no_stale_sets, promises_of, weaknesses
from foreshock.targets.caches.options import DEFAULTS, CacheOptions
from foreshock.targets.caches.redis_client import RedisLookAsideClient, RedisSettings, RedisVersionsClient
from foreshock.targets.caches.redis_scripts import CACHE_SCRIPTS
from foreshock.targets.caches.target import CacheTarget
from foreshock.targets.faults import KILLS
from foreshock.targets.redis.scripts import Script
from foreshock.targets.redis.server_target import BoundedRedisOptions, RedisTarget
from foreshock.targets.redis.simulated_server import Persistence
from foreshock.targets.reference.node.cache.knobs import LEASES, LINEARIZABLE, LOOK_ASIDE_MODES

_NAME: Final = "redis-cache"
_FAULTS: Final = ("partition", "packet", *KILLS, "pause", "power", "stall", "membership")
"""Not clock: a Redis server lets keys expire by its wall clock, and that may jump."""


class RedisCacheOptions(CacheOptions, frozen=True, kw_only=True):
    """Options of the ``redis-cache`` target."""

    persistence: Annotated[
        Persistence, Meta(description="what survives on a server: none, aof-everysec or aof-always")
    ] = "none"
    maxmemory_bytes: Annotated[
        int,
        Meta(
            description="the memory of each server, an empty one's included (about 1 MiB); past it the least "
            "recently used keys are evicted; 0: no limit",
            ge=0,
        ),
    ] = 0

    lease_ms: Annotated[
        int,
        Meta(
            description="the term of a read lease (ms): a write waits for it, as no server can be asked for a copy",
            ge=1,
            le=3_600_000,
        ),
    ] = 300
    clock_margin_percent: Annotated[
        int,
        Meta(
            description="how much longer than its term the origin honours a lease (percent)", ge=0, le=1_000
        ),
    ] = 20
    fill_wait_ms: Annotated[
        int,
        Meta(description="how long others wait for the client that fills a key (ms)", ge=1, le=60_000),
    ] = DEFAULTS.fill_wait_ms
    patience_ms: Annotated[
        int, Meta(description="how long a client may take to fill a key (ms)", ge=1, le=3_600_000)
    ] = 2_000


class RedisServers(RedisTarget[BoundedRedisOptions]):
    """The servers that the copies are on."""

    Options = BoundedRedisOptions
    scripts: ClassVar[tuple[Script, ...]] = CACHE_SCRIPTS


class RedisCache(CacheTarget[RedisCacheOptions]):
    """Copies on redis-server nodes, filled and dropped by the clients; the first node is the origin."""

    Options = RedisCacheOptions
    store: ClassVar[str] = "memory"
    packages: ClassVar[tuple[str, ...]] = RedisServers.packages
    binaries: ClassVar[tuple[str, ...]] = RedisServers.binaries
    promises: ClassVar[tuple[Promise, ...]] = (
        *promises_of(("aside", "leases", "write-through", "linearizable"), _FAULTS),
        no_stale_sets("leases", (*KILLS, "pause", "stall")),
    )
    exhibits: ClassVar[tuple[Exhibit, ...]] = (
        *weaknesses(_NAME),
        finding(
            f"{_NAME}/read-lease-on-a-wall-clock",
            _NAME,
            {"mode": "linearizable", "clock.kinds": "jump", "clock.targets": "majority", **STRICTLY},
            nemesis="clock",
            shows="a server's wall clock is set back, and a copy outlives the lease that the origin gave it",
        ),
    )

    def __init__(self, options: RedisCacheOptions, *, seed: int) -> None:
        super().__init__(options, seed=seed)
        servers = BoundedRedisOptions(
            persistence=options.persistence, maxmemory_bytes=options.maxmemory_bytes
        )
        self._servers = RedisServers(servers, seed=seed)

    def command(self, node: Node) -> Sequence[str]:
        """The origin's command, or a server's."""
        return super().command(node) if node.index == 0 else self._servers.command(node)

    def peers(self, node: Node) -> Mapping[str, Endpoint]:  # noqa: ARG002
        """None: the origin has nothing to say to servers."""
        return {}

    def simulate(self, node: Node, machine: Machine) -> Program | None:
        """The same node as a program of the simulator."""
        return super().simulate(node, machine) if node.index == 0 else self._servers.simulate(node, machine)

    async def ready(self, node: Node, runtime: Runtime) -> bool:
        """Whether the node serves."""
        if node.index == 0:
            return await super().ready(node, runtime)
        return await self._servers.ready(node, runtime)

    def client(self, service: str, context: ClientContext) -> Client:  # noqa: ARG002
        """A client of the mode."""
        options = self.options
        redis = RedisSettings(
            ttl_ms=options.ttl_ms,
            negative_ttl_ms=options.negative_ttl_ms,
            fill_wait_ms=options.fill_wait_ms,
            patience_ms=options.patience_ms,
            stampede_protection=options.stampede_protection,
            voids_tickets=options.mode == LEASES,
        )
        parts = (context, self.settings(context), self.rings(context.nodes), self.seen)
        if options.mode in LOOK_ASIDE_MODES:
            return RedisLookAsideClient(*parts, redis=redis)
        return RedisVersionsClient(*parts, redis=redis, leases=options.mode == LINEARIZABLE)
