"""Memcached as a cache aside of an origin: the first node has the database, the others are memcached servers.

In the mode ``aside`` whoever misses sets what it read, however old that is by now. In ``leases`` it adds a mark first,
and may put its copy in the place of that very mark alone (``gets`` and ``cas``); an invalidation deletes the mark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta
from pymemcache.client.base import Client as Memcache
from pymemcache.exceptions import MemcacheError

from foreshock.harness.cluster import Endpoint, Node
from foreshock.harness.errors import Indefinite
from foreshock.harness.runtime import Runtime
from foreshock.harness.services import Client, Key
from foreshock.harness.target import ClientContext, Target
from foreshock.targets.caches.client import CacheNodeClient
from foreshock.targets.caches.options import DEFAULTS, CacheOptions
from foreshock.targets.caches.redis_client import Copy, RedisCopies, RedisLookAsideClient, RedisSettings
from foreshock.targets.caches.target import CacheTarget
from foreshock.targets.external.weaknesses import MEMCACHED_EXHIBITS, MEMCACHED_PROMISES

_COPY: Final = b"copy "
_POLL_NS: Final = 20_000_000
_MODE: Final = "aside: a copy is set; leases: it is put in the place of one's own mark alone"
_PATIENCE: Final = "how long a mark lives, and so how long a fill may take (ms)"


class MemcachedOptions(CacheOptions, frozen=True, kw_only=True):
    """Times are rounded up to whole seconds, in which memcached counts; in the mode aside nobody waits for a fill."""

    mode: Annotated[Literal["aside", "leases"], Meta(description=_MODE)] = "leases"
    patience_ms: Annotated[int, Meta(description=_PATIENCE, ge=1, le=3_600_000)] = 2_000


class MemcachedCopies(RedisCopies):
    """One process's way to the copies on the servers. What goes wrong there is an ``OperationError``."""

    def __init__(self, client: CacheNodeClient, settings: RedisSettings) -> None:
        super().__init__(client, settings)
        self._servers: dict[str, Memcache] = {}
        self._mark: Any = None
        """What stands for this process's mark in a ``cas``, if the last look left one."""

    async def close(self) -> None:
        """Drop all connections."""
        for each in self._servers.values():
            each.close()

    async def look_up(self, server: str, key: Key, token: str) -> Copy | None:
        """The copy; ``None``: there is none, and the token may fill it unless somebody else's mark is there."""
        name, mark, settings = self._keys(key)[0], b"mark " + token.encode(), self._settings
        until_ns = self._runtime.now() + settings.fill_wait_ms * 1_000_000
        while True:
            held, self._mark = await self._call(server, "gets", name)
            if held is None and settings.voids_tickets:
                term_s = seconds(settings.patience_ms)
                await self._call(server, "add", name, mark, expire=term_s, noreply=False)
                held, self._mark = await self._call(server, "gets", name)
            if held is not None and held.startswith(_COPY):
                return Copy.of(held[len(_COPY) :].decode())
            if held in (None, mark) or self._runtime.now() >= until_ns:
                self._mark = self._mark if held == mark else None
                return None
            await self._runtime.sleep(_POLL_NS)

    async def fill(self, server: str, key: Key, token: str, copy: Copy, term_ms: int | None) -> None:  # noqa: ARG002
        """Keep a copy for the term (0: for good); ``None``: it must not be kept."""
        name, text = self._keys(key)[0], _COPY + copy.text().encode()
        if term_ms is not None and not self._settings.voids_tickets:
            await self._call(server, "set", name, text, expire=seconds(term_ms), noreply=False)
        elif term_ms is not None and self._mark is not None:
            await self._call(server, "cas", name, text, self._mark, expire=seconds(term_ms), noreply=False)

    async def invalidate(self, server: str, key: Key) -> None:
        """Drop the copy, or the mark of whoever is about to fill it."""
        await self._call(server, "delete", self._keys(key)[0], noreply=False)

    async def _call(self, server: str, method: str, *words: Any, **how: Any) -> Any:
        """What a blocking method of the library gives, called in a thread."""
        if server not in self._servers:
            at, wait_s = self._nodes[server].endpoint, self._client.settings.attempt_timeout_ms / 1_000
            self._servers[server] = Memcache((at.host, at.port), connect_timeout=wait_s, timeout=wait_s)
        call = getattr(self._servers[server], method)
        try:
            return await self._runtime.call(lambda: call(*words, **how))
        except (MemcacheError, OSError) as problem:
            raise Indefinite(f"{server}: {problem!r}") from None


class MemcachedClient(RedisLookAsideClient):
    """Looks aside as the client of the Redis cache does."""

    def __init__(self, *arguments: Any, redis: RedisSettings) -> None:
        super().__init__(*arguments, redis=redis)
        self._copies = MemcachedCopies(self, redis)


class Memcached(CacheTarget[MemcachedOptions]):
    """Copies on memcached servers, filled and dropped by the clients; the first node is the origin."""

    Options = MemcachedOptions
    store: ClassVar[str] = "memory"
    packages = binaries = ("memcached",)
    promises, exhibits = MEMCACHED_PROMISES, MEMCACHED_EXHIBITS

    @classmethod
    def can_simulate(cls) -> bool:
        """Servers that are not ours cannot be."""
        return False

    @classmethod
    def stated_options(cls, options: Any, service: str) -> Mapping[str, Any]:  # noqa: ARG003
        """A copy lives for its term from when it was set, which is at most the patience after it was read."""
        term_s = seconds(max(options.ttl_ms, options.negative_ttl_ms)) if options.ttl_ms else 80_000
        bound_ms = (term_s + seconds(options.patience_ms)) * 1_000
        return {"consistency": "bounded-staleness", "staleness_bound_ms": bound_ms}

    def command(self, node: Node) -> Sequence[str]:
        """The origin's command, or a server's; it refuses to be root."""
        server = ["memcached", "-l", node.listen.host, "-p", str(node.listen.port), "-u", "nobody"]
        return server if node.index else super().command(node)

    def peers(self, node: Node) -> Mapping[str, Endpoint]:  # noqa: ARG002
        """None: the origin has nothing to say to servers."""
        return {}

    async def ready(self, node: Node, runtime: Runtime) -> bool:
        """Whether the origin serves, or a server can be connected to."""
        return await (Target.ready(self, node, runtime) if node.index else super().ready(node, runtime))

    def client(self, service: str, context: ClientContext) -> Client:  # noqa: ARG002
        """A client of the mode."""
        options, leases = self.options, self.options.mode == "leases"
        wait_ms = DEFAULTS.fill_wait_ms if options.stampede_protection else 0
        times = (options.ttl_ms, options.negative_ttl_ms, wait_ms, options.patience_ms)
        how = RedisSettings(*times, stampede_protection=options.stampede_protection, voids_tickets=leases)
        parts = (context, self.settings(context), self.rings(context.nodes), self.seen)
        return MemcachedClient(*parts, redis=how)


def seconds(time_ms: int) -> int:
    """A time as memcached takes it."""
    return -(-time_ms // 1_000)
