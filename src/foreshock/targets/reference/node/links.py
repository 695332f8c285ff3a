"""The connections of a node to its peers: one to each, made by this side, and only spoken on by this side."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from foreshock.targets.reference.node.addresses import Address
from foreshock.targets.reference.node.wire import BadLine, Message, decode_line, encode_line

QUEUE_MESSAGES_MAX: Final = 1024
"""Messages that may wait for a slow peer; more, and the oldest are dropped: the protocol takes loss lightly."""

_CONNECT_SECONDS = 1.0
_RETRY_SECONDS_MIN = 0.05
_RETRY_SECONDS_MAX = 1.0
_TURNED_AWAY_SECONDS = 5.0
_UNACKNOWLEDGED_MS = 2_000
_BUFFER_BYTES_MAX = 1 << 20
_BATCH_BYTES_MAX = 256 * 1024


class Link:
    """Carries messages to one peer, in order while a connection holds; reconnects for ever, with back-off.

    ``greeting`` is the ``wire.hello`` that each connection begins with; it names both ends.
    """

    def __init__(
        self,
        greeting: Message,
        address: Address,
        encode: Callable[[Any], Any],
        log: Callable[[str], None],
    ) -> None:
        self._greeting = greeting
        self._name: str = greeting["src"]
        self._peer: str = greeting["dest"]
        self._encode = encode
        self._address = address
        self._log = log
        self._queue: deque[Any] = deque(maxlen=QUEUE_MESSAGES_MAX)
        self._ready = asyncio.Event()
        self._up: bool | None = None
        self._turned_away: str | None = None

    def send(self, message: Any) -> None:
        """Queue a message of the protocol."""
        self._queue.append(message)
        self._ready.set()

    async def run(self) -> None:
        """Keep a connection to the peer; ends only by being cancelled."""
        retry_seconds = _RETRY_SECONDS_MIN
        while True:
            try:
                async with asyncio.timeout(
                    _CONNECT_SECONDS
                ):  # wait_for may swallow a cancellation, and go on for ever
                    reader, writer = await asyncio.open_connection(*self._address)
            except (OSError, TimeoutError) as problem:
                self._say(up=False, why=str(problem) or "no answer")
                await asyncio.sleep(retry_seconds)
                retry_seconds = min(2 * retry_seconds, _RETRY_SECONDS_MAX)
                continue
            self._queue.clear()  # what waited for the connection is out of date by now
            began = asyncio.get_running_loop().time()
            refusal = await self._speak(reader, writer)
            lasted = asyncio.get_running_loop().time() - began
            if refusal is not None:
                await asyncio.sleep(_TURNED_AWAY_SECONDS)
            elif lasted > 1:
                retry_seconds = _RETRY_SECONDS_MIN
            else:
                await asyncio.sleep(retry_seconds)
                retry_seconds = min(2 * retry_seconds, _RETRY_SECONDS_MAX)

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
        """Send on the connection until it breaks; returns what the peer said if it turned this node away."""
        _configure(writer)
        writer.write(encode_line(self._greeting))
        listening = asyncio.create_task(self._listen(reader))
        writing = asyncio.create_task(self._write(writer))
        try:
            await asyncio.wait({listening, writing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listening, writing):
                task.cancel()
            ends = await asyncio.gather(listening, writing, return_exceptions=True)
            writer.close()
        for end in ends:
            if isinstance(end, Exception):
                raise end
        refusal = ends[0] if isinstance(ends[0], str) else None
        if refusal is not None and refusal != self._turned_away:
            self._log(f"{self._name} was turned away by its peer {self._peer}: {refusal}")
        self._turned_away = refusal
        self._say(up=False, why="the connection broke")
        return refusal

    async def _listen(self, reader: asyncio.StreamReader) -> str | None:
        """The peer says ``hello_ok`` or an error, and nothing else until the connection ends."""
        try:
            while line := await reader.readline():
                body = decode_line(line).get("body")
                if isinstance(body, dict) and body.get("type") == "error":
                    return str(body.get("text"))[:400]
                self._say(up=True, why="")
        except (OSError, ValueError, BadLine):
            return None
        return None

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._ready.wait()
                batch = bytearray()
                while self._queue and len(batch) < _BATCH_BYTES_MAX:
                    body = {"type": "protocol", "message": self._encode(self._queue.popleft())}
                    batch += encode_line({"src": self._name, "dest": self._peer, "body": body})
                if not self._queue:
                    self._ready.clear()
                writer.write(batch)
                await writer.drain()
        except OSError:
            return

    def _say(self, *, up: bool, why: str) -> None:
        if up is self._up:
            return
        self._up = up
        if up:
            self._log(f"{self._name} is connected to {self._peer}")
        else:
            self._log(f"{self._name} cannot reach {self._peer} at {self._address}: {why}; it goes on trying")


def _configure(writer: asyncio.StreamWriter) -> None:
    writer.transport.set_write_buffer_limits(high=_BUFFER_BYTES_MAX)
    connection = writer.get_extra_info("socket")
    if connection is None:
        return
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A cut link must not leave the kernel backing off for longer than the cut lasted: give up early, connect anew.
    unacknowledged = getattr(socket, "TCP_USER_TIMEOUT", None)
    if unacknowledged is not None:
        connection.setsockopt(socket.IPPROTO_TCP, unacknowledged, _UNACKNOWLEDGED_MS)
