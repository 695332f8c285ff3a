"""What the clients of the reference node have in common: attempts, leader hints, sessions, and honest endings.

An operation is sent again and again, to one node after the other, until it is answered or its deadline comes. The
clients run over the :class:`~foreshock.harness.runtime.Runtime` port alone, so in both worlds.

How an operation ends. A request is *uncertain* once an attempt was sent and got no answer, or an indefinite one: the
cluster may have taken it into its log, now or later. A replicated request is sent again under the same session and
sequence number, so whatever answer the state machine gives to any attempt is the answer to the one time that it
took effect, and ends all doubt. A refusal without having been logged ends no doubt about the attempts before: at
the deadline an uncertain operation is ``Indefinite``, and only one of which no attempt can have been logged is
``Definite``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from foreshock.harness.errors import Definite, Indefinite, OperationError
from foreshock.harness.runtime import (
    Connection,
    ConnectionClosed,
    ConnectionRefused,
    Message,
    TimeoutExpired,
)
from foreshock.harness.target import ClientContext
from foreshock.targets.reference.node import codes

Body = dict[str, Any]

_MS: Final = 1_000_000
_REFUSED_BY_STATE: Final = frozenset({codes.KEY_DOES_NOT_EXIST, codes.PRECONDITION_FAILED})
_NEVER_RIGHT: Final = frozenset({codes.NOT_SUPPORTED, codes.MALFORMED})
_HINTS_FOLLOWED_AT_ONCE: Final = 2


class ClientSettings(msgspec.Struct, frozen=True):
    """How a client behaves. Times are in ms."""

    attempt_timeout_ms: int = 1_000
    """How long one attempt may take before another node is tried."""

    retry_ms_min: int = 5
    """The first pause after a refusal; it doubles with each."""

    retry_ms_max: int = 200
    """The longest pause."""

    session_ttl_ms: int = 60_000
    """How long the client's session may be silent."""


class SessionLost(OperationError):
    """The session is gone. ``uncertain``: an earlier attempt of the request may have taken effect before that."""

    def __init__(self, text: str, *, uncertain: bool) -> None:
        super().__init__(text)
        self.uncertain = uncertain


