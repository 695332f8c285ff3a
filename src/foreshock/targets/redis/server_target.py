"""What every target that runs redis-server has in common: its command line, its options, when it is ready."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, TypeVar

from msgspec import Meta

from foreshock.harness.cluster import Node
from foreshock.harness.errors import OperationError
from foreshock.harness.options import Options
from foreshock.harness.runtime import Runtime
from foreshock.harness.simulation.program import Machine, Program
from foreshock.harness.target import Target
from foreshock.targets.redis.connection import RedisConnection
from foreshock.targets.redis.scripts import Script
from foreshock.targets.redis.simulated_server import (
    STARTED,
    Persistence,
    ServerSettings,
    SimulatedRedis,
)

_READY_TIMEOUT_MS: Final = 1_000
_AOF: Final = ("--appendonly", "yes", "--appendfsync")
_DURABILITY: Final[dict[str, tuple[str, ...]]] = {
    "none": ("--appendonly", "no"),
    "aof-everysec": (*_AOF, "everysec"),
    "aof-always": (*_AOF, "always"),
}


class RedisOptions(Options, frozen=True, kw_only=True):
    """How each redis-server is run."""

    persistence: Annotated[
        Persistence,
        Meta(
            description="what survives: none, aof-everysec (a power cut loses up to two seconds), or aof-always (each "
            "change is synced before its answer)"
        ),
    ] = "aof-always"


class BoundedRedisOptions(RedisOptions, frozen=True, kw_only=True):
    """The same, with a limit on memory: for caches, which may forget, and not for locks, which may not."""

    maxmemory_bytes: Annotated[
        int,
        Meta(
            description="the memory of each server, an empty one's included (about 1 MiB); past it the least recently "
            "used keys are evicted; 0: no limit",
            ge=0,
        ),
    ] = 0


RedisOptionsT = TypeVar("RedisOptionsT", bound=RedisOptions)


class RedisTarget(Target[RedisOptionsT]):
    """One or more independent redis-servers; a subclass says which clients use them, and with which scripts."""

    Options = RedisOptions
    default_nodes: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("redis-server",)
    binaries: ClassVar[tuple[str, ...]] = ("redis-server",)
    port: ClassVar[int] = 6379

    scripts: ClassVar[tuple[Script, ...]] = ()
    """Every script that the target's clients run: the simulated server knows these and no others."""

    def known_scripts(self) -> tuple[Script, ...]:
        """What the simulated server knows: the target's scripts, and those of a planted bug."""
        return (*self.scripts, *getattr(self.bug, "extra_scripts", ()))

    @property
    def settings(self) -> ServerSettings:
        """How the servers are run."""
        options: RedisOptions = self.options
        maxmemory_bytes = options.maxmemory_bytes if isinstance(options, BoundedRedisOptions) else 0
        return ServerSettings(persistence=options.persistence, maxmemory_bytes=maxmemory_bytes)

    def command(self, node: Node) -> Sequence[str]:
        """Run redis-server in the foreground; one that ran before may have to stay away for a while first."""
        settings = self.settings
        command = ["redis-server", "--dir", node.data_directory, "--bind", node.listen.host]
        command += ["--port", str(node.listen.port), "--protected-mode", "no", "--save", ""]
        command += _DURABILITY[settings.persistence]
        if settings.maxmemory_bytes:
            command += ["--maxmemory", str(settings.maxmemory_bytes), "--maxmemory-policy", "allkeys-lru"]
        if not settings.restart_delay_ms:
            return command
        started = shlex.quote(f"{node.data_directory}/{STARTED}")
        seconds = f"{settings.restart_delay_ms // 1000}.{settings.restart_delay_ms % 1000:03d}"
        # Nothing is granted before the next life is sure to know of this one.
        first = f": > {started} && sync {started} || exit 1"
        script = f"if [ -e {started} ]; then sleep {seconds}; else {first}; fi; exec {shlex.join(command)}"
        return ["sh", "-c", script]

    async def ready(self, node: Node, runtime: Runtime) -> bool:
        """Whether the server answers a PING (one that still loads its file does not)."""
        connection = RedisConnection(runtime, node.endpoint, _READY_TIMEOUT_MS)
        try:
            return bool(await connection.execute("PING") == "PONG")
        except OperationError:
            return False
        finally:
            await connection.close()

    def simulate(self, node: Node, machine: Machine) -> Program:  # noqa: ARG002 - every server is the same
        """The same server as a program of the simulator."""
        return SimulatedRedis(machine, self.settings, self.known_scripts())
