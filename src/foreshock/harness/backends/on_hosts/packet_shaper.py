"""The program that shapes packets on a host whose kernel has no netem: netfilter hands them over, one by one.

It runs on the host on the standard library alone (``python3 packet_shaper.py DIRECTORY``), with the right to
administer the network. Rules of :mod:`foreshock.harness.backends.on_hosts.packet_rules` put packets into its queue;
what each link does is in ``DIRECTORY/links``, one JSON object::

    {"generation": 7, "links": {"10.0.0.2": {"delay_us": 50000, "loss_ppm": 100000}}}

It is read at the start and at each SIGHUP, and once it is in force its generation is in ``DIRECTORY/applied``.
``DIRECTORY/process`` holds pid and start time. Without links it lets go of the queue, sends what it still holds when it
is due, and ends; at SIGTERM it sends all at once. When it dies, packets pass (the rules say so). In a pod it dies with
the pod.

A packet that is delayed is taken out and sent anew when it is due, by a raw socket whose mark the rules let pass. To
hold the packet itself would keep its room in the sender's socket taken, and TCP would stop sending after two of them.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import json
import os
import random
import select
import signal
import socket
import struct
import sys
import time
from typing import Any, Final

QUEUE: Final = 3845
MARK: Final = 0xF05E
PACKETS_MAX: Final = 16_384
"""How many packets are held at once; the next ones are lost, as in a kernel's queue."""
RATE_QUEUE_NS: Final = 1_000_000_000
"""A link with a rate holds what it passes in this time."""
MILLION: Final = 1_000_000

_KERNEL_QUEUE_MAX: Final = 8192
_BUFFER_BYTES: Final = 8 << 20
_READ_BYTES: Final = 1 << 17
_BATCH: Final = 64
_NETLINK_NETFILTER: Final = 12
_SOL_NETLINK, _NETLINK_NO_ENOBUFS = 270, 5
_SO_MARK, _SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 36, 33, 32
_QUEUE_SUBSYSTEM: Final = 3 << 8
_PACKET, _VERDICT, _CONFIGURE = 0, 1, 2
_ERROR: Final = 2
_DROP, _ACCEPT = 0, 1
_NLA_TYPE: Final = 0x3FFF
_REQUEST, _ACKNOWLEDGE = 1, 4
_TCP, _UDP = 6, 17


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _message(kind: int, body: bytes, flags: int = _REQUEST) -> bytes:
    head = struct.pack("=BB", socket.AF_UNSPEC, 0) + struct.pack("!H", QUEUE)
    length = 16 + len(head) + len(body)
    return struct.pack("=IHHII", length, _QUEUE_SUBSYSTEM | kind, flags, 0, 0) + head + body


class Link:
    """What happens to the packets to one address."""

    def __init__(self, shape: dict[str, Any]) -> None:
        self.delay_ns: int = 1000 * shape.get("delay_us", 0)
        self.jitter_ns: int = 1000 * shape.get("jitter_us", 0)
        self.distribution = shape.get("distribution", "uniform")
        self.loss = shape.get("loss_ppm", 0) / MILLION
        self.duplicate = shape.get("duplicate_ppm", 0) / MILLION
        self.reorder = shape.get("reorder_ppm", 0) / MILLION
        self.reorder_ns: int = 1000 * shape.get("reorder_us", 0)
        self.corrupt = shape.get("corrupt_ppm", 0) / MILLION
        self.rate: int = shape.get("rate_bytes_per_s", 0)
        self.busy_until_ns = 0

    def due_ns(self, now_ns: int, length: int) -> int | None:
        """When a packet that comes now is to go on; ``None``: never, since the queue before the link is full."""
        due_ns = now_ns
        if self.rate:
            begin_ns = max(now_ns, self.busy_until_ns)
            if begin_ns - now_ns > RATE_QUEUE_NS:
                return None
            self.busy_until_ns = due_ns = begin_ns + length * 1_000_000_000 // self.rate
        due_ns += max(0, self.delay_ns + self._jitter_ns())
        if self.reorder and random.random() < self.reorder:
            due_ns += self.reorder_ns
        return due_ns

    def _jitter_ns(self) -> int:
        jitter_ns = self.jitter_ns
        if not jitter_ns:
            return 0
        if self.distribution == "normal":
            return int(random.gauss(0, jitter_ns))
        if self.distribution == "pareto":  # of shape 3, around its median
            return int(jitter_ns * min(8, (random.paretovariate(3) - 2 ** (1 / 3)) / 2))
        return int(jitter_ns * (2 * random.random() - 1))


