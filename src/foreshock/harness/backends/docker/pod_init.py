"""The first process of a pod: keeps the network namespace alive, and sends and hears probes.

It runs inside the container, or on a host as a process of ours, on the standard library alone. It may be given its
directory and its UDP port, in this order. A command is a line in ``/run/foreshock/commands``::

    send WORD ADDRESS...                       one UDP datagram that carries the word to each address
    burst ID COUNT INTERVAL_US ADDRESS...      so many numbered datagrams to each address, from the next port
    report ID COUNT WAIT_MS ADDRESS...         what arrived of a burst from each address, when it is whole or time is up

Every word that arrives is appended, as a line, to ``/run/foreshock/heard``; so are ``ID.sent`` when a burst is out,
``ID:ADDRESS ARRIVED DUPLICATES OVERTAKEN CORRUPTED LEAST_US MEDIAN_US LONGEST_US`` for each address of a report, and
``ID.told`` at its end. So a shell is all that is needed to see which pods hear which, and how.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import sys
import time
import zlib
from typing import Final

DIRECTORY: Final = "/run/foreshock"
PORT: Final = 19_599
"""UDP port of the words; below the ports that kernels hand out."""

BURST_PORT_OFFSET: Final = 1
"""Bursts use the port after that one."""
BURST_BYTES: Final = 200
"""How much a numbered datagram carries."""
COUNT_MAX: Final = 10_000

_HEARD_BYTES_MAX: Final = 256 << 10
_WORD_BYTES_MAX: Final = 200
_BUFFER_BYTES: Final = 8 << 20
_BURSTS_MAX: Final = 4
"""How many bursts that have been heard are remembered."""
_MAGIC: Final = b"FSHK"
_HEADER: Final = struct.Struct("!4s8sIQ")
_CHECKSUM: Final = struct.Struct("!I")
_PADDING: Final = bytes(BURST_BYTES - _HEADER.size - _CHECKSUM.size)
_SO_NO_CHECK: Final = 11
"""Option of Linux: UDP without a checksum, so that what was corrupted on its way is seen and not thrown away."""
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33


class _Journal:
    """The lines of ``heard``. Of too many only the latest stay; nobody who reads meanwhile misses one of those."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = self._opened(path)
        self._size = os.fstat(self._fd).st_size

    def say(self, line: bytes) -> None:
        self._size += os.write(self._fd, line + b"\n")
        if self._size > _HEARD_BYTES_MAX:
            self._shorten()

    def _shorten(self) -> None:
        latest = os.pread(self._fd, self._size, self._size // 2).partition(b"\n")[2]
        fd = self._opened(f"{self._path}.new")
        os.ftruncate(fd, 0)
        self._size = os.write(fd, latest)
        os.rename(f"{self._path}.new", self._path)  # noqa: PTH104 - starts twice as fast without pathlib
        os.close(self._fd)
        self._fd = fd

    @staticmethod
    def _opened(path: str) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)


