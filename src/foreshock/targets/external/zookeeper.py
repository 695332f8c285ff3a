"""ZooKeeper, by kazoo: a register a znode, and the lock recipe. ``docs/external/zookeeper.md`` tells of it."""

# ruff: noqa: D102, ARG002 - what the methods do is said by foreshock.harness.services and foreshock.harness.target
from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, LockTimeout, NodeExistsError, NoNodeError
from msgspec import Meta

from foreshock.harness import Client, ClientContext, Cluster, Definite, Grant, Node, Options, Runtime, Target
from foreshock.harness.services import Key
from foreshock.targets.external.findings import ZOOKEEPER_EXHIBITS, ZOOKEEPER_PROMISES

_READS: Final = "local: what its server has; sync: the leader is asked first; quorum: after a write"
_JAR: Final = "/usr/share/java/zookeeper.jar"
_JAVA: Final = f"""L=-Dorg.slf4j.simpleLogger
exec java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dzookeeper.admin.enableServer=false \\
  $L.showDateTime=true "$L.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSSZ" -Djdk.net.hosts.file=hosts \\
  -cp {_JAR}:/usr/share/java/slf4j-simple.jar org.apache.zookeeper.server.quorum.QuorumPeerMain ./zoo.cfg"""
_SETTINGS: Final = "tickTime=200 initLimit=25 syncLimit=15 4lw.commands.whitelist=srvr dataDir=./."


class ZooKeeperOptions(Options, frozen=True, kw_only=True):
    """How reads are made, and when servers and sessions are given up."""

    read_mode: Annotated[Literal["local", "sync", "quorum"], Meta(description=_READS)] = "local"
    session_ms: Annotated[int, Meta(description="silence that ends it (ms)", ge=100, le=200_000)] = 2_000


class ZooKeeperRegister(Client):
    """Get, set, create, and a set of the version that was read; kazoo sends each once, and blocks."""

    service: ClassVar[str] = "register"

    def __init__(self, context: ClientContext, options: ZooKeeperOptions) -> None:
        place, self.wait_s, self.options = context.node.endpoint, context.timeout_ms / 1000, options
        self.zk = KazooClient(f"{place.host}:{place.port}", timeout=options.session_ms / 1000)
        self.locks: dict[Key, Any] = {}
        self.states: list[str] = []
        self.zk.add_listener(self.states.append)

    def open(self) -> None:  # type: ignore[override]
        self.zk.start(self.wait_s)

    def close(self) -> None:  # type: ignore[override]
        self.zk.stop()
        self.zk.close()

    def read(self, key: Key) -> Any:
        if self.options.read_mode != "local":
            (self.zk.sync if self.options.read_mode == "sync" else self.put)("/barrier")
        with contextlib.suppress(NoNodeError):
            return json.loads(self.zk.get(f"/register{key}")[0] or "null")  # it is made empty
        return None

    def write(self, key: Key, value: Any) -> None:
        self.put(f"/register{key}", json.dumps(value).encode())

    def cas(self, key: Key, old: Any, new: Any) -> None:
        path, content = f"/register{key}", json.dumps(new).encode()
        try:
            found, state = (None, None) if old is None else self.zk.get(path)
            if state is None:
                self.zk.create(path, content)
            elif json.loads(found or "null") == old:
                self.zk.set(path, content, state.version)
            else:
                raise Definite(f"the value of {path} was not {old}")
        except (BadVersionError, NodeExistsError, NoNodeError) as error:
            raise Definite(f"{path}: {type(error).__name__}") from error

    def put(self, path: str, content: bytes = b"") -> None:
        self.zk.ensure_path(path)
        self.zk.set(path, content)


class ZooKeeperLock(ZooKeeperRegister):
    """kazoo's recipe: who has the lowest of the ephemeral sequential znodes holds the lock; its number is a token."""

    service: ClassVar[str] = "lock"

    def acquire(self, key: Key, wait_ms: int) -> Grant:
        lock, states = self.zk.Lock(f"/lock{key}"), len(self.states)
        with contextlib.suppress(LockTimeout):
            if lock.acquire(blocking=wait_ms > 0, timeout=wait_ms / 1000 if wait_ms else None):
                self.locks[key] = lock
                return Grant(token=int(lock.node[-10:]))
        if len(self.states) != states or not self.zk.connected:  # which kazoo knows before it tells listeners
            raise ConnectionError(
                "the connection was lost meanwhile: the znode may be there still, and be next"
            )
        raise Definite(f"the lock {key} is held")

    def renew(self, key: Key, token: int | None) -> Grant:
        return Grant(token=token)  # never asked for: a grant lasts as long as the session

    def release(self, key: Key, token: int | None) -> None:
        if key not in self.locks or not self.locks.pop(key).release():
            raise Definite(f"the lock {key} is not held")


class ZooKeeper(Target[ZooKeeperOptions]):
    """An ensemble that knows its servers from the start."""

    Options = ZooKeeperOptions
    default_nodes, port, further_ports = 3, 2181, {"quorum": 2888, "election": 3888}
    packages, binaries = ("libzookeeper-java", "default-jre-headless"), ("java", _JAR)
    services: ClassVar[Mapping[str, type[Any]]] = {"register": ZooKeeperRegister, "lock": ZooKeeperLock}
    promises, exhibits = ZOOKEEPER_PROMISES, ZOOKEEPER_EXHIBITS

    def command(self, node: Node) -> Sequence[str]:
        quorum, election = ({**each.peers, node.name: each.listen} for each in node.further.values())
        names, own = sorted(quorum), node.listen
        settings = [*_SETTINGS.split(), f"clientPort={own.port}", f"clientPortAddress={own.host}"]
        for number, name in enumerate(names):
            settings.append(f"server.{number}={name}:{quorum[name].port}:{election[name].port}")
        settings.append("maxClientCnxns=0")  # else 60 from one address, and all clients have the same
        hosts = ["127.0.0.1 localhost", *(f"{place.host} {name}" for name, place in quorum.items())]
        files = {"zoo.cfg": settings, "hosts": hosts, "myid": [str(names.index(node.name))]}
        lines = [f"printf '%s\\n' {shlex.join(content)} > {name}" for name, content in files.items()]
        return ["sh", "-ec", "\n".join([f"cd {shlex.quote(node.data_directory)}", *lines, _JAVA])]

    async def ready(self, node: Node, runtime: Runtime) -> bool:
        return bool(await mode(node))

    def client(self, service: str, context: ClientContext) -> Client:
        client: Client = self.services[service](context, self.options)
        return client

    async def primaries(self, cluster: Cluster, runtime: Runtime) -> frozenset[str]:
        return frozenset([node.name for node in cluster.nodes if await mode(node) == "leader"])


async def mode(node: Node) -> str:
    """What a server says that it is; empty when it serves nobody now."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(node.endpoint.host, node.endpoint.port)
            with contextlib.closing(writer):
                writer.write(b"srvr")
                return (await reader.read()).decode().partition("Mode: ")[2].partition("\n")[0]
    return ""