def corrupted(packet: bytes) -> bytes:
    """The packet with one bit flipped, in what it carries where it carries anything, else in its last header."""
    start = (packet[0] & 15) * 4
    if packet[9] == _TCP and len(packet) > start + 20:
        after = start + (packet[start + 12] >> 4) * 4
    elif packet[9] == _UDP:
        after = start + 8
    else:
        after = start
    first = after if after < len(packet) else min(start, len(packet) - 1)
    changed = bytearray(packet)
    changed[random.randrange(first, len(packet))] ^= 1 << random.randrange(8)
    return bytes(changed)


class Shaper:
    """Takes packets from the queue and lets them go on as their links have it."""

    def __init__(self, raw: socket.socket) -> None:
        """``raw`` sends whole packets, past the rules."""
        self.links: dict[bytes, Link] = {}
        self._held: list[tuple[int, int, int | None, bytes]] = []
        self._sequence = 0
        self.queue: socket.socket | None = None
        self._raw = raw
        self._unit = min(map(_mtu, os.listdir("/sys/class/net")), default=1500)  # noqa: PTH208 - starts faster

    def bind(self) -> None:
        """Take the queue; raises ``OSError`` when it is somebody else's."""
        queue = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        queue.bind((0, 0))
        with contextlib.suppress(OSError):
            queue.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        queue.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
        bind = _attribute(1, struct.pack("!BBH", 1, 0, 0))
        whole_packets = _attribute(2, struct.pack("!IB", 0xFFFF, 2))
        queue.send(_message(_CONFIGURE, bind, _REQUEST | _ACKNOWLEDGE))
        _expect_no_error(queue.recv(_READ_BYTES))
        bounded = _attribute(3, struct.pack("!I", _KERNEL_QUEUE_MAX))
        pass_when_full = _attribute(4, struct.pack("!I", 1)) + _attribute(5, struct.pack("!I", 1))
        body = whole_packets + bounded + pass_when_full
        queue.send(_message(_CONFIGURE, body, _REQUEST | _ACKNOWLEDGE))
        _expect_no_error(queue.recv(_READ_BYTES))
        queue.setblocking(False)
        self.queue = queue

    def apply(self, shapes: dict[str, dict[str, Any]]) -> None:
        """Shape like this from now on; what is held keeps its time."""
        self.links = {socket.inet_aton(address): Link(shape) for address, shape in shapes.items()}
        if not self.links and self.queue is not None:
            self._let_go()

    def _let_go(self) -> None:
        """Give the queue back: packets that are in it go on at once, those taken out of it when they are due."""
        assert self.queue is not None
        self.take()
        for _, _, identity, _ in self._held:
            if identity is not None:
                self._verdict(identity, _ACCEPT)
        self._held = [held for held in self._held if held[2] is None]
        heapq.heapify(self._held)
        self.queue.close()
        self.queue = None

    def take(self) -> None:
        """Read what is in the queue and decide on it."""
        assert self.queue is not None
        for _ in range(_BATCH):
            try:
                data = self.queue.recv(_READ_BYTES)
            except BlockingIOError:
                return
            now_ns = time.monotonic_ns()
            for identity, packet in _packets(data):
                self._decide(identity, packet, now_ns)

    def _decide(self, identity: int, packet: bytes, now_ns: int) -> None:
        link = self.links.get(packet[16:20])
        if link is None:
            self._verdict(identity, _ACCEPT)
            return
        if link.loss and random.random() < link.loss:
            self._verdict(identity, _DROP)
            return
        due_ns = link.due_ns(now_ns, len(packet))
        if due_ns is None or len(self._held) >= PACKETS_MAX:
            self._verdict(identity, _DROP)
            return
        changed = corrupted(packet) if link.corrupt and random.random() < link.corrupt else None
        content = packet if changed is None else changed
        if due_ns <= now_ns:
            self._verdict(identity, _ACCEPT, changed)
        elif len(packet) > self._unit:  # what is to be fragmented cannot be sent by a raw socket
            self._hold(due_ns, identity, changed or b"")
        else:
            self._verdict(identity, _DROP)
            self._hold(due_ns, None, content)
        if link.duplicate and random.random() < link.duplicate and len(packet) <= self._unit:
            self._hold(due_ns, None, content)

    def _hold(self, due_ns: int, identity: int | None, packet: bytes) -> None:
        self._sequence += 1
        heapq.heappush(self._held, (due_ns, self._sequence, identity, packet))

    def release(self, *, all_of_them: bool = False) -> None:
        """Let go on what is due."""
        held = self._held
        while held and (all_of_them or held[0][0] <= time.monotonic_ns()):
            _, _, identity, packet = heapq.heappop(held)
            if identity is not None:
                self._verdict(identity, _ACCEPT, packet or None)
                continue
            with contextlib.suppress(OSError):  # no route, no room: a network loses such packets
                self._raw.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))

    def wait_s(self) -> float | None:
        """How long until a packet is due; ``None``: none is held."""
        return max(0, self._held[0][0] - time.monotonic_ns()) / 1e9 if self._held else None

    def _verdict(self, identity: int, verdict: int, packet: bytes | None = None) -> None:
        if self.queue is None:
            return
        body = _attribute(2, struct.pack("!II", verdict, identity))
        if packet is not None:
            body += _attribute(10, packet)
        self.queue.send(_message(_VERDICT, body))


