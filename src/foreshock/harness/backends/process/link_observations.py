"""What can be seen of the links from outside: numbered datagrams through them, and the system's list of connections."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Mapping
from pathlib import Path
from time import monotonic_ns
from typing import Final, cast

from foreshock.harness.backends.link_proxy.relay import BEHIND, RECEIVE_BUFFER_BYTES, SHAPED
from foreshock.harness.backends.process.ports import LOOPBACK
from foreshock.harness.capabilities import PROBE_BYTES, Link, LinkReading
from foreshock.harness.link_tally import LinkTally
from foreshock.harness.packet_fates import HEADER_BYTES

_SOCKETS: Final = Path("/proc/net/tcp")
_ESTABLISHED: Final = "01"
_MARKER_INTERVAL_NS: Final = 500_000_000
_WAIT_NS: Final = 50_000_000
_TRANSIENT: Final = (BlockingIOError, ConnectionRefusedError)
"""A full buffer loses a datagram as a network would; a proxy that is gone is found out when the time is up."""


class Probing:
    """One round of numbered datagrams over some links, each link by a socket of its own.

    All that is timed is timed by one monotonic clock. :meth:`run` blocks: call it in a thread.
    """

    def __init__(self, ports: Mapping[Link, int], count: int, interval_us: int, timeout_s: float) -> None:
        self._ports = ports
        self._count = count
        self._interval_ns = interval_us * 1_000
        self._timeout_ns = int(timeout_s * 1e9)
        self._tallies = {link: LinkTally(count) for link in ports}
        self._waiting = set(ports)
        """Links over which something may still be on its way."""
        self._stopped = False

    def stop(self) -> None:
        """Let :meth:`run` come to an end soon, from any thread."""
        self._stopped = True

    def run(self) -> dict[Link, LinkReading]:
        """Send all, wait until the last one is through or lost, and give the readings.

        Raises ``TimeoutError`` when that takes longer than the time-out, which runs from when all are sent.
        """
        with contextlib.ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            sockets = {}
            for link in self._ports:
                sockets[link] = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                sockets[link].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
                sockets[link].connect((LOOPBACK, self._ports[link]))
                sockets[link].setblocking(False)
                selector.register(sockets[link], selectors.EVENT_READ, link)
            self._send_all(sockets, selector)
            self._wait_for_all(sockets, selector)
        return {link: tally.reading() for link, tally in self._tallies.items()}

    def _send_all(self, sockets: Mapping[Link, socket.socket], selector: selectors.BaseSelector) -> None:
        started_ns = monotonic_ns()
        number = 0
        while number < self._count and not self._stopped:
            due_ns = started_ns + number * self._interval_ns
            early_ns = due_ns - monotonic_ns()
            if early_ns <= 0:
                for link, each in sockets.items():
                    self._tallies[link].sent_ns[number] = monotonic_ns()
                    _send(each, b"%b%d" % (SHAPED, number))
                number += 1
            self._receive(selector, max(early_ns, 0))

    def _wait_for_all(self, sockets: Mapping[Link, socket.socket], selector: selectors.BaseSelector) -> None:
        """Send after the probes what comes when all of them are through; one that a full buffer lost is sent again."""
        sent_ns = monotonic_ns()
        marked_ns = 0
        while self._waiting and not self._stopped:
            now_ns = monotonic_ns()
            if now_ns - sent_ns > self._timeout_ns:
                raise TimeoutError
            if now_ns - marked_ns > _MARKER_INTERVAL_NS:
                marked_ns = now_ns
                for link in sorted(self._waiting):
                    _send(sockets[link], BEHIND)
            self._receive(selector, _WAIT_NS)

    def _receive(self, selector: selectors.BaseSelector, wait_ns: int) -> None:
        for key, _ in selector.select(min(wait_ns, _WAIT_NS) / 1e9):
            each = cast(socket.socket, key.fileobj)
            with contextlib.suppress(*_TRANSIENT):
                while True:
                    self._note(key.data, each.recv(2048), monotonic_ns())

    def _note(self, link: Link, data: bytes, now_ns: int) -> None:
        if data.startswith(BEHIND):
            self._waiting.discard(link)
        else:
            self._tallies[link].arrived(int(data[len(SHAPED) :]), now_ns)


def _send(each: socket.socket, data: bytes) -> None:
    with contextlib.suppress(*_TRANSIENT):
        each.send(data.ljust(PROBE_BYTES - HEADER_BYTES))


def established(port: int) -> set[int]:
    """The other ports of the connections to a port of this machine that the system has, where it says so (Linux)."""
    try:
        lines = _SOCKETS.read_text().splitlines()[1:]
    except FileNotFoundError:
        return set()
    found = set()
    for line in lines:
        _, local, remote, state, *_ = line.split()
        ends = [int(end.rpartition(":")[2], 16) for end in (local, remote)]
        if state == _ESTABLISHED and port in ends:
            found.add(ends[0] if ends[1] == port else ends[1])
    return found
