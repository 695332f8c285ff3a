"""A target with two versions, for the upgrade nemesis: each key lives on one of three nodes.

foreshock test --target examples/two_versions.py:TwoVersions --workload register --nemesis upgrade --time-limit 20

The second version writes another format and reads both. The first one was there before it, and reads only its own: so
nobody may go back, and with ``-o upgrade.downgrade=true`` the test says why.
"""

# ruff: noqa: D102 - what the methods do is said by foreshock.harness.services.RegisterClient
from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, ClassVar

from foreshock.harness.cluster import Node
from foreshock.harness.errors import Definite
from foreshock.harness.options import Options
from foreshock.harness.target import ClientContext, Target

PROGRAM = r"""
import json, os, socketserver, sys, threading

version, path, address = sys.argv[1], os.path.join(sys.argv[2], "values"), (sys.argv[3], int(sys.argv[4]))
lock = threading.Lock()

def load():
    if not os.path.exists(path):
        return {}
    with open(path) as file:
        content = json.load(file)
    if "format" not in content:
        return content
    return content["values"] if version == "2" else {}

def save(values):
    content = {"format": 2, "values": values} if version == "2" else values
    with open(path + ".new", "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            f, key, *arguments = json.loads(line)
            with lock:
                values = load()
                answer = values.get(key)
                if f == "write" or (f == "cas" and answer == arguments[0]):
                    save({**values, key: arguments[-1]})
                    answer = True
                elif f == "cas":
                    answer = False
            self.wfile.write(json.dumps(answer).encode() + b"\n")

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

print("version", version, flush=True)
Server(address, Handler).serve_forever()
"""


class Register:
    """A register a key, on the node that the key's number says."""

    service: ClassVar[str] = "register"

    def __init__(self, context: ClientContext) -> None:
        self.nodes = context.nodes

    async def open(self) -> None:
        """Each operation has a connection of its own."""

    async def close(self) -> None:
        """There is nothing to close."""

    async def read(self, key: int | str) -> Any:
        return await self._ask("read", key)

    async def write(self, key: int | str, value: Any) -> None:
        await self._ask("write", key, value)

    async def cas(self, key: int | str, old: Any, new: Any) -> None:
        if not await self._ask("cas", key, old, new):
            raise Definite(f"the value of {key} was not {old}")

    async def _ask(self, f: str, key: int | str, *arguments: Any) -> Any:
        node = self.nodes[int(key) % len(self.nodes)]
        try:
            reader, writer = await asyncio.open_connection(node.endpoint.host, node.endpoint.port)
        except ConnectionRefusedError as error:
            raise Definite(f"{node.name} does not run") from error
        try:
            writer.write(json.dumps([f, str(key), *arguments]).encode() + b"\n")
            answer = await reader.readline()
        finally:
            writer.close()
        if not answer:
            raise ConnectionResetError(
                f"{node.name} ended before it answered"
            )  # it may have done what was asked
        return json.loads(answer)


class TwoVersions(Target[Options]):
    """Three nodes in the first version, until an upgrade comes."""

    default_nodes = 3
    versions = ("1", "2")
    services: ClassVar[dict[str, type[Any]]] = {"register": Register}

    def command(self, node: Node) -> Sequence[str]:
        listen = [node.listen.host, str(node.listen.port)]
        return ["python3", "-c", PROGRAM, str(node.version), node.data_directory, *listen]
