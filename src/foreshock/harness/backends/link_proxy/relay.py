"""Datagrams over a link, so that what is in force can be seen from outside.

What a datagram begins with says what it is to show. One that begins with :data:`SHAPED` meets cut and shape, as a
packet of a node would. One that begins with :data:`BEHIND` is always relayed, after all that came before it has been
relayed or dropped: once it is heard, nothing is on its way any more. Any other meets the cut alone. All of them come
back to where they were sent from.
"""

from __future__ import annotations

import asyncio
import socket
from heapq import heappop, heappush
from time import monotonic_ns
from typing import Any, Final, cast

from foreshock.harness.backends.link_proxy.rules import Direction, call_when
from foreshock.harness.packet_fates import QUEUE_NS_MAX

SHAPED: Final = b"shaped "
BEHIND: Final = b"behind "
RECEIVE_BUFFER_BYTES: Final = 4 << 20

Address = tuple[str | Any, int]

_DATAGRAM_BYTES_MAX: Final = 512
_LATER_MAX: Final = 65_536
"""So many datagrams can be on their way; more are lost."""


class Relay(asyncio.DatagramProtocol):
    """Relays datagrams back to whoever sent them, as the rules for the direction say."""

    def __init__(self, way: Direction) -> None:
        self._way = way
        self._transport: asyncio.DatagramTransport | None = None
        self._later: list[tuple[int, int, bytes, Address]] = []
        """What is on its way: when it arrives, a number, what it says, where it goes."""
        self._number = 0
        self._behind: list[tuple[bytes, Address]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The port is bound."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        # The kernel gives what it may: a busy machine is not to pass for a network that loses packets.
        self._transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES
        )

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Relay one datagram now or later, or drop it as the network would."""
        if len(data) > _DATAGRAM_BYTES_MAX:
            return
        if data.startswith(BEHIND):
            self._behind.append((data, addr))
            self._relay_due()
        elif data.startswith(SHAPED):
            self._shape(data, addr)
        elif not self._way.cut:
            self._send(data, addr)

    def _shape(self, data: bytes, address: Address) -> None:
        way, fates = self._way, self._way.fates
        if not way.open:
            return
        if fates is None:
            self._send(data, address)
            return
        now_ns = monotonic_ns()
        if fates.lost() or (way.pacer is not None and way.pacer.waiting_ns(now_ns) > QUEUE_NS_MAX):
            return
        due_ns = now_ns if way.pacer is None else way.pacer.departs_ns(now_ns, len(data))
        due_ns += fates.delay_ns()
        if len(self._later) < _LATER_MAX:
            self._number += 1
            heappush(self._later, (due_ns, self._number, data, address))
            if self._timer is None or due_ns < self._timer_ns:
                self._relay_due()

    def _relay_due(self) -> None:
        now_ns = monotonic_ns()
        while self._later and self._later[0][0] <= now_ns:
            _, _, data, address = heappop(self._later)
            if not self._way.cut:  # which takes what is on its way, too
                self._send(data, address)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._later:
            self._timer_ns = self._later[0][0]
            self._timer = call_when(self._timer_ns, self._relay_due)
            return
        for data, address in self._behind:
            self._send(data, address)
        self._behind.clear()

    def _send(self, data: bytes, address: Address) -> None:
        if self._transport is not None:
            self._transport.sendto(data, address)


async def relay(way: Direction, host: str) -> int:
    """Relay datagrams at a port of this machine from now on; returns the port."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Relay(way), local_addr=(host, 0)
    )
    return int(transport.get_extra_info("sockname")[1])