def raw_socket() -> socket.socket:
    """What sends whole packets that the rules let pass."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw.setsockopt(socket.SOL_SOCKET, _SO_MARK, MARK)
    with contextlib.suppress(OSError):  # without the right to more there is what everybody gets
        raw.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER_BYTES)
    raw.setblocking(False)
    return raw


def _mtu(interface: str) -> int:
    try:
        with open(f"/sys/class/net/{interface}/mtu") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 1500


def _packets(data: bytes) -> list[tuple[int, bytes]]:
    """The id and the content of each packet in what netlink says."""
    found = []
    offset = 0
    while offset + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, offset)
        if length < 16:
            break
        if kind == _QUEUE_SUBSYSTEM | _PACKET:
            identity, packet = None, b""
            at = offset + 20
            while at + 4 <= offset + length:
                size, attribute = struct.unpack_from("=HH", data, at)
                attribute &= _NLA_TYPE
                if size < 4:
                    break
                if attribute == 1:
                    identity = struct.unpack_from("!I", data, at + 4)[0]
                elif attribute == 10:
                    packet = data[at + 4 : at + size]
                at += size + (-size % 4)
            if identity is not None:
                found.append((identity, packet))
        offset += length + (-length % 4)
    return found


def _expect_no_error(data: bytes) -> None:
    kind = struct.unpack_from("=IH", data)[1]
    code = struct.unpack_from("=i", data, 16)[0] if kind == _ERROR else 0
    if code:
        raise OSError(-code, f"the queue {QUEUE} of netfilter cannot be had: {os.strerror(-code)}")


def _started(pid: int) -> str:
    """Field 22 of ``/proc/<pid>/stat``: what tells this process from a later one of the same pid."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[19]


def _write(path: str, text: str) -> None:
    with open(f"{path}.new", "w") as file:
        file.write(text + "\n")
    os.replace(f"{path}.new", path)  # noqa: PTH105 - starts faster without pathlib


class _Control:
    """Signals and files by which the harness says what is to be done."""

    def __init__(self, directory: str, shaper: Shaper) -> None:
        self._directory = directory
        self._shaper = shaper
        self.ended = False
        self.wake, wake = socket.socketpair()
        for end in (self.wake, wake):
            end.setblocking(False)
        self._wake_end = wake
        signal.set_wakeup_fd(wake.fileno())
        signal.signal(signal.SIGHUP, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, *_: object) -> None:
        self.ended = True

    def heed(self) -> None:
        """Do what the signals that have come mean."""
        with contextlib.suppress(BlockingIOError):
            while self.wake.recv(64):
                pass
        if not self.ended:
            self.apply()

    def apply(self) -> None:
        """Put in force what ``links`` says."""
        with open(f"{self._directory}/links") as file:
            wanted = json.load(file)
        if wanted["links"] and self._shaper.queue is None:
            self._shaper.bind()
        self._shaper.apply(wanted["links"])
        if not wanted["links"]:  # whoever comes next is to start another process
            self.forget()
        _write(f"{self._directory}/applied", str(wanted["generation"]))

    def register(self) -> None:
        _write(f"{self._directory}/process", f"{os.getpid()} {_started(os.getpid())}")

    def forget(self) -> None:
        """Remove our entry, unless it is another's by now."""
        path = f"{self._directory}/process"
        with contextlib.suppress(FileNotFoundError):
            with open(path) as file:
                ours = file.read().split()[:1] == [str(os.getpid())]
            if ours:
                os.unlink(path)  # noqa: PTH108 - starts faster without pathlib


def main() -> None:
    """Shape until nothing is left to shape, or until told to end."""
    gc.disable()  # nothing here goes round in circles, and a collection would keep packets waiting
    shaper = Shaper(raw_socket())
    control = _Control(sys.argv[1], shaper)
    control.register()
    try:
        control.apply()
        while not control.ended and (shaper.queue is not None or shaper.wait_s() is not None):
            watched = [control.wake] if shaper.queue is None else [control.wake, shaper.queue]
            ready, _, _ = select.select(watched, [], [], shaper.wait_s())
            if control.wake in ready:
                control.heed()
            if shaper.queue is not None and shaper.queue in ready:
                shaper.take()
            shaper.release()
        shaper.release(all_of_them=True)
    finally:
        control.forget()


if __name__ == "__main__":
    main()
