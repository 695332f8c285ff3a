"""etcd, through its JSON gateway: a register a key, and locks on leases. ``docs/external/etcd.md`` tells of it.

The lock is safe for those alone whose resource looks at the fencing token: the revision at which they got it.
"""

# ruff: noqa: D102, ARG002 - what the methods do is said by foreshock.harness.services and foreshock.harness.target
from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Literal

import aiohttp
from msgspec import Meta

from foreshock.harness import Client, ClientContext, Cluster, Endpoint, Grant, Node, Options, Runtime, Target
from foreshock.harness.errors import Definite, Indefinite, OperationError
from foreshock.harness.services import Key
from foreshock.targets.external.findings import ETCD_EXHIBITS, ETCD_PROMISES

_ABSENT: Final = {"target": "CREATE", "create_revision": 0}
_READS: Final = "linearizable: a quorum confirms each; serializable: a member answers from what it has"


class EtcdOptions(Options, frozen=True, kw_only=True):
    """How reads are served, and how long a lock's lease lasts."""

    read_mode: Annotated[Literal["linearizable", "serializable"], Meta(description=_READS)] = "linearizable"
    ttl_s: Annotated[int, Meta(description="how long a lease lasts (s)", ge=1, le=3_600)] = 2


async def ask(endpoint: Endpoint, timeout_ms: int, path: str, **body: Any) -> Any:
    """A member's answer to a request, sent once; ``Definite``: it had no effect, ``Indefinite``: nobody knows."""
    url = f"http://{endpoint.host}:{endpoint.port}/v3/{path}"
    timeout = aiohttp.ClientTimeout(total=timeout_ms / 1000)
    try:
        async with aiohttp.request("POST", url, json=body, timeout=timeout) as response:
            answer = json.loads(await response.text())
    except aiohttp.ClientConnectorError as error:  # no connection, so nothing was sent
        raise Definite(f"{path}: {error}") from error
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Indefinite(f"{path}: {type(error).__name__} {error}") from error
    if "error" in answer:
        kind = Definite if answer.get("code") == 5 else Indefinite  # gRPC's NotFound: there is no such lease
        raise kind(f"{path}: {answer.get('message', answer['error'])}")
    return answer.get("result", answer)  # where the answer is a stream: of one


def coded(value: Any) -> str:
    """Keys and values as the gateway wants them."""
    return base64.b64encode(json.dumps(value).encode()).decode()


class EtcdRegister(Client):
    """Range, put, and a transaction that compares; each request has a connection of its own."""

    service: ClassVar[str] = "register"

    def __init__(self, context: ClientContext, options: EtcdOptions) -> None:
        self.runtime, self.options = context.runtime, options
        self.serializable = options.read_mode == "serializable"
        self.ask = partial(ask, context.node.endpoint, context.timeout_ms)
        self.leases: dict[Key, str] = {}

    async def put_if(self, is_: Mapping[str, Any], *, key: str, **put: Any) -> Any:
        compare = {"key": key, "result": "EQUAL", **is_}
        return await self.ask("kv/txn", compare=[compare], success=[{"request_put": {"key": key, **put}}])

    async def read(self, key: Key) -> Any:
        found = await self.ask("kv/range", key=coded(key), serializable=self.serializable)
        return json.loads(base64.b64decode(found["kvs"][0]["value"])) if "kvs" in found else None

    async def write(self, key: Key, value: Any) -> None:
        await self.ask("kv/put", key=coded(key), value=coded(value))

    async def cas(self, key: Key, old: Any, new: Any) -> None:
        same = _ABSENT if old is None else {"target": "VALUE", "value": coded(old)}
        if not (await self.put_if(same, key=coded(key), value=coded(new))).get("succeeded"):
            raise Definite(f"the value of {key} was not {old}")


class EtcdLock(EtcdRegister):
    """A key that was not there, created on a lease: it stays until the lease is revoked, or runs out."""

    service: ClassVar[str] = "lock"

    async def acquire(self, key: Key, wait_ms: int) -> Grant:
        name, called_ns = coded(f"lock {key}"), self.runtime.now()
        while True:
            waited_ms = (self.runtime.now() - called_ns) // 1_000_000
            if "kvs" not in await self.ask("kv/range", key=name, keys_only=True):
                lease = await self.ask("lease/grant", TTL=self.options.ttl_s)
                taken = await self.put_if(_ABSENT, key=name, lease=lease["ID"])
                if taken.get("succeeded"):
                    self.leases[key] = lease["ID"]
                    ttl_ms = int(lease["TTL"]) * 1000 + waited_ms  # a process counts from its call
                    return Grant(token=int(taken["header"]["revision"]), ttl_ms=ttl_ms)
            if waited_ms + 50 > wait_ms:
                raise Definite(f"the lock {key} is held")
            await self.runtime.sleep(50_000_000)

    async def renew(self, key: Key, token: int | None) -> Grant:
        ttl_s = int((await self.ask("lease/keepalive", ID=self.leases.get(key, "0"))).get("TTL", 0))
        if not ttl_s:
            raise Definite("there is no such lease")
        return Grant(token=token, ttl_ms=ttl_s * 1000)

    async def release(self, key: Key, token: int | None) -> None:
        await self.ask("lease/revoke", ID=self.leases.get(key, "0"))


class Etcd(Target[EtcdOptions]):
    """A cluster of etcd, which knows its members from the start."""

    Options = EtcdOptions
    default_nodes, port, further_ports = 3, 2379, {"peer": 2380}
    packages, binaries, tells_addresses = ("etcd-server",), ("etcd",), True
    clock = None  # Go asks the system for the time itself
    services: ClassVar[Mapping[str, type[Any]]] = {"register": EtcdRegister, "lock": EtcdLock}
    promises, exhibits = ETCD_PROMISES, ETCD_EXHIBITS

    def command(self, node: Node) -> Sequence[str]:
        peer, place = node.further["peer"], "{0.host}:{0.port}".format
        told = {**peer.peers, node.name: peer.address}
        everybody = ",".join(f"{name}=http://{place(at)}" for name, at in sorted(told.items()))
        flags = f"""--name {node.name} --initial-cluster {everybody} --heartbeat-interval 50 --election-timeout 500
            --listen-client-urls http://{place(node.listen)} --advertise-client-urls http://{place(node.listen)}
            --listen-peer-urls http://{place(peer.listen)} --initial-advertise-peer-urls http://{place(peer.address)}"""
        return ["etcd", "--data-dir", node.data_directory, *flags.split()]

    async def ready(self, node: Node, runtime: Runtime) -> bool:
        with contextlib.suppress(OperationError):  # a range needs a leader
            return bool(await ask(node.endpoint, 1_000, "kv/range", key=coded("ready")))
        return False

    def client(self, service: str, context: ClientContext) -> Client:
        client: Client = self.services[service](context, self.options)
        return client

    async def primaries(self, cluster: Cluster, runtime: Runtime) -> frozenset[str]:
        leading = set()
        for node in cluster.nodes:
            with contextlib.suppress(OperationError):
                said = await ask(node.endpoint, 1_000, "maintenance/status")
                leading |= {node.name} if said.get("leader") == said["header"]["member_id"] else set()
        return frozenset(leading)
