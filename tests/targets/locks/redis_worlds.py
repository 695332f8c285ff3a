"""Simulated Redis servers and clients of a lock, for interleavings that a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from foreshock.harness.backends.sim import SimBackend, SimCluster
from foreshock.harness.cluster import ClusterSpecification
from foreshock.harness.simulation.knobs import SimKnobs
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.harness.target import ClientContext, Target
from foreshock.targets.redis.connection import RedisConnection
from foreshock.targets.redis.simulated_server import SimulatedRedis

MS = 1_000_000


class World:
    """The servers of one target on a quiet network, and as many clients as a test asks for."""

    def __init__(self, target: Target[Any], *, seed: int = 1, knobs: SimKnobs | None = None) -> None:
        self.runtime = SimRuntime(seed, SimKnobs() if knobs is None else knobs)
        self.target = target
        self.names = tuple(f"n{i}" for i in range(1, target.default_nodes + 1))
        specification = ClusterSpecification("run", target, self.names, Path("unused"), seed)
        self.cluster: SimCluster = SimBackend().cluster(specification, self.runtime)
        self.servers: dict[str, SimulatedRedis] = {}
        """The server that runs on each node now."""
        self.runtime.world.after_step = self._stepped

    def run(self, act: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Deploy and do what the test does."""

        async def go() -> Any:
            await self.cluster.deploy()
            return await act()

        return self.runtime.run(go())

    def client(self, process: int = 0, *, timeout_ms: int = 5_000) -> Any:
        """A client of its own process."""
        nodes = self.cluster.nodes
        node = nodes[process % len(nodes)]
        context = ClientContext(self.runtime, node, nodes, process, f"p{process}", timeout_ms)
        return self.target.client("lock", context)

    async def ask(self, *words: Any, node: str = "n1") -> Any:
        """What a server answers to a command of the test's own."""
        endpoint = next(each.endpoint for each in self.cluster.nodes if each.name == node)
        connection = RedisConnection(self.runtime, endpoint, 5_000)
        try:
            return await connection.execute(*words)
        finally:
            await connection.close()

    async def holder(self, key: Any = 0, *, nodes: tuple[str, ...] | None = None) -> list[Any]:
        """Who owns the lock on each server."""
        return [await self.ask("GET", f"lock:{key}", node=name) for name in nodes or self.names]

    async def sleep_ms(self, duration_ms: int) -> None:
        await self.runtime.sleep(duration_ms * MS)

    async def restart(self, *names: str) -> None:
        """Kill servers and start them again."""
        await self.cluster.kill(frozenset(names))
        await self.cluster.start(frozenset(names))
        await self.sleep_ms(50)

    def set_clock(self, name: str, by_ms: int) -> None:
        """Let a server's wall clock jump."""
        self.runtime.world.machine(name).clock.jump(by_ms * MS)

    def _stepped(self, name: str, program: Any) -> None:
        self.servers[name] = program
