"""Connections of JSON lines over TCP, for the runtime on the wall clock."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from foreshock.harness.runtime import ConnectionClosed, Message

LINE_BYTES_MAX: Final = 16 << 20
"""The longest line that is sent or taken; a longer one breaks the connection."""

INBOX_HIGH: Final = 1024
INBOX_LOW: Final = 256
"""Reading stops when so many messages wait to be received, and goes on when so few are left."""

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Message).decode


class JsonLines(asyncio.Protocol):
    """One TCP connection: a :class:`foreshock.harness.runtime.Connection` and asyncio's protocol of it in one.

    ``made`` is called once it is up, ``lost`` once it is gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        made: Callable[[JsonLines], None],
        lost: Callable[[JsonLines], None],
    ) -> None:
        self._loop = loop
        self._made = made
        self._lost = lost
        self._transport: asyncio.Transport
        self._inbox: deque[Message] = deque()
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self._why: str | None = None
        self._receivers: dict[asyncio.Future[None], None] = {}
        self._senders: dict[asyncio.Future[None], None] = {}
        self._writing_paused = False
        self._reading_paused = False

    # --- the port -----------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """Queue one message; waits while the peer is slow. Raises :class:`ConnectionClosed`."""
        if self._why is None:
            line = _encode(message)
            if len(line) > LINE_BYTES_MAX:
                self._break(f"a message of {len(line)} bytes is longer than {LINE_BYTES_MAX} bytes")
            else:
                self._transport.write(line + b"\n")
        while self._writing_paused and self._why is None:
            await self._wait(self._senders)
        if self._why is not None:
            raise ConnectionClosed(self._why)

    async def receive(self) -> Message:
        """The next message; raises :class:`ConnectionClosed` at the end of the stream or on a broken one."""
        inbox = self._inbox
        while not inbox:
            if self._why is not None:
                raise ConnectionClosed(self._why)
            await self._wait(self._receivers)
        message = inbox.popleft()
        if self._reading_paused and len(inbox) <= INBOX_LOW and self._why is None:
            self._reading_paused = False
            self._transport.resume_reading()
        return message

    def close(self) -> None:
        """Close at once (what was sent still goes out); idempotent."""
        self._inbox.clear()
        self._end("the connection was closed here")

    def abort(self) -> None:
        """Close without waiting for what has not gone out yet."""
        self.close()
        self._transport.abort()

    def meets_itself(self) -> bool:
        """Whether both ends are this socket, as TCP allows when nobody listens on an ephemeral port."""
        return bool(self._transport.get_extra_info("sockname") == self._transport.get_extra_info("peername"))

    # --- what asyncio calls -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is up."""
        self._transport = cast("asyncio.Transport", transport)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._made(self)

    def data_received(self, data: bytes) -> None:
        """Take lines out of what has arrived."""
        if self._why is not None:
            return
        end = data.rfind(b"\n")
        if end < 0:
            self._keep(data)
            return
        whole = data[:end]
        if self._tail:
            whole = b"".join((*self._tail, whole))
            self._tail.clear()
            self._tail_bytes = 0
        self._take_lines(whole)
        if end + 1 < len(data):
            self._keep(data[end + 1 :])

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._end("the peer closed the connection" if exc is None else f"the connection broke: {exc}")
        self._lost(self)

    def pause_writing(self) -> None:
        """The peer is slow."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._writing_paused = False
        _wake_all(self._senders)

    # --- inside -------------------------------------------------------------------------------------------

    def _take_lines(self, lines: bytes) -> None:
        for line in lines.split(b"\n"):
            if len(line) > LINE_BYTES_MAX:
                self._break(f"the peer sent a line longer than {LINE_BYTES_MAX} bytes")
                return
            try:
                if line:
                    self._inbox.append(_decode(line))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                self._break(f"the peer sent a line that is no JSON object: {error}")
                return
        if self._receivers:
            _wake_all(self._receivers)
        if len(self._inbox) >= INBOX_HIGH and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def _keep(self, data: bytes) -> None:
        self._tail.append(data)
        self._tail_bytes += len(data)
        if self._tail_bytes > LINE_BYTES_MAX:
            self._break(f"the peer sent a line longer than {LINE_BYTES_MAX} bytes")

    def _break(self, why: str) -> None:
        self._end(why)
        self._transport.abort()

    def _end(self, why: str) -> None:
        if self._why is not None:
            return
        self._why = why
        self._tail.clear()
        self._transport.close()
        _wake_all(self._receivers)
        _wake_all(self._senders)

    async def _wait(self, waiters: dict[asyncio.Future[None], None]) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        waiters[future] = None
        try:
            await future
        finally:
            waiters.pop(future, None)


def _wake_all(waiters: dict[asyncio.Future[Any], None]) -> None:
    for future in waiters:
        if not future.done():
            future.set_result(None)
    waiters.clear()
