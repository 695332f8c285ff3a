"""One client connection to a Redis server, the same for a real server and for the simulated one.

On the wall clock it speaks RESP through redis-py; in the simulator it sends ``{"command": [...]}`` over a connection
of the runtime and receives ``{"reply": ...}`` or ``{"error": "CODE text"}``. How a command ends is the same in both:

* a reply is returned: ``str``, ``int``, ``None`` or a list of these (statuses such as ``OK`` are strings);
* an error reply raises :class:`RedisError`: the server refused, and the command changed nothing;
* no connection could be made: ``Definite``, for nothing was sent;
* it was sent and no reply came (time-out, broken connection): ``Indefinite``. The connection is then dropped, for the
  reply may still come and would be taken for that of the next command; the next command makes a new one.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final, Protocol, TypeVar

import redis.exceptions
from redis.asyncio import Connection as RespConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from foreshock.harness.cluster import Endpoint
from foreshock.harness.errors import Definite, HarnessError, Indefinite, OperationError
from foreshock.harness.runtime import (
    Connection,
    ConnectionClosed,
    ConnectionRefused,
    Runtime,
    TimeoutExpired,
)
from foreshock.targets.redis.scripts import Script

T = TypeVar("T")
Word = str | int | bytes
Reply = Any
"""``str``, ``int``, ``None`` or a list of replies."""

_MS: Final = 1_000_000
ASK_TIMEOUT_MS: Final = 500


class RedisError(Definite):
    """The server answered with an error: the command was refused and had no effect.

    ``code`` is the first word of the error (``ERR``, ``OOM``, ``NOSCRIPT``, ``LOADING``, ...), ``text`` the rest. A
    script of ours that fails half-way would be an exception to this; none of them can.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"the redis server refused: {code} {text}")
        self.code = code
        self.text = text


class RedisConnection:
    """Commands to one server, one at a time; connects with the first command and again after a failure.

    ``timeout_ms`` bounds each command, the making of the connection included. With ``once`` a real server that hung up
    is not connected to again (``Definite``): for what was found out of it over this very connection, its role say.
    """

    def __init__(self, runtime: Runtime, endpoint: Endpoint, timeout_ms: int, *, once: bool = False) -> None:
        self._runtime = runtime
        self._timeout_ms = timeout_ms
        self._name = f"{endpoint.host}:{endpoint.port}"
        make = _SimulatedTransport if runtime.simulated else _RespTransport
        self._transport: _Transport = make(runtime, endpoint)
        self._busy = False
        self._once = once

    async def execute(self, *words: Word, timeout_ms: int | None = None) -> Reply:
        """Send one command and return its reply; see the module's text for how it may end.

        ``timeout_ms`` takes the place of the connection's own for this command.
        """
        if self._busy:
            raise HarnessError(
                f"a command to {self._name} is under way on this connection: one at a time, or use another connection"
            )
        self._busy = True
        try:
            return await self._execute(words, self._timeout_ms if timeout_ms is None else timeout_ms)
        finally:
            self._busy = False

    async def run_script(
        self, script: Script, keys: list[str], arguments: list[Word], *, timeout_ms: int | None = None
    ) -> Reply:
        """Run a script by its digest; where the server does not know it yet (it was restarted, say), by its text."""
        rest: list[Word] = [len(keys), *keys, *arguments]
        try:
            return await self.execute("EVALSHA", script.digest, *rest, timeout_ms=timeout_ms)
        except RedisError as refused:
            if refused.code != "NOSCRIPT":
                raise
        return await self.execute("EVAL", script.lua, *rest, timeout_ms=timeout_ms)

    async def close(self) -> None:
        """Drop the connection; idempotent."""
        await self._transport.drop()

    async def _execute(self, words: tuple[Word, ...], timeout_ms: int) -> Reply:
        deadline_ns = self._runtime.now() + timeout_ms * _MS
        try:
            if not self._transport.connected:
                await self._bounded(self._transport.connect(), deadline_ns)
            if self._once and self._transport.made > 1:
                raise ConnectionRefused(f"{self._name} hung up")
        except TimeoutExpired:
            raise Definite(f"no connection to {self._name} within {timeout_ms} ms") from None
        except ConnectionRefused as refused:
            raise Definite(str(refused)) from None
        answered = False
        try:
            reply = await self._bounded(self._transport.exchange(words), deadline_ns)
            answered = True
        except TimeoutExpired:
            raise Indefinite(f"no answer from {self._name} within {timeout_ms} ms") from None
        except ConnectionRefused as refused:
            raise Definite(str(refused)) from None
        except ConnectionClosed as closed:
            raise Indefinite(f"the connection to {self._name} broke: {closed}") from None
        except RedisError:
            answered = True
            raise
        finally:
            if not answered:  # also when it was cancelled
                await self._transport.drop()
        return reply

    async def _bounded(self, awaitable: Coroutine[Any, Any, T], deadline_ns: int) -> T:
        return await self._runtime.timeout(awaitable, max(deadline_ns - self._runtime.now(), 0))


