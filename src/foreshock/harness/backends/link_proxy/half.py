"""One socket of a proxied connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import Final, Protocol, cast

from foreshock.harness.backends.link_proxy.rules import Direction, call_when

HELD_BYTES_MAX: Final = 256 << 10
"""When so much is held back in one direction of a connection, what each piece costs us included, no more is read."""
SEGMENT_BYTES: Final = 1_448
"""What one packet of a stream carries: bytes are delayed, lost and paced by so many."""

_BUFFER_BYTES: Final = 64 << 10
_PIECE_BYTES: Final = 128
_LATE_NS_MAX: Final = 5_000_000
"""A timer that comes late costs a limited rate nothing, up to this."""


class Owner(Protocol):
    """The connection that a half belongs to."""

    def look_again(self) -> None:
        """Something about one of the halves has changed."""


class Half(asyncio.Protocol):
    """What is read from this socket is written to the ``other`` half: at once, later, or when that is allowed again."""

    def __init__(self, owner: Owner, way: Direction) -> None:
        self._owner = owner
        self._way = way
        self._write: Callable[[bytes], object] | None = None
        """Writes to the other half; ``None`` while what is read has to wait."""
        self.transport: asyncio.Transport | None = None
        self.other: Half | None = None
        self.full = False
        self.ended = False
        self.lost = False
        self._broken = False
        self._end_passed = False
        self._held: deque[tuple[int, bytes]] = deque()
        """What waits, each with the time before which it must not pass."""
        self._held_bytes = 0
        self._paced = False
        """Whether the first of what waits has its time from the pacer already."""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Pass the bytes on, or hold them while they may not go."""
        if self._write is not None:
            self._write(data)
        else:
            self._hold(data)
            self.look_again()

    def eof_received(self) -> bool:
        """Pass the end of the stream on like the bytes before it; the other direction goes on."""
        self.ended = True
        self._owner.look_again()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone: the other half hears of it after all that came before, and not through a cut."""
        self.lost = True
        self._broken = exc is not None
        self._owner.look_again()

    def pause_writing(self) -> None:
        """Our reader is slow: stop reading the other half."""
        self.full = True
        self._owner.look_again()

    def resume_writing(self) -> None:
        """Our reader caught up."""
        self.full = False
        self._owner.look_again()

    def look_again(self) -> None:
        """Pass on what may go, and read or stop reading, as the rules say now."""
        passing = self._may_pass()
        if passing:
            self._pass_held()
        direct = passing and not self._held and self._way.fates is None
        self._write = cast(asyncio.Transport, cast(Half, self.other).transport).write if direct else None
        if self.lost or self.transport is None or self.transport.is_closing():
            return
        wanted = passing and not cast(Half, self.other).full and self._held_bytes < HELD_BYTES_MAX
        if wanted and not self.transport.is_reading():
            self.transport.resume_reading()
        elif not wanted and self.transport.is_reading():
            self.transport.pause_reading()

    def close(self, *, reset: bool) -> None:
        """Close this socket, after what is buffered, or with a reset."""
        if self.transport is None or self.transport.is_closing():
            return
        if self.other is not None:
            self.other._write = None  # noqa: SLF001 - the other half of this connection
        if not reset:
            self.transport.close()
            return
        # Lingering for zero seconds makes the kernel send a reset in place of an orderly end.
        self.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.transport.abort()

    def forget(self) -> None:
        """Both sockets are gone: nothing is to happen any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._held.clear()

    def _may_pass(self) -> bool:
        """Whether bytes read here may be written to the other half now."""
        other = self.other
        return (
            other is not None
            and other.transport is not None
            and not other.lost
            and not other.transport.is_closing()
            and self._way.open
        )

    def _hold(self, data: bytes) -> None:
        """Keep bytes back: behind those that wait already, and as long as the shape in force says."""
        fates = self._way.fates
        if fates is None or fates.stalls:
            self._keep(0, data)  # some event loops start to read when they like, even behind a cut
            return
        now_ns = monotonic_ns()
        for start in range(0, len(data), SEGMENT_BYTES):
            ready_ns = now_ns + fates.delay_ns() + fates.retransmission_ns()
            self._keep(ready_ns, data[start : start + SEGMENT_BYTES])

    def _keep(self, ready_ns: int, data: bytes) -> None:
        self._held.append((ready_ns, data))
        self._held_bytes += len(data) + _PIECE_BYTES

    def _pass_held(self) -> None:
        other = cast(Half, self.other)
        transport = cast(asyncio.Transport, other.transport)
        if self._held and not other.full:
            due = self._take_due()
            if due:
                transport.write(b"".join(due))
        if self._held:
            return
        if self.lost:
            other.close(reset=self._broken)
        elif self.ended and not self._end_passed:
            self._end_passed = True
            if other.ended:
                other.close(reset=False)
                self.close(reset=False)
            else:
                transport.write_eof()

    def _take_due(self) -> list[bytes]:
        """Take out what may pass now, and see to it that somebody looks again when the next may."""
        now_ns = monotonic_ns()
        due: list[bytes] = []
        while self._held:
            ready_ns, data = self._held[0]
            pacer = self._way.pacer
            if ready_ns <= now_ns and pacer is not None and not self._paced:
                # Only the first of each connection waits for the link: so none is far behind another.
                ready_ns = pacer.departs_ns(max(ready_ns, now_ns - _LATE_NS_MAX), len(data))
                self._held[0] = ready_ns, data
                self._paced = True
            if ready_ns > now_ns:
                self._look_at(ready_ns)
                break
            self._held.popleft()
            self._held_bytes -= len(data) + _PIECE_BYTES
            self._paced = False
            due.append(data)
        return due

    def _look_at(self, due_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = call_when(due_ns, self._owner.look_again)
