"""etcd, through its JSON gateway: a register a key, and locks on leases.

Reads are linearizable as etcd is set up by default. The lock is a lease, and so safe for those alone whose resource
looks at the fencing token, the revision at which they got it. ``docs/external/etcd.md`` shows both.
"""

# ruff: noqa: D102, ARG002 - what the methods do is said by foreshock.harness.services and foreshock.harness.target
from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

import aiohttp
from msgspec import Meta

from foreshock.harness import Client, ClientContext, Cluster, Endpoint, Grant, Node, Options, Runtime, Target
from foreshock.harness.errors import Definite, Indefinite, OperationError
from foreshock.harness.services import Key
from foreshock.targets.external.findings import ETCD_EXHIBITS, ETCD_PROMISES

_MS: Final = 1_000_000
_POLL_NS: Final = 50 * _MS
_LOOK_MS: Final = 1_000
_NOT_FOUND: Final = 5  # gRPC's code
_ABSENT: Final = {"target": "CREATE", "create_revision": 0}
_READS: Final = "linearizable: a quorum confirms each; serializable: a member answers from what it has"


class EtcdOptions(Options, frozen=True, kw_only=True):
    """How reads are served, how long a lock's lease lasts, and how soon a leader is missed."""

    read_mode: Annotated[Literal["linearizable", "serializable"], Meta(description=_READS)] = "linearizable"
    ttl_s: Annotated[int, Meta(description="how long a lease lasts (s)", ge=1, le=3_600)] = 2
    election_ms: Annotated[int, Meta(description="silence before an election (ms)", ge=50, le=50_000)] = 500


async def ask(endpoint: Endpoint, timeout_ms: int, path: str, **body: Any) -> dict[str, Any]:
    """A member's answer to a request, sent once; ``Definite``: it had no effect, ``Indefinite``: nobody knows."""
    timeout = aiohttp.ClientTimeout(total=timeout_ms / 1000)
    url = f"http://{endpoint.host}:{endpoint.port}/v3/{path}"
    try:
        async with aiohttp.request("POST", url, data=json.dumps(body), timeout=timeout) as response:
            answer: dict[str, Any] = json.loads(await response.text())
    except aiohttp.ClientConnectorError as error:  # no connection, so nothing was sent
        raise Definite(f"{path}: {error}") from error
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Indefinite(f"{path}: {type(error).__name__} {error}") from error
    if "error" in answer:
        kind = Definite if answer.get("code") == _NOT_FOUND else Indefinite
        raise kind(f"{path}: {answer.get('message', answer['error'])}")
    found: dict[str, Any] = answer.get("result", answer)  # where the answer is a stream: of one
    return found


def coded(value: Any) -> str:
    """Keys and values as the gateway wants them."""
    return base64.b64encode(json.dumps(value).encode()).decode()


class EtcdRegister(Client):
    """Range, put, and a transaction that compares; each request has a connection of its own."""

    service: ClassVar[str] = "register"

    def __init__(self, context: ClientContext, options: EtcdOptions) -> None:
        self.context, self.options = context, options
        self.leases: dict[Key, str] = {}

    async def ask(self, path: str, **body: Any) -> dict[str, Any]:
        return await ask(self.context.node.endpoint, self.context.timeout_ms, path, **body)

    async def put_if(self, is_: Mapping[str, Any], *, key: str, **put: Any) -> dict[str, Any]:
        compare = {"key": key, "result": "EQUAL", **is_}
        return await self.ask("kv/txn", compare=[compare], success=[{"request_put": {"key": key, **put}}])

    async def read(self, key: Key) -> Any:
        local = self.options.read_mode == "serializable"
        found = (await self.ask("kv/range", key=coded(key), serializable=local)).get("kvs")
        return json.loads(base64.b64decode(found[0]["value"])) if found else None

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
        runtime, name = self.context.runtime, coded(f"lock {key}")
        called_ns = asked_ns = runtime.now()
        while True:
            if not (await self.ask("kv/range", key=name, keys_only=True)).get("kvs"):
                lease = await self.ask("lease/grant", TTL=self.options.ttl_s)
                taken = await self.put_if(_ABSENT, key=name, lease=lease["ID"])
                if taken.get("succeeded"):
                    self.leases[key] = lease["ID"]
                    waited_ms = (asked_ns - called_ns) // _MS  # a process counts from its call
                    token = int(taken["header"]["revision"])
                    return Grant(token=token, ttl_ms=int(lease["TTL"]) * 1000 + waited_ms)
            if runtime.now() + _POLL_NS > called_ns + wait_ms * _MS:
                raise Definite(f"the lock {key} is held")
            await runtime.sleep(_POLL_NS)
            asked_ns = runtime.now()

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
    tells_addresses = True
    packages, binaries = ("etcd-server",), ("etcd",)
    clock = None  # Go asks the system for the time itself
    services: ClassVar[Mapping[str, type[Any]]] = {"register": EtcdRegister, "lock": EtcdLock}
    promises, exhibits = ETCD_PROMISES, ETCD_EXHIBITS

    def command(self, node: Node) -> Sequence[str]:
        peer, place = node.further["peer"], "{0.host}:{0.port}".format
        told = {**peer.peers, node.name: peer.address}
        everybody = ",".join(f"{name}=http://{place(at)}" for name, at in sorted(told.items()))
        client, election_ms = f"http://{place(node.listen)}", self.options.election_ms
        return [
            *("etcd", "--name", node.name, "--data-dir", node.data_directory, "--initial-cluster", everybody),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", f"http://{place(peer.listen)}"),
            *("--initial-advertise-peer-urls", f"http://{place(peer.address)}"),
            *("--heartbeat-interval", str(election_ms // 10), "--election-timeout", str(election_ms)),
        ]

    async def ready(self, node: Node, runtime: Runtime) -> bool:
        with contextlib.suppress(OperationError):  # a range needs a leader
            return bool(await ask(node.endpoint, _LOOK_MS, "kv/range", key=coded("ready")))
        return False

    def client(self, service: str, context: ClientContext) -> Client:
        client: Client = self.services[service](context, self.options)
        return client

    async def primaries(self, cluster: Cluster, runtime: Runtime) -> frozenset[str]:
        leading = set()
        for node in cluster.nodes:
            with contextlib.suppress(OperationError):
                said = await ask(node.endpoint, _LOOK_MS, "maintenance/status")
                leading |= {node.name} if said.get("leader") == said["header"]["member_id"] else set()
        return frozenset(leading)
