"""The proxy's process: obeys the harness line by line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sys
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import msgspec

from foreshock.harness.backends.link_proxy.connection import Link, accept_over
from foreshock.harness.backends.link_proxy.owners import Owners
from foreshock.harness.backends.link_proxy.relay import relay
from foreshock.harness.backends.link_proxy.rules import Direction, Rules
from foreshock.harness.backends.process_identity import NODE_VARIABLE
from foreshock.harness.capabilities import LinkShape

_LINE_BYTES_MAX: Final = 4 << 20
_OPEN_FILES_WANTED: Final = 65_536
_LOOPBACK: Final = "127.0.0.1"
_RESET_TIMEOUT_S: Final = 5.0


class Server:
    """The links of one cluster, and what the harness asks for."""

    def __init__(self) -> None:
        self._rules = Rules()
        self._links: dict[tuple[str, str], list[Link]] = {}

    async def obey(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do what one request says; returns the answer."""
        if "links" in request:
            return await self._open(request)
        answer = {"id": request["id"]}
        if "cut" in request:
            self._rules.cut((sender, receiver) for sender, receiver in request["cut"])
        if "shape" in request:
            shapes = request["shape"]
            self._rules.shape({(a, b): msgspec.convert(shape, LinkShape) for a, b, shape in shapes})
        if "reset" in request:
            answer |= await self._reset([(sender, receiver) for sender, receiver in request["reset"]])
        return answer

    async def _open(self, description: Mapping[str, Any]) -> dict[str, Any]:
        """Bind the ports of every link; returns them in the order in which the links were given."""
        ports = []
        for entry in description["links"]:
            link = self._new_link(entry)
            way = self._rules.direction(link.sender, link.receiver)
            ports.append(
                [await accept_over({None: link}, self._rules, _LOOPBACK), await relay(way, _LOOPBACK)]
            )
        sources: Mapping[str, str] = description.get("sources", {})
        fronts = {name: await self._open_front(name, 0, sources) for name in sources}
        further = [await self._open_further(entry, sources) for entry in description.get("further", ())]
        control = await relay(Direction(), _LOOPBACK)
        return {"control": control, "links": ports, "fronts": fronts, "further": further}

    def _new_link(self, entry: Mapping[str, Any]) -> Link:
        link = Link(entry["sender"], entry["receiver"], (entry["target"][0], int(entry["target"][1])))
        self._links.setdefault((link.sender, link.receiver), []).append(link)
        return link

    async def _open_further(self, entry: Mapping[str, Any], sources: Mapping[str, str]) -> list[str | int]:
        """Bind one more port between two nodes, or from all others to one; returns where it is."""
        host, port = entry["at"], int(entry["target"][1])
        if sources:
            for sender in entry["senders"]:
                self._new_link({**entry, "sender": sender})
            return [host, await self._open_front(entry["receiver"], -1, sources, host, port)]
        link: dict[str | None, Link] = {None: self._new_link(entry)}
        try:
            return [host, await accept_over(link, self._rules, host, port)]
        except OSError:  # some systems have one loopback address only
            return [_LOOPBACK, await accept_over(link, self._rules, _LOOPBACK)]

    async def _open_front(
        self, receiver: str, number: int, sources: Mapping[str, str], host: str = _LOOPBACK, port: int = 0
    ) -> int:
        """Bind one port at which all others reach a node, over the links of that number between them.

        Who connects is told by the address that is the sender's own, or else by its process.
        """
        links: dict[str | None, Link] = {}
        for sender, address in sources.items():
            if sender != receiver:
                links[sender] = links[address] = self._links[sender, receiver][number]
        owners = Owners(NODE_VARIABLE, os.environ.get(NODE_VARIABLE, ""))
        return await accept_over(links, self._rules, host, port, owners)

    async def _reset(self, pairs: list[tuple[str, str]]) -> dict[str, Any]:
        """Reset all connections that were opened over the links, and wait until they are gone."""
        found = [[c for link in self._links[pair] for c in link.connections] for pair in pairs]
        ports = [[connection.opened_from() for connection in connections] for connections in found]
        every = [connection for connections in found for connection in connections]
        for connection in every:
            connection.reset()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RESET_TIMEOUT_S):
                for connection in every:
                    await connection.gone.wait()
        left = [connection.opened_from() for connection in every if not connection.gone.is_set()]
        return {"reset": ports, "left": left}


async def serve() -> None:
    """Obey the harness until stdin ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_LINE_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    server = Server()
    while line := await reader.readline():
        answer = await server.obey(msgspec.json.decode(line))
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
        sys.stdout.flush()


def _raise_open_files_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES_WANTED if hard == resource.RLIM_INFINITY else min(_OPEN_FILES_WANTED, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(coroutine)
    else:
        uvloop.run(coroutine)


def main() -> None:
    """The entry point of the proxy's process."""
    _raise_open_files_limit()
    with contextlib.suppress(KeyboardInterrupt):
        _run(serve())
    os._exit(0)  # nothing here is worth an orderly end, and a stalled socket must not delay it
