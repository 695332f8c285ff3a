"""FIFO connections: between programs, and between harness coroutines and programs or each other.

A connection is two ends. What one end transmits arrives at the other in order: the knock that opens it, messages,
the close. The end of a program sits behind the partition: what it should not hear now is *held* (as TCP would send
it again) and goes on in order once the partition has healed; if that takes too long the sender gives up, and the
connection breaks whole. Where the link has a shape, what should come later is held in the same way until its time. The
end of a harness coroutine is outside the cluster, where there are no partitions and no shapes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from heapq import heappush
from typing import TYPE_CHECKING, Any, Final

from foreshock.harness.runtime import ConnectionClosed, ConnectionRefused, Message
from foreshock.harness.simulation.network import TABLE_BITS, encoded_bytes
from foreshock.harness.simulation.scheduler import Action, Scheduler, SimTask, suspend

if TYPE_CHECKING:
    from foreshock.harness.simulation.machine import SimMachine

INBOX_MESSAGES_MAX: Final = 65_536
"""A connection breaks when so many messages wait to be received."""
_PASSING: Final = -1
_GIVEN_UP: Final = -2


class End(ABC):
    """One end of a connection: transmits to its peer, and is told what arrives from there."""

    __slots__ = ("_bits", "_delays", "_last_ns", "_scheduler", "open", "peer", "remote")

    peer: End

    def __init__(
        self, scheduler: Scheduler, bits: Callable[[int], int], delays: tuple[int, ...], remote: str
    ) -> None:
        self._scheduler = scheduler
        self._bits = bits
        self._delays = delays
        self._last_ns = 0
        self.remote = remote
        """The name of whoever holds the other end."""
        self.open = True
        """Whether what arrives is still wanted."""

    def transmit(self, arrive: Action, message: Any) -> None:
        """Let ``arrive(message, None)``, a method of the peer, happen after the delay, but never out of order."""
        scheduler = self._scheduler
        arrival_ns = scheduler.now + self._delays[self._bits(TABLE_BITS)]
        if arrival_ns < self._last_ns:
            arrival_ns = self._last_ns
        self._last_ns = arrival_ns
        heappush(scheduler.heap, (arrival_ns, scheduler.sequence(), arrive, message, None))

    @abstractmethod
    def knock(self, nothing: None, _: None) -> None:
        """The other end wants to connect."""

    @abstractmethod
    def established(self, nothing: None, _: None) -> None:
        """The other end has accepted."""

    @abstractmethod
    def message(self, message: Any, _: None) -> None:
        """A message arrives."""

    @abstractmethod
    def closed(self, reason: str, _: None) -> None:
        """The other end has closed, has broken, or refuses the connection."""

    def shut(self, reason: str) -> None:
        """Close this end and tell the other one, after all that has been sent; idempotent."""
        if self.open:
            self.open = False
            self.transmit(self.peer.closed, reason)


def join(near: End, far: End) -> None:
    """Make the two ends of one connection and let the near one knock."""
    near.peer, far.peer = far, near
    near.transmit(far.knock, None)


class ProgramEnd(End):
    """The end that a simulated program holds under a number."""

    __slots__ = ("_blocked_ns", "_held", "_machine", "dialled", "number")

    def __init__(self, machine: SimMachine, number: int, remote: str) -> None:
        super().__init__(machine.scheduler, machine.bits, machine.delays, remote)
        self._machine = machine
        self._held: deque[tuple[int, int, Action, Any]] = deque()
        """What waits: not before when, how many bytes a limited rate counts, and what is to happen then."""
        self._blocked_ns = _PASSING
        """Since when nothing has got through."""
        self.dialled = False
        """Whether the program opened the connection, and did not accept it."""
        self.number = number
        """The connection's number at the program; 0 while nobody has accepted it yet."""

    def knock(self, nothing: None, _: None) -> None:
        """The other end wants to connect."""
        if self._held or self.remote in self._machine.impeded:
            self._hold(self._accept, nothing)
        else:
            self._accept(nothing, None)

    def established(self, nothing: None, _: None) -> None:
        """The other end has accepted."""
        if self._held or self.remote in self._machine.impeded:
            self._hold(self._opened, nothing)
        else:
            self._opened(nothing, None)

    def message(self, message: Any, _: None) -> None:
        """A message arrives."""
        if self._held or self.remote in self._machine.impeded:
            self._hold(self._deliver, message)
        else:
            self._deliver(message, None)

    def closed(self, reason: str, _: None) -> None:
        """The other end has closed, has broken, or refuses the connection."""
        if self._held or self.remote in self._machine.impeded:
            self._hold(self._close, reason)
        else:
            self._close(reason, None)

    def released(self) -> None:
        """The partition may have healed: if so, what was held goes on after the retry delay."""
        if self._held and self.remote not in self._machine.blocked:
            self._scheduler.after(self._machine.knobs.connection_retry_ns, self._flush, None, None)

    def _accept(self, nothing: None, _: None) -> None:
        if not self.peer.open or not self.open:
            return
        if not self._machine.accept(self):
            self.shut(f"{self._machine.name} refused the connection: nothing runs there")
            return
        self.transmit(self.peer.established, nothing)
        self._opened(True, None)

    def _opened(self, accepted: bool | None, _: None) -> None:
        machine = self._machine
        if self.open and (not machine.hindered or machine.attends(self._opened, accepted)):
            machine.opened(self.number, self.remote, accepted is True)

    def _deliver(self, message: Any, _: None) -> None:
        machine = self._machine
        if self.open and (not machine.hindered or machine.attends(self._deliver, message)):
            machine.message(self.number, message)

    def _close(self, reason: str, _: None) -> None:
        machine = self._machine
        if self.open and (not machine.hindered or machine.attends(self._close, reason)):
            self.open = False
            machine.closed(self.number)

    def reset(self) -> None:
        """The connection breaks at once, for this end; what is under way is lost."""
        if self.open:
            self.open = False
            self._held.clear()
            self._scheduler.soon(self._is_reset, None, None)

    def _is_reset(self, nothing: None, _: None) -> None:
        machine = self._machine
        if machine.ends.get(self.number) is self and (
            not machine.hindered or machine.attends(self._is_reset, nothing)
        ):
            machine.closed(self.number)

    def _hold(self, function: Action, message: Any) -> None:
        """Keep something until it may happen, behind all that is kept already."""
        machine, scheduler = self._machine, self._scheduler
        due_ns = payload_bytes = 0
        if self.remote in machine.blocked:
            self._begin_to_block()
        elif self.remote in machine.inbound:
            link = machine.inbound[self.remote]
            wait_ns = link.stream_ns()
            due_ns = scheduler.now + wait_ns
            payload_bytes = 0 if link.pacer is None else 1 + encoded_bytes(message)
            scheduler.after(wait_ns, self._flush, None, None)
        self._held.append((due_ns, payload_bytes, function, message))
        if len(self._held) > INBOX_MESSAGES_MAX:
            self._give_up(self._blocked_ns, None)

    def _begin_to_block(self) -> None:
        if self._blocked_ns == _PASSING:
            self._blocked_ns = self._scheduler.now
            self._scheduler.after(
                self._machine.knobs.connection_timeout_ns, self._give_up, self._blocked_ns, None
            )

    def _flush(self, _nothing: None, _: None) -> None:
        """Let happen what may: an event is on its way for each that has a time."""
        held, machine, scheduler = self._held, self._machine, self._scheduler
        while held:
            if self.remote in machine.blocked:
                self._begin_to_block()
                return
            due_ns, payload_bytes, function, message = held[0]
            if due_ns > scheduler.now:
                return
            pacer = machine.inbound[self.remote].pacer if self.remote in machine.inbound else None
            if payload_bytes and pacer is not None:
                # Only the first of each connection waits for the link: so none is far behind another.
                departs_ns = pacer.departs_ns(scheduler.now, payload_bytes)
                held[0] = departs_ns, 0, function, message
                scheduler.after(departs_ns - scheduler.now, self._flush, None, None)
                return
            held.popleft()
            self._blocked_ns = _PASSING
            function(message, None)

    def _give_up(self, since_ns: int, _: None) -> None:
        if self._held and self._blocked_ns == since_ns:
            reason = f"nothing got through from {self.remote} for too long"
            self._held.clear()
            self._held.append((0, 0, self._close, reason))
            self._blocked_ns = _GIVEN_UP
            peer = self.peer
            if isinstance(peer, ProgramEnd):
                peer._close(reason, None)  # noqa: SLF001 - the other end of this connection


