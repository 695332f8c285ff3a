"""The link proxy: a process of its own that carries every link between nodes on one machine.

``python -m foreshock.harness.backends.link_proxy`` reads JSON lines on stdin and answers on stdout::

    {"links": [{"sender": "n1", "receiver": "n2", "target": ["127.0.0.1", 7001]}, ...],
     "sink": ["127.0.0.1", 40000]}                  -> {"control": port, "links": [[tcp, udp], ...]}
    {"id": 1, "cut": [["n1", "n2"], ...]}           -> {"id": 1}

A link is a directed pair: ``sender`` opens connections to the link's TCP port, and what it writes reaches
``receiver``. A connection carries bytes both ways, so its two halves belong to the two directions. A cut *stalls*
the bytes of one direction and breaks nothing, as dropped packets do: connections stay, new ones are accepted and
held, and an end of stream waits like the bytes before it. All of it arrives when the cut is healed. Each link also
relays datagrams from its UDP port to the sink under the same rules, so that a cut can be verified; the control port
relays always.

Everything is bounded: a stalled direction is not read (TCP pushes back on the writer), and a link holds at most
:data:`CONNECTIONS_MAX_PER_LINK` connections. The proxy ends when stdin does, so that none outlives its harness.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
import struct
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, cast

CONNECTIONS_MAX_PER_LINK: Final = 64
"""When one more arrives, the oldest is reset: a node that reconnects through a long cut must not exhaust us."""

_BUFFER_BYTES: Final = 64 << 10
_LINE_BYTES_MAX: Final = 4 << 20
_OPEN_FILES_WANTED: Final = 65_536
_PROBE_BYTES_MAX: Final = 512
_LOOPBACK: Final = "127.0.0.1"
_CONNECT_TIMEOUT_S: Final = 5.0


class Rules:
    """Which directions are cut now, and who must look again when that changes."""

    def __init__(self) -> None:
        self._cut: frozenset[tuple[str, str]] = frozenset()
        self.connections: set[Connection] = set()

    def open(self, sender: str, receiver: str) -> bool:
        """Whether what ``sender`` sends reaches ``receiver``."""
        return (sender, receiver) not in self._cut

    def replace(self, cut: frozenset[tuple[str, str]]) -> None:
        """Put these cuts in place of those in force, at once and for every connection."""
        self._cut = cut
        for connection in tuple(self.connections):
            connection.look_again()


class Half(asyncio.Protocol):
    """One socket of a connection: what is read here is written to the ``other`` half, while that is allowed."""

    def __init__(self, connection: Connection, open_: Callable[[], bool]) -> None:
        self._connection = connection
        self._open = open_
        self.transport: asyncio.Transport | None = None
        self.other: Half | None = None
        self.full = False
        self.ended = False
        self.lost = False
        self._broken = False
        self._end_passed = False
        # What came in before reading was paused (some event loops start to read when they like); one read at most.
        self._held: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Pass the bytes on, or hold them while they may not go."""
        if self._may_pass():
            cast(asyncio.Transport, cast(Half, self.other).transport).write(data)
        else:
            self._held.append(data)
            self.look_again()

    def eof_received(self) -> bool:
        """Pass the end of the stream on like the bytes before it; the other direction goes on."""
        self.ended = True
        self._connection.look_again()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone: the other half hears of it, but not through a cut."""
        self.lost = True
        self._broken = exc is not None
        self._connection.look_again()

    def pause_writing(self) -> None:
        """Our reader is slow: stop reading the other half."""
        self.full = True
        self._connection.look_again()

    def resume_writing(self) -> None:
        """Our reader caught up."""
        self.full = False
        self._connection.look_again()

    def look_again(self) -> None:
        """Pass on what waits, and read or stop reading, as the rules say now."""
        passing = self._may_pass()
        if passing:
            self._pass_held()
        if self.lost or self.transport is None or self.transport.is_closing():
            return
        wanted = passing and not cast(Half, self.other).full
        if wanted and not self.transport.is_reading():
            self.transport.resume_reading()
        elif not wanted and self.transport.is_reading():
            self.transport.pause_reading()

    def _may_pass(self) -> bool:
        """Whether bytes read here may be written to the other half now."""
        other = self.other
        return other is not None and other.transport is not None and not other.lost and self._open()

    def _pass_held(self) -> None:
        other = cast(Half, self.other)
        transport = cast(asyncio.Transport, other.transport)
        if transport.is_closing():
            return
        if self._held:
            transport.write(b"".join(self._held))
            self._held.clear()
        if self.lost:
            other.close(reset=self._broken)
        elif self.ended and not self._end_passed:
            self._end_passed = True
            if other.ended:
                other.close(reset=False)
                self.close(reset=False)
            else:
                transport.write_eof()

    def close(self, *, reset: bool) -> None:
        """Close this socket, after what is buffered, or with a reset."""
        if self.transport is None or self.transport.is_closing():
            return
        if not reset:
            self.transport.close()
            return
        # Lingering for zero seconds makes the kernel send a reset in place of an orderly end.
        self.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.transport.abort()


class Connection:
    """One connection over a link: the half that the sender opened, and the half to the receiver."""

    def __init__(self, link: Link, rules: Rules) -> None:
        self._link = link
        self._rules = rules
        self._there = partial(rules.open, link.sender, link.receiver)
        self._back = partial(rules.open, link.receiver, link.sender)
        self._dial: asyncio.Task[None] | None = None
        self._refused = False
        self.near = Half(self, self._there)
        rules.connections.add(self)
        link.admit(self)

    def look_again(self) -> None:
        """The rules or a socket changed."""
        if self.near.lost and (self.near.other is None or self.near.other.lost):
            self._forget()
            return
        if (
            self.near.other is None
            and self._there()
            and self._dial is None
            and self.near.transport is not None
        ):
            self._dial = asyncio.ensure_future(self._connect())
        if self._refused and self._back():
            self.near.close(reset=True)
        self.near.look_again()
        if self.near.other is not None:
            self.near.other.look_again()

    def reset(self) -> None:
        """Break both halves now, whatever the rules."""
        self.near.close(reset=True)
        if self.near.other is not None:
            self.near.other.close(reset=True)

    async def _connect(self) -> None:
        far = Half(self, self._back)
        host, port = self._link.target
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().create_connection(lambda: far, host, port)
        except (OSError, TimeoutError):
            self._refused = True  # the refusal is the receiver's word, so a cut on the way back holds it
        else:
            far.other, self.near.other = self.near, far
        if self.near.lost:
            far.close(reset=True)
        self.look_again()

    def _forget(self) -> None:
        if self._dial is not None:
            self._dial.cancel()
        self._rules.connections.discard(self)
        self._link.dismiss(self)


class Accepting(asyncio.Protocol):
    """Hands each accepted socket to the near half of a new connection."""

    def __init__(self, link: Link, rules: Rules) -> None:
        self._link = link
        self._rules = rules

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A node opened a connection over the link."""
        connection = Connection(self._link, self._rules)
        stream = cast(asyncio.Transport, transport)
        connection.near.connection_made(stream)
        stream.set_protocol(connection.near)
        connection.look_again()


