"""The server as a process: its socket, its limits, its end.

Whoever connects may be slow, broken or hostile. A request must be there in :data:`REQUEST_S` seconds and be small;
connections and what they may have waiting are counted; what cannot be read is answered with one line or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from foreshock.harness.errors import UsageError
from foreshock.harness.server import headers
from foreshock.harness.server.site import Site
from foreshock.harness.server.views import Pages

REQUEST_S: Final = 5.0
"""How long a client may take to send a request, the first one or the next."""
LINE_BYTES_MAX: Final = 8 << 10
HEADER_BYTES_MAX: Final = 8 << 10
HEADERS_MAX: Final = 64
UNANSWERED_BYTES_MAX: Final = 128 << 10
"""How much a client may have sent of what has not been answered."""
REQUESTS_MAX: Final = 500
"""How many requests one connection may make, so that none is served for ever while others wait."""
CONNECTIONS_MAX: Final = 256
BACKLOG: Final = 128
SERVER_ERROR: Final = 500
END_S: Final = 2.0

logger = logging.getLogger("foreshock.serve")


class GuardedConnection(web.RequestHandler):
    """One connection, which must send whole requests in time and no more than it may."""

    def __init__(self, manager: GuardedServer, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self.server = manager
        self.busy = False
        self._answered = 0
        self._received_bytes = 0
        self._sends_no_more = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.server.connections) > CONNECTIONS_MAX:
            self._break()
            return
        self._await_request()

    def answered(self) -> None:
        """One request more has its answer."""
        self._answered += 1
        if self._answered >= REQUESTS_MAX:
            self.close()
            return
        self.busy = bool(self._messages)
        if self.busy:
            return
        self._received_bytes = 0
        if self._sends_no_more:
            self.close()
        else:
            self._await_request()

    def _await_request(self) -> None:
        """From now on the clock runs for the next request."""
        if self.transport is not None:
            self._timer = asyncio.get_running_loop().call_later(REQUEST_S, self._break)

    def data_received(self, data: bytes) -> None:
        """Take in what was sent, if it is not too much to be kept."""
        self._received_bytes += len(data)
        if self._received_bytes > UNANSWERED_BYTES_MAX:
            self._break()
            return
        super().data_received(data)
        if self._messages:
            self.busy = True
            self._stop_timer()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more: what it has asked for it still gets."""
        self._sends_no_more = True
        return self.busy

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no request, or broke off: one line, for nobody knows who reads it."""
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionError("nobody is there to be answered") from exc
        logger.debug("answered %d: %s", status, message, exc_info=exc)
        text = "The request cannot be read.\n" if status < SERVER_ERROR else "The server cannot answer.\n"
        answer = web.Response(status=status, text=text, headers=headers.EVERYWHERE)
        answer.force_close()
        return answer

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _break(self) -> None:
        self._stop_timer()
        transport = self.transport
        if isinstance(transport, asyncio.Transport):
            transport.abort()


class GuardedServer(web.Server):
    """Makes a :class:`GuardedConnection` for each client."""

    def __init__(self, site: Site) -> None:
        super().__init__(self._answer)
        self.site = site

    def __call__(self) -> web.RequestHandler:
        """The protocol of a new connection."""
        return GuardedConnection(
            self,
            loop=asyncio.get_running_loop(),
            logger=logger,
            access_log=None,
            keepalive_timeout=REQUEST_S,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
            max_headers=HEADERS_MAX,
            lingering_time=0.0,
        )

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, GuardedConnection)
        try:
            return await self.site.answer(request)
        finally:
            connection.answered()


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen; raises :class:`UsageError` that says what to do when they cannot be had."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--host {host!r} is no address of this machine: {reason}") from None
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            with contextlib.suppress(_NotHere):
                sockets.append(_listening(family, kind, protocol, address, sockets))
    except OSError as error:
        for bound in sockets:
            bound.close()
        raise UsageError(_why_not(host, port, error)) from None
    if not sockets:
        raise UsageError(f"--host {host!r} is no address of this machine")
    return sockets


class _NotHere(Exception):
    """An address of a kind that this machine does not have."""


def _listening(
    family: int, kind: int, protocol: int, address: Any, others: Sequence[socket.socket]
) -> socket.socket:
    try:
        made = socket.socket(family, kind, protocol)
    except OSError:
        raise _NotHere from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        port = address[1] or (others[0].getsockname()[1] if others else 0)  # one port for all of them
        made.bind((address[0], port, *address[2:]))
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRNOTAVAIL and family == socket.AF_INET6:
            raise _NotHere from None
        raise
    return made


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is in use by another process: choose another one with --port, or --port 0 for "
            "any that is free"
        )
    if error.errno == errno.EACCES:
        return f"port {port} of {host} may not be used by this user: choose one above 1023 with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host!r} is no address of this machine"
    return f"port {port} of {host} cannot be used: {error.strerror}"


def address_of(host: str, sockets: Sequence[socket.socket]) -> str:
    """Where a browser finds it."""
    port = sockets[0].getsockname()[1]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, host)
    return f"http://{f'[{name}]' if ':' in name and not name.startswith('[') else name}:{port}/"


async def serve(store: Path, pages: Pages, *, host: str, port: int, started: Callable[[str], object]) -> None:
    """Serve a store until SIGINT or SIGTERM; ``started`` is called with the address. Raises :class:`UsageError`."""
    sockets = bind(host, port)
    loop = asyncio.get_running_loop()
    site = Site(store, pages, host=host, names=[] if host else [socket.gethostname()])
    manager = GuardedServer(site)
    stop = asyncio.Event()
    loop.set_exception_handler(_tell)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    servers = [await loop.create_server(manager, sock=bound, backlog=BACKLOG) for bound in sockets]
    try:
        started(address_of(host, sockets))
        await stop.wait()
    finally:
        for server in servers:
            server.close()
        await site.close()
        await manager.shutdown(END_S)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _tell(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a connection did wrong is its own affair, and is in the log of whoever wants to see it."""
    logger.debug("%s", context.get("message"), exc_info=context.get("exception"))