async def ask(runtime: Runtime, endpoint: Endpoint, *words: Word, timeout_ms: int = ASK_TIMEOUT_MS) -> Reply:
    """The reply to one command on a connection of its own; ``None`` when there is none in time, or it is refused."""
    connection = RedisConnection(runtime, endpoint, timeout_ms)
    try:
        return await connection.execute(*words)
    except OperationError:
        return None
    finally:
        await connection.close()


class _Transport(Protocol):
    """How commands travel."""

    made: int
    """How many connections were made."""

    @property
    def connected(self) -> bool:
        """Whether a command can be sent without a look at the connection first."""

    async def connect(self) -> None:
        """Be connected; raises ``ConnectionRefused``."""

    async def exchange(self, words: tuple[Word, ...]) -> Reply:
        """Send a command and receive its reply; raises ``RedisError`` or ``ConnectionClosed``."""

    async def drop(self) -> None:
        """Drop the connection without waiting for anybody; idempotent."""


class _SimulatedTransport:
    def __init__(self, runtime: Runtime, endpoint: Endpoint) -> None:
        self._runtime = runtime
        self._endpoint = endpoint
        self._connection: Connection | None = None
        self.made = 0

    @property
    def connected(self) -> bool:
        return self._connection is not None

    async def connect(self) -> None:
        if self._connection is None:
            self._connection = await self._runtime.connect(self._endpoint)
            self.made += 1

    async def exchange(self, words: tuple[Word, ...]) -> Reply:
        command = {"command": [_text(word) for word in words]}
        connection = self._connection
        if connection is None:
            raise ConnectionClosed("it was dropped")
        try:
            await connection.send(command)
        except ConnectionClosed:  # it was closed while nothing was under way, so nothing has been sent yet
            await self.drop()
            connection = self._connection = await self._runtime.connect(self._endpoint)
            await connection.send(command)
        answer = await connection.receive()
        if "error" in answer:
            raise _error_of(str(answer["error"]))
        return answer.get("reply")

    async def drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _RespTransport:
    """redis-py's connection: its handshake, encoder and parser, with neither its retries nor its time-outs."""

    def __init__(self, runtime: Runtime, endpoint: Endpoint) -> None:  # noqa: ARG002 - as the simulated one
        self._endpoint = endpoint
        self._connection: RespConnection | None = None
        self.made = 0

    @property
    def connected(self) -> bool:
        return False  # the server may have hung up meanwhile, which connect() finds out

    async def connect(self) -> None:
        if self._connection is not None:
            if not await _is_stale(self._connection):
                return
            await self.drop()
        connection = RespConnection(
            host=self._endpoint.host,
            port=self._endpoint.port,
            socket_timeout=None,
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            encoding_errors="surrogateescape",
            protocol=2,
        )
        connected = False
        try:
            untyped: Any = connection
            await untyped.connect()
            connected = True
        except (redis.exceptions.RedisError, OSError) as problem:
            raise ConnectionRefused(
                f"no connection to {self._endpoint.host}:{self._endpoint.port}: {problem}"
            ) from (problem)
        finally:
            if not connected:
                await connection.disconnect(nowait=True)
        self._connection = connection
        self.made += 1

    async def exchange(self, words: tuple[Word, ...]) -> Reply:
        connection = self._connection
        if connection is None:
            raise ConnectionClosed("it was dropped")
        try:
            await connection.send_command(*words)
            return await connection.read_response()
        except (
            redis.exceptions.BusyLoadingError
        ) as loading:  # to redis-py a broken connection, and so it hangs up
            await self.drop()
            raise RedisError("LOADING", str(loading)) from None
        except redis.exceptions.ResponseError as refused:
            raise _error_of(_with_code(refused)) from None
        except (redis.exceptions.RedisError, OSError) as broken:
            raise ConnectionClosed(str(broken)) from broken

    async def drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


async def _is_stale(connection: RespConnection) -> bool:
    """Whether the server has hung up (or said something that nobody asked for) while no command was under way."""
    untyped: Any = connection
    can_read = (
        getattr(untyped, "can_read", None) or untyped.can_read_destructive
    )  # by the version of redis-py
    try:
        return bool(await can_read())
    except (redis.exceptions.RedisError, OSError):
        return True


_CODES: Final[tuple[tuple[type[redis.exceptions.RedisError], str], ...]] = (
    (redis.exceptions.NoScriptError, "NOSCRIPT"),
    (redis.exceptions.OutOfMemoryError, "OOM"),
    (redis.exceptions.ReadOnlyError, "READONLY"),
)
"""The codes that redis-py takes off the text, for classes of its own in their place."""


def _with_code(refused: redis.exceptions.RedisError) -> str:
    """The error as the server sent it."""
    for cls, code in _CODES:
        if isinstance(refused, cls):
            return f"{code} {refused}"
    first = str(refused).partition(" ")[0]
    return str(refused) if first.isalpha() and first.isupper() else f"ERR {refused}"


def _error_of(text: str) -> RedisError:
    code, _, rest = text.partition(" ")
    return RedisError(code, rest)


def _text(word: Word) -> str:
    """A word as the server gives it back: text, with bytes that are none of UTF-8 escaped."""
    return word.decode("utf-8", "surrogateescape") if isinstance(word, bytes) else str(word)
