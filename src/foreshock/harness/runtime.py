"""The port between a test's logic and the world it runs in.

All logic of a test is written once against :class:`Runtime` and runs in two worlds: on the wall clock with
real sockets (``AsyncioRuntime``) and in virtual time (``SimRuntime``). Coroutines await only what the
runtime hands out; nothing else may be awaited by code that is to run in both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from foreshock.harness.errors import ForeshockError
from foreshock.harness.randomness import RandomStream

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Message = dict[str, Any]
"""One JSON object on the wire (Maelstrom-shaped: ``src``, ``dest``, ``body``). Never mutated once sent."""


class TimeoutExpired(ForeshockError):
    """A bounded wait ran out of time."""


class Cancelled(BaseException):
    """Thrown into a coroutine of the simulator that was cancelled (asyncio has its own)."""

    outdated = False
    """It comes from the bound of a wait that has ended, so it must not be thrown any more."""


class ConnectionClosed(ForeshockError):
    """The connection is gone: whether the peer got the last messages is unknown."""


class ConnectionRefused(ForeshockError):
    """No connection was made, so nothing was sent."""


class Address(Protocol):
    """Where a node listens."""

    @property
    def host(self) -> str:
        """Host name or address; the node's name in the simulator."""

    @property
    def port(self) -> int:
        """Port number."""


class Connection(Protocol):
    """A FIFO connection of JSON messages; it breaks whole or stays half-open."""

    async def send(self, message: Message) -> None:
        """Queue one message; waits while the peer is slow. Raises :class:`ConnectionClosed`."""

    async def receive(self) -> Message:
        """The next message. Raises :class:`ConnectionClosed` at the end of the stream or on a broken one."""

    def close(self) -> None:
        """Close at once; idempotent."""


class Channel(Protocol, Generic[T]):
    """A bounded FIFO queue between coroutines of one runtime."""

    def put(self, item: T) -> None:
        """Add an item without waiting; raises :class:`OverflowError` when the channel is full."""

    async def get(self) -> T:
        """The next item, waiting for one."""

    def __len__(self) -> int:
        """How many items wait."""


class Task(Protocol[T_co]):
    """A spawned coroutine."""

    def cancel(self) -> None:
        """Ask it to stop at its next await; idempotent."""

    def done(self) -> bool:
        """Whether it has ended, in whatever way."""

    async def wait(self) -> T_co:
        """Its result; re-raises its exception, or :class:`Cancelled` / ``asyncio.CancelledError``."""


class Runtime(Protocol):
    """What a test's logic may ask of the world."""

    @property
    def simulated(self) -> bool:
        """Whether time is virtual here."""

    def now(self) -> int:
        """Nanoseconds since the runtime started, monotonic."""

    async def sleep(self, duration_ns: int) -> None:
        """Let the given time pass; zero yields to the other coroutines."""

    def spawn(self, coroutine: Coroutine[Any, Any, T], *, name: str) -> Task[T]:
        """Start a coroutine beside this one. An exception in one that nobody waits for ends the test."""

    def channel(self, capacity: int) -> Channel[Any]:
        """A new bounded channel."""

    async def timeout(self, awaitable: Coroutine[Any, Any, T], duration_ns: int) -> T:
        """Await with a bound; cancels it and raises :class:`TimeoutExpired` when the bound passes first."""

    async def select(
        self, channels: list[Channel[Any]], duration_ns: int | None = None
    ) -> tuple[int, Any] | None:
        """The index of the first channel with an item, and the item; ``None`` when the time is up."""

    async def connect(self, address: Address) -> Connection:
        """Open a connection to a node. Raises :class:`ConnectionRefused`; bound it with :meth:`timeout`."""

    async def listen(
        self, address: Address, serve: Callable[[Connection], Awaitable[None]]
    ) -> Callable[[], None]:
        """Serve connections at an address; returns what closes the listener."""

    def random(self, name: str) -> RandomStream:
        """The named stream of seeded randomness; the same name gives the same stream."""

    async def call(self, function: Callable[[], T]) -> T:
        """Run a blocking function off the loop (a thread); in the simulator it runs at once, in no time."""
