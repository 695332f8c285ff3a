"""The program that shapes packets, over sockets that only write down."""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.harness.backends.on_hosts import packet_shaper
from foreshock.harness.backends.on_hosts.packet_shaper import Link, Shaper, corrupted

MS = 1_000_000
DROPPED, PASSED = 0, 1
HERE, THERE = "10.0.0.1", "10.0.0.2"


def packet(content: bytes = b"x" * 40, protocol: int = 17, receiver: str = THERE) -> bytes:
    """An IPv4 packet with a transport header."""
    transport = bytes(12) + b"\x50" + bytes(7) if protocol == 6 else bytes(8)
    length = 20 + len(transport) + len(content)
    head = struct.pack("!BBHHHBBH", 0x45, 0, length, 7, 0, 64, protocol, 0)
    return head + socket.inet_aton(HERE) + socket.inet_aton(receiver) + transport + content


class Queue:
    """A netlink socket that hands over packets and writes down verdicts."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.verdicts: list[tuple[int, int, bytes | None]] = []
        self.closed = False

    def hand_over(self, identity: int, content: bytes) -> None:
        def attribute(kind: int, data: bytes) -> bytes:
            return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)

        body = bytes(4) + attribute(1, struct.pack("!IHB", identity, 0x0800, 3)) + attribute(10, content)
        self.waiting.append(struct.pack("=IHHII", 16 + len(body), 3 << 8, 0, 0, 0) + body)

    def recv(self, _: int) -> bytes:
        if not self.waiting:
            raise BlockingIOError
        return self.waiting.pop(0)

    def send(self, data: bytes) -> None:
        verdict, identity = struct.unpack_from("!II", data, 24)
        self.verdicts.append((identity, verdict, data[36:] or None))

    def close(self) -> None:
        self.closed = True


class Raw:
    """A raw socket that writes down what it sends."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        assert socket.inet_aton(address[0]) == data[16:20]
        self.sent.append(data)


