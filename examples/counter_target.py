"""A target that offers a service of your own: counters, in a server of a few lines. See counter_workload.py.

``-o durable=false`` has it answer before a change is in its file: then a kill loses adds, and the test finds it.
"""

# ruff: noqa: D102 - what the methods do is said by counter_workload.CounterClient
from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec

from foreshock.harness import ClientContext, Node, Options, Target

SERVER = """
import json, os, socketserver, sys, threading
path = os.path.join(sys.argv[3], "counters")
lock, counters, unwritten = threading.Lock(), {}, []
if os.path.exists(path):
    counters = json.load(open(path))

def write():
    with open(path + ".new", "w") as file:
        json.dump(counters, file)
    os.replace(path + ".new", path)

class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            with lock:
                f, key, *amount = json.loads(line)
                if f == "add":
                    counters[key] = counters.get(key, 0) + amount[0]
                    unwritten.append(key)
                    if sys.argv[4] == "durable" or len(unwritten) >= 25:
                        write()
                        unwritten.clear()
                answer = counters.get(key, 0)
            self.wfile.write(json.dumps(answer).encode() + b"\\n")

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

with Server((sys.argv[1], int(sys.argv[2])), Connection) as server:
    server.serve_forever()
"""


class CounterServerOptions(Options, frozen=True, kw_only=True):
    """How safe it is."""

    durable: Annotated[
        bool, msgspec.Meta(description="write every change to the file before it is answered")
    ] = True


class Counter:
    """A counter client: the service is known by its methods, and nothing needs to be inherited."""

    service: ClassVar[str] = "counter"

    def __init__(self, context: ClientContext) -> None:
        self._endpoint = context.node.endpoint
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._endpoint.host, self._endpoint.port)

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    async def add(self, key: int, amount: int) -> None:
        await self._ask("add", str(key), amount)

    async def read(self, key: int) -> int:
        return int(await self._ask("read", str(key)))

    async def _ask(self, *words: Any) -> Any:
        assert self._writer is not None
        self._writer.write(json.dumps(words).encode() + b"\n")
        answer = await self._reader.readline()
        if not answer:
            raise ConnectionResetError("the server went away before it answered")  # it may have added
        return json.loads(answer)


class CounterServer(Target[CounterServerOptions]):
    """One server that keeps counters in a file."""

    Options = CounterServerOptions
    default_nodes = 1
    services: ClassVar[Mapping[str, type[Any]]] = {"counter": Counter}

    def command(self, node: Node) -> Sequence[str]:
        how = "durable" if self.options.durable else "hasty"
        return ["python3", "-c", SERVER, node.listen.host, str(node.listen.port), node.data_directory, how]
