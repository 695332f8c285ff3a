"""Accepted connections: lines in, lines out. What arrives may be anything at all, and never ends the node."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import TYPE_CHECKING, Final

from foreshock.targets.reference.node.codes import MALFORMED
from foreshock.targets.reference.node.wire import (
    CLIENT_LINE_BYTES_MAX,
    PEER_LINE_BYTES_MAX,
    BadLine,
    Message,
    decode_line,
    encode_line,
    is_hello,
    malformed,
    refusal,
    turned_away,
)

if TYPE_CHECKING:
    from foreshock.targets.reference.node.server import Server

_WRITE_BUFFER_BYTES_MAX: Final = 1 << 20
_SENTENCE_MAX: Final = 400

UNANSWERED_MAX: Final = 256
"""So many requests of a client may be under way; the next stay in its own socket until half of them are answered."""

_PATIENCE_SECONDS: Final = 5.0
"""A client that is not read from for so long is read from again: not every message need have an answer."""


class Connection(asyncio.Protocol):
    """One accepted connection. It is a client's until its first line says that it is a peer's.

    Replies of one turn of the loop leave in one write. A client that does not read its replies is not read from, nor is
    one that has :data:`UNANSWERED_MAX` requests under way: whoever floods the node is slowed, and nobody else.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._number: int | None = None
        self._peer: str | None = None
        self._begun = False
        self._closing = False
        self._tail = bytearray()
        self._replies: list[bytes] = []
        self._replies_bytes = 0
        self._lines: deque[bytearray] = deque()
        self._unanswered = 0
        self._held: asyncio.TimerHandle | None = None
        self._unread = False
        self._transport: asyncio.Transport

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, unless there are too many."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES_MAX)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._number = self._server.admit(self)
        if self._number is None:
            self.close()

    def connection_lost(self, problem: Exception | None) -> None:  # noqa: ARG002
        """The connection is gone."""
        self._closing = True
        self._forget_wait()
        if self._number is not None:
            self._server.dismiss(self._number)

    def pause_writing(self) -> None:
        """The other end does not read: neither does this one."""
        self._unread = True
        self._read_or_not()

    def resume_writing(self) -> None:
        """The other end reads again."""
        self._unread = False
        self._server.guard(self._take_lines)

    def data_received(self, data: bytes) -> None:
        """Take lines out of what arrived."""
        self._tail += data
        if b"\n" in data:
            *lines, rest = self._tail.split(b"\n")
            self._tail = rest
            self._lines.extend(lines)
            self._server.guard(self._take_lines)
        limit = CLIENT_LINE_BYTES_MAX if self._peer is None else PEER_LINE_BYTES_MAX
        if len(self._tail) > limit and not self._closing:
            self._reject(f"a line may be {limit} bytes long at most")

    # --- lines --------------------------------------------------------------------------------------------------

    def reply(self, message: Message) -> None:
        """Send a message when this turn of the loop ends; or now, when there is much to send.

        One turn may answer thousands of requests, and only what was written tells that the other end does not read.
        """
        if not self._replies:
            asyncio.get_running_loop().call_soon(self._flush)
        line = encode_line(message)
        self._replies.append(line)
        self._replies_bytes += len(line)
        if self._replies_bytes > _WRITE_BUFFER_BYTES_MAX:
            self._flush()

    def answer(self, message: Message) -> None:
        """Reply to a request, which makes room for another."""
        self._unanswered -= 1
        self.reply(message)
        if self._held is not None and self._unanswered == UNANSWERED_MAX // 2:
            asyncio.get_running_loop().call_soon(self._go_on)

    def close(self) -> None:
        """Send what is there, and close."""
        self._closing = True
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._replies and not self._transport.is_closing():
            self._transport.write(b"".join(self._replies))
        self._replies.clear()
        self._replies_bytes = 0

    def _take_lines(self) -> None:
        while self._lines and not self._closing and not self._must_wait():
            line = self._lines.popleft()
            if not line.strip():
                continue
            if self._peer is None and len(line) > CLIENT_LINE_BYTES_MAX:
                self._reject(f"a line may be {CLIENT_LINE_BYTES_MAX} bytes long at most")
                return
            try:
                self._take(decode_line(line))
            except BadLine as problem:
                self._reject(str(problem), close=self._peer is not None)
        self._read_or_not()

    def _must_wait(self) -> bool:
        return self._unread or (self._unanswered >= UNANSWERED_MAX and self._peer is None)

    def _read_or_not(self) -> None:
        """Read from the other end only while its requests can be taken."""
        if self._transport.is_closing():
            return
        if not self._must_wait():
            self._forget_wait()
            self._transport.resume_reading()
            return
        self._transport.pause_reading()
        if self._held is None and not self._unread:
            self._held = asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, self._go_on, 0)

    def _forget_wait(self) -> None:
        if self._held is not None:
            self._held.cancel()
            self._held = None

    def _go_on(self, unanswered: int | None = None) -> None:
        """Take more requests: enough have been answered, or (``unanswered``) will never be."""
        self._forget_wait()
        if unanswered is not None:
            self._unanswered = unanswered
        self._server.guard(self._take_lines)

    def _take(self, message: Message) -> None:
        begun, self._begun = self._begun, True
        if self._peer is not None:
            self._take_from_peer(self._peer, message)
        elif is_hello(message):
            if begun:
                raise BadLine("a hello must be the first line of a connection")
            self._welcome(message)
        elif self._number is not None:
            self._unanswered += 1
            self._server.on_request(self._number, message)

    def _welcome(self, message: Message) -> None:
        configuration = self._server.configuration
        reason = turned_away(message, self._server.greeting, self._server.peers)
        if reason is not None:
            self._server.log(reason[:_SENTENCE_MAX])
            self.reply(refusal(configuration.name, MALFORMED, reason[:_SENTENCE_MAX]))
            self.close()
            return
        self._peer = message["src"]
        self.reply({"src": configuration.name, "dest": self._peer, "body": {"type": "hello_ok"}})

    def _take_from_peer(self, peer: str, message: Message) -> None:
        body = message.get("body")
        if not isinstance(body, dict) or body.get("type") != "protocol":
            raise BadLine("a peer says nothing but messages of the protocol")
        try:
            decoded = self._server.decode(body.get("message"))
        except ValueError as problem:
            raise BadLine(f"the message makes no sense: {problem}") from None
        self._server.on_peer(peer, decoded)

    def _reject(self, text: str, *, close: bool = True) -> None:
        name = self._server.configuration.name
        if self._peer is not None:
            self._server.log(f"{name} closes the connection of its peer {self._peer}: {text[:_SENTENCE_MAX]}")
        self.reply(malformed(name, text[:_SENTENCE_MAX]))
        if close:
            self.close()
