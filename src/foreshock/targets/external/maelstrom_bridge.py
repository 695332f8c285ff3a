"""A program that runs beside each node for Maelstrom and is its network: ``python3 maelstrom_bridge.py SETTINGS``.

The node is a program that reads messages from stdin and writes messages to stdout, a line of JSON each. The bridge
gives it its ``init``, takes messages for it over TCP, and brings its own where they belong: to the bridges of other
nodes, or over the connection on which clients and services made themselves known by sending something. An answer to a
client who is connected elsewhere goes to all bridges, and on by the one that knows him. So a partition, a kill or a
pause strikes the node as it strikes any other. Messages that cannot be delivered are lost. The bridge ends with its
node. It needs the standard library alone, and listens once the node has answered its ``init``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import sys
from typing import Any, Final

LINE_BYTES_MAX: Final = 16 << 20
WAITING_MAX: Final = 10_000
"""So many messages may wait for a node that cannot be reached; what comes then is lost."""
CLIENTS_MAX: Final = 10_000
CLIENT: Final = re.compile(r"c\d+")
CONNECT_TIMEOUT_S: Final = 2.0
RETRY_S: Final = 0.05
INIT_ID: Final = 1
NODE_NOT_FOUND: Final = 1
BROKEN_NODE: Final = 65

Message = dict[str, Any]


class Peer:
    """The way to another node's bridge: one connection, opened anew whenever it broke."""

    def __init__(self, own: str, host: str, port: int) -> None:
        self._hello = line_of({"src": own, "dest": "", "body": {}})
        self._address = (host, port)
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(WAITING_MAX)

    def send(self, line: bytes) -> None:
        """Send a message, or lose it."""
        with contextlib.suppress(asyncio.QueueFull):
            self._waiting.put_nowait(line)

    async def run(self) -> None:
        """Carry messages for ever; what was on its way when the connection broke is lost."""
        while True:
            line = await self._waiting.get()
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    reader, writer = await asyncio.open_connection(*self._address)
            except (OSError, TimeoutError):
                await asyncio.sleep(RETRY_S)
                continue
            ended = asyncio.ensure_future(reader.read(1))  # a bridge says nothing here: this is the end
            try:
                writer.write(self._hello)
                while not ended.done():
                    writer.write(line)
                    await writer.drain()
                    following = asyncio.ensure_future(self._waiting.get())
                    await asyncio.wait({following, ended}, return_when=asyncio.FIRST_COMPLETED)
                    if not following.done():
                        following.cancel()
                        break
                    line = following.result()
            except OSError:
                pass
            finally:
                ended.cancel()
                writer.close()


class Bridge:
    """One node's network."""

    def __init__(self, settings: Message) -> None:
        self.name: str = settings["name"]
        self.names: list[str] = settings["names"]
        self.listen: tuple[str, int] = tuple(settings["listen"])
        self.command: list[str] = settings["command"]
        self.peers = {name: Peer(self.name, *address) for name, address in settings["peers"].items()}
        self.clients: dict[str, asyncio.StreamWriter] = {}
        """By name, the connection on which each client or service was heard last."""
        self.started = asyncio.Event()

    async def run(self) -> int:
        """Run the node to its end; returns its exit code."""
        self.node = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
        )
        tasks = [asyncio.ensure_future(each.run()) for each in self.peers.values()]
        tasks.append(asyncio.ensure_future(self.start()))
        try:
            return await self.route_all()
        finally:
            for task in tasks:
                task.cancel()

    async def start(self) -> None:
        """Give the node its init, and listen when it has answered."""
        body = {"type": "init", "msg_id": INIT_ID, "node_id": self.name, "node_ids": self.names}
        self.tell({"src": "c0", "dest": self.name, "body": body})
        log(f"waiting for the node's init_ok: {self.command}")
        await self.started.wait()
        await asyncio.start_server(self.serve, *self.listen, limit=LINE_BYTES_MAX)
        log("the node answered its init: listening")

    def tell(self, message: Message) -> None:
        """Give the node a message."""
        assert self.node.stdin is not None
        if not self.node.stdin.is_closing():
            self.node.stdin.write(line_of(message))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take messages from one connection for the node."""
        assert self.node.stdin is not None
        names: set[str] = set()
        from_peer = False
        try:
            while line := await reader.readline():
                message = json.loads(line)
                source, dest = message["src"], message["dest"]
                from_peer = from_peer or source in self.peers
                if not from_peer and self.clients.get(source) is not writer:
                    if len(self.clients) >= CLIENTS_MAX:
                        raise ValueError("there are too many clients")
                    self.clients[source] = writer
                    names.add(source)
                if dest == self.name:
                    self.tell(message)
                    await self.node.stdin.drain()
                elif from_peer and dest in self.clients:
                    self.clients[dest].write(line_of(message))
        except (OSError, ValueError, KeyError, TypeError) as problem:
            log(f"a connection is given up: {problem!r}")
        finally:
            for name in names:
                if self.clients.get(name) is writer:
                    del self.clients[name]
            writer.close()

    async def route_all(self) -> int:
        """Bring every message of the node where it belongs, until the node ends."""
        assert self.node.stdout is not None
        try:
            while line := await self.node.stdout.readline():
                if line.strip():
                    self.route(message_of(line))
        except ValueError as problem:
            log(f"the node wrote to stdout what is no message ({problem}): {line[:300]!r}")
            self.node.kill()
            await self.node.wait()
            return BROKEN_NODE
        return await self.node.wait()

    def route(self, message: Message) -> None:
        """Bring one message where it belongs; raises ``ValueError`` when it is not what it should be."""
        dest, body = message.get("dest"), message["body"]
        if dest == "c0":
            if body.get("type") != "init_ok":
                raise ValueError("the init was not answered by init_ok")
            self.started.set()
        elif dest == self.name:
            self.tell(message)
        elif dest in self.peers:
            self.peers[dest].send(line_of(message))
        elif dest in self.clients:
            self.clients[dest].write(line_of(message))
        elif CLIENT.fullmatch(str(dest)):
            for peer in self.peers.values():
                peer.send(line_of(message))
        elif "msg_id" in body and "in_reply_to" not in body:
            text = f"there is no node {dest!r} here"
            error = {"type": "error", "in_reply_to": body["msg_id"], "code": NODE_NOT_FOUND, "text": text}
            self.tell({"src": dest, "dest": self.name, "body": error})


def message_of(line: bytes) -> Message:
    """The message on a line; raises ``ValueError`` when there is none."""
    message = json.loads(line)
    if not isinstance(message, dict) or not isinstance(message.get("body"), dict):
        raise ValueError("it is not an object with a body")  # noqa: TRY004 - so does json say what is wrong
    return message


def line_of(message: Message) -> bytes:
    """A message as it travels."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def log(text: str) -> None:
    """Write into the node's log."""
    sys.stderr.write(f"maelstrom_bridge: {text}\n")
    sys.stderr.flush()


def main() -> None:
    """The entry point."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        code = asyncio.run(Bridge(json.loads(sys.argv[1])).run())
    except OSError as problem:
        sys.exit(f"maelstrom_bridge: the node cannot be run: {problem}")
    log(f"the node ended with {code}")
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
