"""A small target for the backends' tests: a node stores one value and passes messages on to its peers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from foreshock.harness.cluster import Cluster, ClusterSpecification, Node
from foreshock.harness.options import Options
from foreshock.harness.runtime import Runtime
from foreshock.harness.target import Target

ClusterT = TypeVar("ClusterT", bound=Cluster)
Run = Callable[[Callable[[Runtime], Awaitable[Any]]], Any]
"""Runs ``main(runtime)`` to its end on the wall clock: the fixture ``run``."""

PROGRAM = """
import json, os, socket, sys, threading, time

name, host, port, data, peers = sys.argv[1:6]
peers = json.loads(peers)
print("hello from", name, flush=True)
received = []

def handle(request):
    kind = request["do"]
    if kind == "store":
        with open(os.path.join(data, "value"), "w") as file:
            file.write(request["value"])
            file.flush()
            os.fsync(file.fileno())
        return "stored"
    if kind == "load":
        path = os.path.join(data, "value")
        return open(path).read() if os.path.exists(path) else None
    if kind == "note":
        received.append(request["text"])
        return "noted"
    if kind == "received":
        return received
    if kind == "forget":
        received.clear()
        return "forgotten"
    if kind == "pass":
        with socket.create_connection(peers[request["to"]], timeout=request["timeout"]) as far:
            far.settimeout(request["timeout"])
            far.sendall(json.dumps({"do": "note", "text": request["text"]}).encode() + b"\\n")
            return json.loads(far.makefile().readline())

def serve(client):
    with client:
        for line in client.makefile():
            try:
                answer = handle(json.loads(line))
            except OSError as error:
                answer = "failed: " + type(error).__name__
            client.sendall(json.dumps(answer).encode() + b"\\n")

server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((host, int(port)))
server.listen(64)
while True:
    try:
        client, _ = server.accept()
    except OSError:  # out of descriptors, which is no reason to end
        time.sleep(0.01)
        continue
    threading.Thread(target=serve, args=(client,), daemon=True).start()
"""


class RelayTarget(Target[Options]):
    """Nodes that store a value and relay messages."""

    default_nodes = 3

    def files(self) -> Mapping[str, bytes]:
        return {"relay.py": PROGRAM.encode()}

    def command(self, node: Node) -> Sequence[str]:
        peers = {name: [peer.host, peer.port] for name, peer in node.peers.items()}
        listen = (node.listen.host, str(node.listen.port))
        return [
            "python3",
            self.file(node, "relay.py"),
            node.name,
            *listen,
            node.data_directory,
            json.dumps(peers),
        ]


class ExitingTarget(RelayTarget):
    """Nodes that complain and leave."""

    def command(self, node: Node) -> Sequence[str]:
        return ["sh", "-c", "echo starting; echo the disk is upside down >&2; exit 7"]


class DeafTarget(RelayTarget):
    """Nodes that run and never listen."""

    def command(self, node: Node) -> Sequence[str]:
        return ["sh", "-c", "echo waiting for nothing; exec sleep 600"]


def specification(
    directory: Path,
    target: type[Target[Any]] = RelayTarget,
    *,
    nodes: int = 3,
    ready_ms: int = 20_000,
) -> ClusterSpecification:
    return ClusterSpecification(
        run=f"test-{secrets.token_hex(4)}",  # its own, also beside other tests on this machine
        target=target(target.Options(), seed=1),
        node_names=tuple(f"n{i}" for i in range(1, nodes + 1)),
        directory=directory,
        seed=1,
        ready_timeout_ms=ready_ms,
    )


async def ask(node: Node, **request: Any) -> Any:
    """One request to a node over a connection of its own."""
    reader, writer = await asyncio.open_connection(node.endpoint.host, node.endpoint.port)
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        line = await asyncio.wait_for(reader.readline(), 10)
        return json.loads(line)
    finally:
        writer.close()


async def ask_when_up(node: Node, **request: Any) -> Any:
    """The same of a node that is being started."""
    for _ in range(1000):
        try:
            return await ask(node, **request)
        except (OSError, ValueError):  # it refuses, or the connection ends before the answer
            await asyncio.sleep(0.01)
    raise AssertionError(f"{node.name} does not come up")


@contextlib.asynccontextmanager
async def deployed(cluster: ClusterT) -> AsyncIterator[ClusterT]:
    """The cluster, deployed, and torn down in any case."""
    try:
        await cluster.deploy()
        yield cluster
    finally:
        await cluster.teardown()