class ReferenceClient:
    """One process's client. It has one connection at a time, and one operation under way."""

    service: ClassVar[str] = "none"

    def __init__(self, context: ClientContext, settings: ClientSettings = ClientSettings()) -> None:  # noqa: B008
        self.context = context
        self.settings = settings
        self.attempts = 0
        """How many attempts the last operation took so far."""
        self.session: int | None = None
        self.session_ttl_ms = settings.session_ttl_ms
        self._runtime = context.runtime
        self._nodes = context.nodes
        self._at = next((i for i, node in enumerate(self._nodes) if node.name == context.node.name), 0)
        self._connection: Connection | None = None
        self._messages = 0
        self._sequence = 0

    async def open(self) -> None:
        """Nothing yet: the client connects with its first request."""

    async def close(self) -> None:
        """Drop the connection. The session is left to run out: closing it could free a lock still believed in."""
        self._disconnect()

    def deadline_ns(self) -> int:
        """When an operation that starts now is to end: a little before the interpreter would end it."""
        timeout_ms = self.context.timeout_ms
        return self._runtime.now() + (timeout_ms - min(timeout_ms // 10, 200)) * _MS

    async def query(self, body: Body) -> Body:
        """Ask something that changes nothing; returns the reply's body."""
        self.attempts = 0
        return await self._perform(body, self.deadline_ns())

    async def replicate(
        self, body: Body, *, deadline_ns: int | None = None, wait_ms: int = 0, reopen: bool = True
    ) -> Body:
        """Have a request take effect once; returns the reply's body.

        ``wait_ms`` is how much longer than usual the node may take to answer. With ``reopen``, a request of a session
        that is gone is made anew in another session when no attempt can have taken effect. Raises ``Definite``,
        ``Indefinite`` or :class:`SessionLost`.
        """
        self.attempts = 0
        deadline = self.deadline_ns() if deadline_ns is None else deadline_ns
        while True:
            session = await self._session(deadline)
            self._sequence += 1
            request = {**body, "client": session, "seq": self._sequence}
            try:
                return await self._perform(request, deadline, wait_ms=wait_ms)
            except SessionLost as lost:
                self.session = None
                if lost.uncertain or not reopen:
                    raise

    async def _session(self, deadline_ns: int) -> int:
        if self.session is None:
            attempts = self.attempts
            request = {"type": "open", "ttl_ms": self.settings.session_ttl_ms}
            try:
                reply = await self._perform(request, deadline_ns)
            except (
                OperationError
            ) as problem:  # at worst there is a session that nobody uses, until it expires
                raise Definite(f"no session could be opened: {problem}") from None
            self.session, self.session_ttl_ms, self._sequence = reply["client"], reply["ttl_ms"], 0
            self.attempts = attempts  # those for the session are none of the operation's
        return self.session

    async def _perform(self, body: Body, deadline_ns: int, *, wait_ms: int = 0, resend: bool = True) -> Body:
        """Make attempts until one is answered for good; see the module's text for how this ends."""
        uncertain = False
        hints = 0
        pause_ms = self.settings.retry_ms_min
        reason = "there was no time for an attempt"
        while (remaining_ns := deadline_ns - self._runtime.now()) > 0 and (resend or not uncertain):
            attempt_ns = (self.settings.attempt_timeout_ms + wait_ms) * _MS
            sent = False
            try:
                connection = await self._connect(min(remaining_ns, self.settings.attempt_timeout_ms * _MS))
                self.attempts += 1
                sent = True
                remaining_ns = max(deadline_ns - self._runtime.now(), 1)
                exchange = self._exchange(connection, body)
                reply = await self._runtime.timeout(exchange, min(attempt_ns, remaining_ns))
            except (ConnectionRefused, ConnectionClosed, TimeoutExpired) as problem:
                uncertain = uncertain or sent
                name = self._nodes[self._at].name
                why = (
                    "no answer" if isinstance(problem, TimeoutExpired) else str(problem) or "connection lost"
                )
                reason = f"{name}: {why}"
                self._go_to(None)
            else:
                if reply.get("type") != "error":
                    return reply
                reason = self._judge(reply, uncertain=uncertain)
                uncertain = uncertain or reply.get("code") != codes.TEMPORARILY_UNAVAILABLE
                if self._go_to(reply.get("leader")) and hints < _HINTS_FOLLOWED_AT_ONCE:
                    hints += 1
                    continue
            pause_ns = min(pause_ms * _MS, max(deadline_ns - self._runtime.now(), 0))
            await self._runtime.sleep(pause_ns)
            pause_ms = min(2 * pause_ms, self.settings.retry_ms_max)
        text = f"{reason} ({self.attempts} attempts)"
        raise Indefinite(text) if uncertain else Definite(text)

    def _judge(self, reply: Body, *, uncertain: bool) -> str:
        """Raise what ends the operation; returns the reason when another attempt is called for."""
        code, text = reply.get("code"), f"{reply.get('text')} ({self.attempts} attempts)"
        if code in _REFUSED_BY_STATE:
            raise Definite(text)
        if code == codes.SESSION_UNKNOWN:
            raise SessionLost(text, uncertain=uncertain)
        if code in _NEVER_RIGHT:
            raise Indefinite(text) if uncertain else Definite(text)
        if code == codes.SEQUENCE_STALE:
            raise Indefinite(text)
        return f"{self._nodes[self._at].name}: {reply.get('text')}"

    async def _connect(self, timeout_ns: int) -> Connection:
        if self._connection is None:
            endpoint = self._nodes[self._at].endpoint
            self._connection = await self._runtime.timeout(self._dial(endpoint), timeout_ns)
        return self._connection

    async def _dial(self, endpoint: Any) -> Connection:
        return await self._runtime.connect(endpoint)

    async def _exchange(self, connection: Connection, body: Body) -> Body:
        self._messages += 1
        number = self._messages
        message: Message = {
            "src": self.context.identity,
            "dest": self._nodes[self._at].name,
            "body": {**body, "msg_id": number},
        }
        await connection.send(message)
        while True:
            answer = (await connection.receive()).get("body")
            if isinstance(answer, dict):
                answers = answer.get("in_reply_to")
                if (
                    answers is None or answers == number
                ):  # to nothing in particular: the node is about to hang up
                    return answer

    def _go_to(self, leader: Any) -> bool:
        """Turn to the leader that was named, or else to the next node; says whether it followed a hint."""
        here = self._at
        hinted = next((i for i, node in enumerate(self._nodes) if node.name == leader), None)
        self._at = (here + 1) % len(self._nodes) if hinted is None else hinted
        if self._at != here or hinted is None:
            self._disconnect()
        return hinted is not None and hinted != here

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