class Relay(asyncio.DatagramProtocol):
    """Relays datagrams one way to the sink, while the link is open."""

    def __init__(self, open_: Callable[[], bool], sink: tuple[str, int]) -> None:
        self._open = open_
        self._sink = sink
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The port is bound."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:  # noqa: ARG002
        """Relay one probe, or drop it as the network would."""
        if self._transport is not None and len(data) <= _PROBE_BYTES_MAX and self._open():
            self._transport.sendto(data, self._sink)


class Link:
    """One directed pair of nodes."""

    def __init__(self, sender: str, receiver: str, target: tuple[str, int]) -> None:
        self.sender = sender
        self.receiver = receiver
        self.target = target
        self._connections: dict[Connection, None] = {}

    def admit(self, connection: Connection) -> None:
        """Count a new connection; the oldest gives way when there are too many."""
        self._connections[connection] = None
        if len(self._connections) > CONNECTIONS_MAX_PER_LINK:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.reset()

    def dismiss(self, connection: Connection) -> None:
        """The connection is over."""
        self._connections.pop(connection, None)


async def _open_relay(open_: Callable[[], bool], sink: tuple[str, int]) -> int:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Relay(open_, sink), local_addr=(_LOOPBACK, 0)
    )
    return int(transport.get_extra_info("sockname")[1])


async def open_links(rules: Rules, description: dict[str, Any]) -> dict[str, Any]:
    """Bind the ports of every link; returns them in the order in which the links were given."""
    loop = asyncio.get_running_loop()
    sink = (str(description["sink"][0]), int(description["sink"][1]))
    ports = []
    for entry in description["links"]:
        link = Link(entry["sender"], entry["receiver"], (entry["target"][0], int(entry["target"][1])))
        server = await loop.create_server(partial(Accepting, link, rules), _LOOPBACK, 0, backlog=128)
        udp = await _open_relay(partial(rules.open, link.sender, link.receiver), sink)
        ports.append([int(server.sockets[0].getsockname()[1]), udp])
    return {"control": await _open_relay(lambda: True, sink), "links": ports}


def _answer(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def serve() -> None:
    """Obey the harness until stdin ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_LINE_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    rules = Rules()
    while line := await reader.readline():
        request = json.loads(line)
        if "links" in request:
            _answer(await open_links(rules, request))
        else:
            rules.replace(frozenset((sender, receiver) for sender, receiver in request["cut"]))
            _answer({"id": request["id"]})


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


if __name__ == "__main__":
    main()
