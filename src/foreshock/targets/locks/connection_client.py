"""The client of a lock that lives with a connection: of ``tcp-lock``'s server, and of ``shm-lock``'s agents.

It reads only while an operation is under way, and that is when it answers the server's pings: there is no keep-alive
behind the caller's back. So a client that stands still is silent, and what a process may believe can be read off its
history: a grant lasts until ``ttl_ms`` after the *call* of the last acknowledged acquire or renew, for the server keeps
the lock for longer than that after it has heard of it.

A connection that brought no answer in time is closed, and with it goes whatever the client held.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from foreshock.harness.cluster import Node
from foreshock.harness.errors import Definite, Indefinite
from foreshock.harness.runtime import Connection, ConnectionClosed, ConnectionRefused, TimeoutExpired
from foreshock.harness.services import Grant, Key
from foreshock.harness.target import ClientContext
from foreshock.targets.reference.node import codes

Body = dict[str, Any]

_MS: Final = 1_000_000
_IN_DOUBT: Final = frozenset({codes.TIMEOUT, codes.CRASH})
_MESSAGES_PER_OPERATION_MAX: Final = 10_000


class Lost(Exception):
    """The connection is gone, or brought no answer in time, after the request was sent."""


class ConnectionLockClient:
    """One process's client. It has one connection to ``server``, and one operation under way."""

    service: ClassVar[str] = "lock"

    def __init__(self, context: ClientContext, server: Node) -> None:
        self._context = context
        self._runtime = context.runtime
        self._server = server
        self._connection: Connection | None = None
        self._messages = 0

    async def open(self) -> None:
        """Nothing yet: the client connects with its first acquire."""

    async def close(self) -> None:
        """End the connection; the server takes back what it held."""
        self._hang_up()

    async def acquire(self, key: Key, wait_ms: int) -> Grant:
        """Take the lock, waiting at most ``wait_ms`` (0: try only); ``Definite`` when it was certainly not granted."""
        deadline_ns = self._deadline_ns()
        await self._connect(deadline_ns)
        try:
            reply = await self._ask({"type": "acquire", "key": key, "wait_ms": wait_ms}, deadline_ns)
        except Lost as lost:
            raise Indefinite(f"the acquire ended in doubt, and with its connection: {lost}") from None
        return Grant(token=reply["token"], ttl_ms=reply["ttl_ms"])

    async def renew(self, key: Key, token: int | None) -> Grant:
        """Show the server that the client is there; ``Definite`` when the lock is no longer held."""
        self._need_connection()
        try:
            reply = await self._ask({"type": "renew", "key": key, "token": token}, self._deadline_ns())
        except Lost as lost:  # whatever the server has heard of it: with the connection the lock is gone
            raise Definite(f"the lock is lost with its connection: {lost}") from None
        return Grant(token=reply["token"], ttl_ms=reply["ttl_ms"])

    async def release(self, key: Key, token: int | None) -> None:
        """Give the lock back; ``Definite`` when this client did not hold it."""
        self._need_connection()
        try:
            await self._ask({"type": "release", "key": key, "token": token}, self._deadline_ns())
        except Lost as lost:
            raise Indefinite(f"the release ended in doubt, and with its connection: {lost}") from None

    def _deadline_ns(self) -> int:
        """When an operation that starts now is to end: a little before the interpreter would end it."""
        timeout_ms = self._context.timeout_ms
        return self._runtime.now() + (timeout_ms - min(timeout_ms // 10, 200)) * _MS

    def _need_connection(self) -> None:
        if self._connection is None:
            raise Definite("this client has no connection to the lock's server, so it holds no lock")

    async def _connect(self, deadline_ns: int) -> None:
        if self._connection is not None:
            return
        try:
            dialled = self._runtime.connect(self._server.endpoint)
            self._connection = await self._bounded(dialled, deadline_ns)
        except (ConnectionRefused, TimeoutExpired) as problem:
            raise Definite(f"{self._server.name} cannot be reached: {problem}") from None

    async def _ask(self, body: Body, deadline_ns: int) -> Body:
        """The answer to a request; raises :class:`Lost`, or what an error reply says."""
        try:
            reply: Body = await self._bounded(self._exchange(body), deadline_ns)
        except (ConnectionClosed, TimeoutExpired) as problem:
            self._hang_up()
            why = "there was no answer in time" if isinstance(problem, TimeoutExpired) else str(problem)
            raise Lost(f"{self._server.name}: {why}") from None
        if reply.get("type") != "error":
            return reply
        if reply.get("code") in _IN_DOUBT:
            raise Indefinite(str(reply.get("text")))
        raise Definite(str(reply.get("text")))

    async def _bounded(self, awaitable: Any, deadline_ns: int) -> Any:
        return await self._runtime.timeout(awaitable, max(deadline_ns - self._runtime.now(), 1))

    async def _exchange(self, body: Body) -> Body:
        connection = self._connection
        if connection is None:
            raise ConnectionClosed("the connection was closed here")
        self._messages += 1
        number = self._messages
        await self._send(connection, {**body, "msg_id": number})
        for _ in range(_MESSAGES_PER_OPERATION_MAX):
            answer = (await connection.receive()).get("body")
            if not isinstance(answer, dict):
                continue
            answers = answer.get("in_reply_to")
            if answer.get("type") == "ping":
                await self._send(connection, {"type": "pong"})
            elif answers == number or (answers is None and answer.get("type") == "error"):
                return answer  # an error in reply to nothing in particular: the server is about to hang up
        raise ConnectionClosed("the server said a great deal, but did not answer")

    async def _send(self, connection: Connection, body: Body) -> None:
        await connection.send({"src": self._context.identity, "dest": self._server.name, "body": body})

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
