"""Connections over a link: each is two sockets, and what passes between them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final, cast

from foreshock.harness.backends.link_proxy.half import Half
from foreshock.harness.backends.link_proxy.owners import Owners
from foreshock.harness.backends.link_proxy.rules import Rules

CONNECTIONS_MAX_PER_LINK: Final = 64
"""When one more arrives, the oldest is reset: a node that reconnects through a long cut must not exhaust us."""

_CONNECT_TIMEOUT_S: Final = 5.0


class Link:
    """One directed pair of nodes."""

    def __init__(self, sender: str, receiver: str, target: tuple[str, int]) -> None:
        self.sender = sender
        self.receiver = receiver
        self.target = target
        self.connections: dict[Connection, None] = {}
        """In the order in which they were opened."""

    def admit(self, connection: Connection) -> None:
        """Count a new connection; the oldest gives way when there are too many."""
        self.connections[connection] = None
        if len(self.connections) > CONNECTIONS_MAX_PER_LINK:
            oldest = next(iter(self.connections))
            del self.connections[oldest]
            oldest.reset()

    def dismiss(self, connection: Connection) -> None:
        """The connection is over."""
        self.connections.pop(connection, None)


class Connection:
    """One connection over a link: the half that the sender opened, and the half to the receiver."""

    def __init__(self, link: Link, rules: Rules) -> None:
        self._link = link
        self._rules = rules
        self._there = rules.direction(link.sender, link.receiver)
        self._back = rules.direction(link.receiver, link.sender)
        self._dial: asyncio.Task[None] | None = None
        self._refused = False
        self.near = Half(self, self._there)
        self.gone = asyncio.Event()
        """Set when both sockets are."""
        rules.watchers.add(self)
        link.admit(self)

    def look_again(self) -> None:
        """The rules or a socket changed."""
        if self.near.lost and (self.near.other is None or self.near.other.lost):
            self._forget()
            return
        if (
            self.near.other is None
            and self._there.open
            and self._dial is None
            and self.near.transport is not None
        ):
            self._dial = asyncio.ensure_future(self._connect())
        if self._refused and self._back.open:
            self.near.close(reset=True)
        self.near.look_again()
        if self.near.other is not None:
            self.near.other.look_again()

    def reset(self) -> None:
        """Break both halves now, whatever the rules."""
        self.near.close(reset=True)
        if self.near.other is not None:
            self.near.other.close(reset=True)

    def opened_from(self) -> int:
        """The port of the sender's own end."""
        transport = self.near.transport
        return 0 if transport is None else int(transport.get_extra_info("peername", ("", 0))[1])

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
        self.near.forget()
        if self.near.other is not None:
            self.near.other.forget()
        self._rules.watchers.discard(self)
        self._link.dismiss(self)
        self.gone.set()


class Accepting(asyncio.Protocol):
    """Hands each accepted socket to the near half of a new connection.

    ``links`` are by the address that the sender connects from, ``None`` standing for any, or by its name.
    """

    def __init__(self, links: Mapping[str | None, Link], rules: Rules, owners: Owners | None) -> None:
        self._links = links
        self._rules = rules
        self._owners = owners

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A node opened a connection over the link; a stranger is turned away."""
        stream = cast(asyncio.Transport, transport)
        source = stream.get_extra_info("peername", ("", 0))
        link = self._links.get(source[0], self._links.get(None))
        if link is None and self._owners is not None:
            link = self._links.get(self._owners.sender(source, stream.get_extra_info("sockname")) or "")
        if link is None:
            stream.abort()
            return
        connection = Connection(link, self._rules)
        connection.near.connection_made(stream)
        stream.set_protocol(connection.near)
        connection.look_again()


async def accept_over(
    links: Mapping[str | None, Link], rules: Rules, host: str, port: int = 0, owners: Owners | None = None
) -> int:
    """Accept connections for the links, by who connects, from now on; returns the port (0: any that is free)."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Accepting, links, rules, owners), host, port, backlog=128)
    return int(server.sockets[0].getsockname()[1])