class _Heard:
    """What has arrived of one burst from one sender."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()
        self.highest = -1
        self.duplicates = self.overtaken = self.corrupted = 0
        self.delays_us: list[int] = []

    def note(self, number: int, delay_us: int) -> None:
        if number in self.numbers:
            self.duplicates += 1
            return
        if len(self.numbers) >= COUNT_MAX:
            return
        self.numbers.add(number)
        self.overtaken += number < self.highest
        self.highest = max(self.highest, number)
        self.delays_us.append(delay_us)

    @property
    def arrived(self) -> int:
        return len(self.numbers) + self.corrupted

    def line(self) -> str:
        delays = sorted(self.delays_us) or [0]
        times = (delays[0], delays[len(delays) // 2], delays[-1])
        counts = (self.arrived, self.duplicates, self.overtaken, self.corrupted, *times)
        return " ".join(map(str, counts))


class _Bursts:
    """Sends numbered datagrams on time, and counts those that arrive."""

    def __init__(self, port: int, journal: _Journal) -> None:
        self.port = port
        self._journal = journal
        self._heard: dict[bytes, dict[str, _Heard]] = {}
        self._latest = b""
        self._sending: list[tuple[bytes, int, int, list[str]]] = []
        self._next = 0
        self._due_ns = 0
        self._report: tuple[str, int, int, list[str]] | None = None
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.SOL_SOCKET, _SO_NO_CHECK, 1)
        with contextlib.suppress(OSError):  # without the right to more there is what everybody gets
            self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            self.udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
            self.udp.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER_BYTES)
        self.udp.bind(("0.0.0.0", port))
        self.udp.setblocking(False)

    def command(self, words: list[str]) -> None:
        identity, count, number = bytes.fromhex(words[1]), min(int(words[2]), COUNT_MAX), int(words[3])
        if words[0] == "burst":
            self._sending.append((identity, count, number * 1000, words[4:]))
            if len(self._sending) == 1:
                self._next, self._due_ns = 0, time.monotonic_ns()
        else:
            self._report = (words[1], count, time.monotonic_ns() + number * 1_000_000, words[4:])

    def wait_s(self) -> float | None:
        """For how long nothing need be done but hear."""
        due_ns = [self._due_ns] if self._sending else []
        if self._report is not None:
            due_ns.append(self._report[2])
        return max(0, min(due_ns) - time.monotonic_ns()) / 1e9 if due_ns else None

    def step(self) -> None:
        """Send what is due, and report when it is time."""
        while self._sending and time.monotonic_ns() >= self._due_ns:
            identity, count, interval_ns, addresses = self._sending[0]
            for address in addresses:
                head = _HEADER.pack(_MAGIC, identity, self._next, time.monotonic_ns()) + _PADDING
                with contextlib.suppress(OSError):  # what cannot be sent does not arrive
                    self.udp.sendto(head + _CHECKSUM.pack(zlib.crc32(head)), (address, self.port))
            self._next += 1
            self._due_ns += interval_ns
            if self._next >= count:
                self._sending.pop(0)
                self._next, self._due_ns = 0, time.monotonic_ns()
                self._say(f"{identity.hex()}.sent")
            self.hear()
        if self._report is not None:
            name, count, deadline_ns, addresses = self._report
            heard = self._heard.get(bytes.fromhex(name), {})
            whole = all(address in heard and heard[address].arrived >= count for address in addresses)
            if whole or time.monotonic_ns() >= deadline_ns:
                self._report = None
                for address in addresses:
                    self._say(f"{name}:{address} {heard.get(address, _Heard()).line()}")
                self._say(f"{name}.told")

    def hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, (address, _) = self.udp.recvfrom(2048)
                self._note(data, address, time.monotonic_ns())

    def _note(self, data: bytes, address: str, now_ns: int) -> None:
        if len(data) != BURST_BYTES:
            return
        magic, identity, number, sent_ns = _HEADER.unpack_from(data)
        whole = _CHECKSUM.unpack_from(data, -_CHECKSUM.size)[0] == zlib.crc32(data[: -_CHECKSUM.size])
        if not whole:  # its identity may be what is wrong: then it belongs to the burst under way
            identity = identity if identity in self._heard else self._latest
        elif magic != _MAGIC:
            return
        if identity not in self._heard:
            if not whole:
                return
            self._heard[identity] = {}
            self._latest = identity
            while len(self._heard) > _BURSTS_MAX:
                del self._heard[next(iter(self._heard))]
        heard = self._heard[identity].setdefault(address, _Heard())
        if whole:
            heard.note(number, (now_ns - sent_ns) // 1000)
        else:
            heard.corrupted += 1

    def _say(self, line: str) -> None:
        self._journal.say(line.encode())


def _reap(*_: object) -> None:
    """The first process of a container inherits orphans; leave no zombies."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _send(udp: socket.socket, words: list[str], port: int) -> None:
    for address in words[2:]:
        with contextlib.suppress(OSError):  # an address that cannot be reached is a probe that is not heard
            udp.sendto(words[1].encode()[:_WORD_BYTES_MAX], (address, port))


def _hear(udp: socket.socket, journal: _Journal) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            journal.say(udp.recv(2048)[:_WORD_BYTES_MAX].replace(b"\n", b" "))


def main() -> None:
    """Serve until killed."""
    signal.signal(signal.SIGCHLD, _reap)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    directory = sys.argv[1] if len(sys.argv) > 1 else DIRECTORY
    port = int(sys.argv[2]) if len(sys.argv) > 2 else PORT
    os.makedirs(directory, exist_ok=True)  # noqa: PTH103 - starts twice as fast without pathlib
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", port))
    udp.setblocking(False)
    journal = _Journal(f"{directory}/heard")
    bursts = _Bursts(port + BURST_PORT_OFFSET, journal)
    os.mkfifo(f"{directory}/commands", 0o600)
    commands = os.open(f"{directory}/commands", os.O_RDWR | os.O_NONBLOCK)  # for writing too: it never ends
    pending = b""
    while True:
        watched = [commands, udp.fileno(), bursts.udp.fileno()]
        ready, _, _ = select.select(watched, [], [], bursts.wait_s())
        if bursts.udp.fileno() in ready:
            bursts.hear()
        if udp.fileno() in ready:
            _hear(udp, journal)
        if commands in ready:
            *lines, pending = (pending + os.read(commands, 65_536)).split(b"\n")
            for line in lines:
                words = line.decode(errors="replace").split()
                if words[:1] == ["send"] and len(words) > 2:
                    _send(udp, words, port)
                elif words[:1] in (["burst"], ["report"]) and len(words) > 3:
                    bursts.command(words)
        bursts.step()


if __name__ == "__main__":
    main()
