"""Redis with Sentinel: the first half of the nodes are a master and its replicas, the others watch over them.

Replication is asynchronous, and a master that is cut off answers until somebody can tell it that it is one no more:
what it acknowledged meanwhile is lost. ``docs/external/redis-sentinel.md`` shows it.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final

from msgspec import Meta

from foreshock.harness.cluster import Cluster, Endpoint, Node
from foreshock.harness.errors import Definite, OperationError
from foreshock.harness.runtime import Runtime
from foreshock.harness.services import Client
from foreshock.harness.target import ClientContext, Target
from foreshock.targets.external.weaknesses import SENTINEL_EXHIBITS, SENTINEL_PROMISES
from foreshock.targets.locks.redis_lock import RedisLock, RedisLockClient, RedisLockOptions
from foreshock.targets.redis.connection import ASK_TIMEOUT_MS, RedisConnection, RedisError, Word, ask
from foreshock.targets.redis.register_client import RedisRegister

_MASTER: Final = "foreshock"
_WHERE: Final = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", _MASTER)
_Ms = Annotated[int, Meta(ge=100, le=600_000)]


class SentinelOptions(RedisLockOptions, frozen=True, kw_only=True):
    """When a master counts as down and when it takes no writes; the others are those of the lock on one server."""

    down_after_ms: Annotated[_Ms, Meta(description="silence after which a server counts as down (ms)")] = (
        1_000
    )
    failover_timeout_ms: Annotated[_Ms, Meta(description="how long a failover may take (ms)")] = 3_000
    min_replicas_to_write: Annotated[int, Meta(description="what a master needs to take writes", ge=0)] = 0
    min_replicas_max_lag_s: Annotated[int, Meta(description="since when those were heard of (s)", ge=1)] = 1


class Master(RedisConnection):
    """A connection to whoever a sentinel says is the master and who says so too; sought anew once it is lost."""

    def __init__(self, context: ClientContext) -> None:
        self._context = context
        self._found: RedisConnection | None = None

    async def execute(self, *words: Word, timeout_ms: int | None = None) -> Any:
        """The reply to one command, sent once; raises ``Definite`` or ``Indefinite``."""
        self._found = self._found or await self._find()
        try:
            return await self._found.execute(*words, timeout_ms=timeout_ms)
        except OperationError as problem:
            if not isinstance(problem, RedisError) or problem.code == "READONLY":
                await self.close()
            raise

    async def close(self) -> None:
        """Drop the connection."""
        found, self._found = self._found, None
        if found is not None:
            await found.close()

    async def _find(self) -> RedisConnection:
        context, (servers, sentinels) = self._context, halves(self._context.nodes)
        first = context.node.index % len(sentinels)  # each process asks a sentinel of its own first
        for sentinel in (*sentinels[first:], *sentinels[:first]):
            named = await ask(context.runtime, sentinel.endpoint, *_WHERE) or ("", 0)
            for node in servers:
                if node.address == Endpoint(host=named[0], port=int(named[1])):
                    found = RedisConnection(context.runtime, node.endpoint, context.timeout_ms, once=True)
                    with contextlib.suppress(OperationError):  # whoever does not say so is none
                        if (await found.execute("ROLE", timeout_ms=ASK_TIMEOUT_MS))[0] == "master":
                            return found
                    await found.close()
        raise Definite("no sentinel names a master that says it is one")


class Lock(RedisLockClient):
    """The lock of the Redis documentation, on whoever is the master."""

    def __init__(self, context: ClientContext, options: SentinelOptions) -> None:
        super().__init__(context, options)
        self.redis, self.background = Master(context), Master(context)


class RedisSentinel(Target[SentinelOptions]):
    """A master with its replicas, and as many sentinels."""

    Options = SentinelOptions
    default_nodes, minimum_nodes, port, tells_addresses = 6, 2, 6379, True
    packages = binaries = ("redis-server", "redis-sentinel")
    promises, exhibits = SENTINEL_PROMISES, SENTINEL_EXHIBITS
    services: ClassVar[dict[str, type[Any]]] = {"register": RedisRegister, "lock": Lock}

    def __init__(self, options: SentinelOptions, *, seed: int) -> None:
        super().__init__(options, seed=seed)
        self._server = RedisLock(options, seed=seed)  # how one server is run, and known to be up

    def command(self, node: Node) -> Sequence[str]:
        """A server or a sentinel. Each writes into its file who is the master now, for when it is started again."""
        options, own, servers = self.options, node.address, (len(node.peers) + 2) // 2
        assert own is not None  # where nodes run on hosts they have one
        master = next(iter(node.peers.values())) if node.index else own
        lines = [f"bind-source-addr {node.source}"] if node.source else []
        program = list(self._server.command(node))
        if node.index < servers:
            lines += [f"replica-announce-ip {own.host}", f"replica-announce-port {own.port}"]
            lines += [f"min-replicas-to-write {options.min_replicas_to_write}", "repl-diskless-sync-delay 0"]
            lines += [f"min-replicas-max-lag {options.min_replicas_max_lag_s}"]
            lines += [f"replicaof {master.host} {master.port}"] if node.index else []
        else:
            quorum = (len(node.peers) + 1 - servers) // 2 + 1
            lines += [f"sentinel monitor {_MASTER} {master.host} {master.port} {quorum}"]
            lines += [f"sentinel down-after-milliseconds {_MASTER} {options.down_after_ms}"]
            lines += [f"sentinel failover-timeout {_MASTER} {options.failover_timeout_ms}"]
            lines += [f"sentinel announce-ip {own.host}", f"sentinel announce-port {own.port}"]
            program.append("--sentinel")
        file = shlex.quote(f"{node.data_directory}/redis.conf")
        fill = f"[ -s {file} ] || printf '%s\\n' {shlex.join(lines)} > {file} || exit 1"
        return ["sh", "-c", f"{fill}; exec {program[0]} {file} {shlex.join(program[1:])}"]

    async def ready(self, node: Node, runtime: Runtime) -> bool:
        """Whether it answers, and a sentinel knows all servers and sentinels: it looks for them every 10 s else."""
        servers = (len(node.peers) + 2) // 2
        if node.index < servers:
            return await self._server.ready(node, runtime)
        words = await ask(runtime, node.endpoint, "SENTINEL", "MASTER", _MASTER) or []
        facts = dict(zip(words[::2], words[1::2], strict=True))
        known = [facts.get(name) for name in ("num-slaves", "num-other-sentinels")]
        complete = known == [str(servers - 1), str(len(node.peers) - servers)]
        await ask(runtime, node.endpoint, "SENTINEL", "DEBUG", "info-period", "10000" if complete else "500")
        return complete

    async def primaries(self, cluster: Cluster, runtime: Runtime) -> frozenset[str]:
        """The servers that say that they are masters."""
        roles = {node.name: await ask(runtime, node.endpoint, "ROLE") for node in halves(cluster.nodes)[0]}
        return frozenset(name for name, role in roles.items() if role and role[0] == "master")

    def client(self, service: str, context: ClientContext) -> Client:
        """A register or a lock."""
        return Lock(context, self.options) if service == "lock" else RedisRegister(Master(context))


def halves(nodes: Sequence[Node]) -> tuple[Sequence[Node], Sequence[Node]]:
    """The servers and the sentinels."""
    return nodes[: (len(nodes) + 1) // 2], nodes[(len(nodes) + 1) // 2 :]