class ClientEnd(End):
    """The end that a harness coroutine holds: a :class:`foreshock.harness.runtime.Connection`."""

    __slots__ = ("_accepted", "_inbox", "_serve", "_up", "_waiters", "_why")

    def __init__(
        self,
        scheduler: Scheduler,
        bits: Callable[[int], int],
        delays: tuple[int, ...],
        remote: str,
        serve: Callable[[ClientEnd], bool] | None = None,
    ) -> None:
        super().__init__(scheduler, bits, delays, remote)
        self._inbox: deque[Message] = deque()
        self._waiters: dict[SimTask[Any], int] = {}
        self._serve = serve
        self._up = False
        self._why = "the connection was closed here"

    async def opened(self) -> None:
        """Wait until the connection is up; raises :class:`ConnectionRefused`."""
        try:
            while self.open and not self._up:
                await self._woken()
        except BaseException:
            self.shut("the connection was given up")
            raise
        if not self._up:
            raise ConnectionRefused(self._why)

    async def send(self, message: Message) -> None:
        """Send one message; raises :class:`ConnectionClosed`."""
        if not self.open:
            raise ConnectionClosed(self._why)
        self.transmit(self.peer.message, message)

    async def receive(self) -> Message:
        """The next message; raises :class:`ConnectionClosed` at the end of the stream or on a broken one."""
        while not self._inbox:
            if not self.open:
                raise ConnectionClosed(self._why)
            await self._woken()
        return self._inbox.popleft()

    def close(self) -> None:
        """Close at once; idempotent."""
        self._inbox.clear()
        self.shut("the client closed the connection")
        self._wake()

    def knock(self, nothing: None, _: None) -> None:
        """The other end wants to connect."""
        if self.peer.open and self.open:
            self._up = True
            if self._serve is None or not self._serve(self):
                self.shut(f"{self.remote} was refused: nobody listens any more")
                return
            self.transmit(self.peer.established, nothing)

    def established(self, nothing: None, _: None) -> None:  # noqa: ARG002 - nothing is said
        """The other end has accepted."""
        self._up = True
        self._wake()

    def message(self, message: Message, _: None) -> None:
        """A message arrives."""
        if self.open:
            self._inbox.append(message)
            if self._waiters:
                self._wake()
            if len(self._inbox) > INBOX_MESSAGES_MAX:
                self.shut("too many messages waited to be received")

    def closed(self, reason: str, _: None) -> None:
        """The other end has closed, has broken, or refuses the connection."""
        if self.open:
            self.open = False
            self._why = reason
            self._wake()

    async def _woken(self) -> None:
        task = self._scheduler.current
        self._waiters[task] = task.ticket
        try:
            await suspend()
        finally:
            self._waiters.pop(task, None)

    def _wake(self) -> None:
        for task, ticket in self._waiters.items():
            self._scheduler.ready.append((task.resume, ticket, None))
        self._waiters.clear()