class Bench:
    """A shaper between such sockets, at a time that stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 1_000 * MS
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.now_ns)
        self.queue, self.raw = Queue(), Raw()
        socket_: Any = self.raw
        self.shaper = Shaper(socket_)
        queue: Any = self.queue
        self.shaper.queue = queue

    def shape(self, **shape: Any) -> None:
        self.shaper.apply({THERE: shape})

    def pass_on(self, count: int = 1, content: bytes | None = None) -> None:
        for identity in range(count):
            self.queue.hand_over(identity, packet() if content is None else content)
        while self.queue.waiting:
            self.shaper.take()
        self.shaper.release()

    def later(self, ns: int) -> None:
        self.now_ns += ns
        self.shaper.release()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    random.seed(3)
    return Bench(monkeypatch)


def test_what_is_delayed_is_taken_out_and_sent_anew_when_it_is_due(bench: Bench) -> None:
    bench.shape(delay_us=50_000)
    bench.pass_on()
    assert bench.queue.verdicts == [(0, DROPPED, None)]
    assert bench.shaper.wait_s() == 0.05
    bench.later(50 * MS - 1)
    assert not bench.raw.sent
    bench.later(1)
    assert bench.raw.sent == [packet()]
    assert bench.shaper.wait_s() is None


def test_equal_delays_keep_the_order(bench: Bench) -> None:
    bench.shape(delay_us=1_000)
    contents = [packet(bytes([number]) * 30) for number in range(20)]
    for content in contents:
        bench.pass_on(content=content)
    bench.later(MS)
    assert bench.raw.sent == contents


def test_what_goes_elsewhere_passes_at_once(bench: Bench) -> None:
    bench.shape(loss_ppm=1_000_000)
    bench.pass_on(content=packet(receiver="10.0.0.3"))
    assert bench.queue.verdicts == [(0, PASSED, None)]


@pytest.mark.parametrize(
    ("what", "count_of"),
    [
        ("loss_ppm", lambda bench: sum(verdict == DROPPED for _, verdict, _ in bench.queue.verdicts)),
        ("corrupt_ppm", lambda bench: sum(mangled is not None for _, _, mangled in bench.queue.verdicts)),
        ("duplicate_ppm", lambda bench: len(bench.raw.sent)),
        ("reorder_ppm", lambda bench: sum(verdict == DROPPED for _, verdict, _ in bench.queue.verdicts)),
    ],
)
def test_a_chance_strikes_about_as_many_as_it_says(
    what: str, count_of: Callable[[Bench], int], bench: Bench
) -> None:
    bench.shape(**{what: 300_000, "reorder_us": 20_000})
    bench.pass_on(1000)
    assert len(bench.queue.verdicts) == 1000
    assert 200 < count_of(bench) < 400


def test_what_is_held_back_comes_after_what_was_sent_later(bench: Bench) -> None:
    bench.shape(reorder_ppm=500_000, reorder_us=20_000)
    bench.pass_on(100)
    passed = sum(verdict == PASSED for _, verdict, _ in bench.queue.verdicts)
    assert 0 < passed < 100
    assert not bench.raw.sent
    bench.later(20 * MS)
    assert len(bench.raw.sent) == 100 - passed


def test_a_rate_lets_pass_so_much_a_second_and_loses_what_does_not_fit_the_queue(bench: Bench) -> None:
    bench.shape(rate_bytes_per_s=6_800)  # 100 packets of 68 bytes a second
    bench.pass_on(250)
    assert len(bench.raw.sent) == 0
    bench.later(500 * MS)
    assert len(bench.raw.sent) == 50
    bench.later(10_000 * MS)
    assert 100 <= len(bench.raw.sent) <= 102


def test_what_is_longer_than_a_raw_socket_sends_is_held_itself(bench: Bench) -> None:
    bench.shape(delay_us=5_000)
    long = packet(bytes(70_000 - 28)[:65_000])
    bench.pass_on(content=long)
    assert not bench.queue.verdicts
    bench.later(5 * MS)
    assert bench.queue.verdicts == [(0, PASSED, None)]


def test_a_new_shape_leaves_what_is_held_to_its_time(bench: Bench) -> None:
    bench.shape(delay_us=50_000)
    bench.pass_on()
    bench.shape(loss_ppm=1_000_000)
    bench.pass_on()
    bench.later(50 * MS)
    assert bench.raw.sent == [packet()]


def test_without_links_the_queue_is_let_go_and_what_was_taken_out_is_sent_when_it_is_due(
    bench: Bench,
) -> None:
    bench.shape(delay_us=50_000)
    bench.pass_on()
    bench.pass_on(content=packet(bytes(65_000)))
    bench.shaper.apply({})
    assert bench.queue.closed
    assert bench.queue.verdicts[-1] == (0, PASSED, None)
    assert bench.shaper.wait_s() == 0.05
    bench.later(50 * MS)
    assert bench.raw.sent == [packet()]


def test_no_more_is_held_than_there_is_room_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet_shaper, "PACKETS_MAX", 10)
    bench.shape(delay_us=50_000)
    bench.pass_on(25)
    bench.later(50 * MS)
    assert len(bench.raw.sent) == 10


@pytest.mark.parametrize(
    ("distribution", "least", "most"), [("uniform", 40, 60), ("normal", 15, 95), ("pareto", 48, 130)]
)
def test_jitter_lies_around_the_delay(distribution: str, least: int, most: int) -> None:
    random.seed(5)
    link = Link({"delay_us": 50_000, "jitter_us": 10_000, "distribution": distribution})
    found = sorted(link.due_ns(0, 100) or 0 for _ in range(2000))
    assert least * MS <= found[20]
    assert found[-1] <= most * MS
    assert abs(found[1000] - 50 * MS) < MS
    assert found[-1] - found[0] > 15 * MS


def test_no_packet_comes_before_it_was_sent() -> None:
    link = Link({"delay_us": 1_000, "jitter_us": 100_000, "distribution": "normal"})
    assert min(link.due_ns(7, 100) or 0 for _ in range(200)) == 7


@given(st.binary(max_size=60), st.sampled_from([6, 17, 1]))
def test_one_bit_is_flipped_in_what_is_carried_and_never_in_the_first_header(
    content: bytes, protocol: int
) -> None:
    before = packet(content, protocol)
    after = corrupted(before)
    flipped = [place for place in range(len(before)) if before[place] != after[place]]
    assert len(after) == len(before)
    assert len(flipped) == 1
    assert (before[flipped[0]] ^ after[flipped[0]]).bit_count() == 1
    carried_from = {6: 40, 17: 28, 1: 20}[protocol]
    assert flipped[0] >= (carried_from if content else 20)
