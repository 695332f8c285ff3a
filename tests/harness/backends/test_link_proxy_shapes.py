"""Shapes on the links of a real proxy: late, lost and paced bytes, resets, and the datagrams that show them."""

from __future__ import annotations

import socket
import threading
import time
from itertools import pairwise

import pytest
from proxied import AB, PATIENCE_S, SILENCE_S, Proxied, fill, silent

from foreshock.harness.backends.link_proxy.half import HELD_BYTES_MAX
from foreshock.harness.backends.link_proxy.relay import BEHIND, SHAPED
from foreshock.harness.packet_fates import RETRANSMISSION_NS

DELAY_US = 80_000
DELAY_S = DELAY_US / 1e6
CERTAIN = 1_000_000


def take(reader: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count and (chunk := reader.recv(count - len(got))):
        got += chunk
    return got


def echo_s(near: socket.socket, far: socket.socket) -> tuple[float, float]:
    """How long a byte takes there, and how long back."""
    began = time.monotonic()
    near.sendall(b"x")
    assert far.recv(1) == b"x"
    there = time.monotonic()
    far.sendall(b"y")
    assert near.recv(1) == b"y"
    return there - began, time.monotonic() - there


def test_a_delay_is_one_way_never_too_short_and_ends(shared: Proxied) -> None:
    near, far = shared.pair()
    shared.shape(("a", "b", {"delay_us": DELAY_US}))
    there, _ = echo_s(near, far)
    assert there >= DELAY_S
    shared.shape(("b", "a", {"delay_us": DELAY_US}))
    _, back = echo_s(near, far)
    assert back >= DELAY_S
    shared.shape()
    quickest = min(sum(echo_s(near, far)) for _ in range(20))
    assert quickest < DELAY_S


@pytest.mark.parametrize(
    "shape",
    [
        {"delay_us": 20_000, "jitter_us": 20_000},
        {"delay_us": 1_000, "jitter_us": 3_000, "distribution": "pareto"},
        {"loss_ppm": 20_000},
        {"rate_bytes_per_s": 2_000_000},
    ],
)
def test_bytes_keep_their_order_and_none_is_lost(shared: Proxied, shape: dict[str, int]) -> None:
    near, far = shared.pair()
    shared.shape(("a", "b", shape))
    sent = b"".join(number.to_bytes(4, "big") for number in range(30_000))

    def send() -> None:
        for start in range(0, len(sent), 5_000):
            near.sendall(sent[start : start + 5_000])
            if start == len(sent) // 2:
                time.sleep(0)
        near.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    got = take(far, len(sent))
    assert got == sent
    assert far.recv(1) == b"", "the end of the stream comes behind all bytes"
    sender.join()


def test_what_comes_after_a_shape_does_not_overtake_what_it_delays(shared: Proxied) -> None:
    near, far = shared.pair()
    shared.shape(("a", "b", {"delay_us": 4 * DELAY_US}))
    near.sendall(b"late")
    # A datagram that the proxy answers shows that it has read what came before.
    shared.sink.settimeout(PATIENCE_S)
    shared.sink.sendto(b"read", ("127.0.0.1", shared.control))
    assert shared.sink.recv(100) == b"read"
    shared.shape()
    near.sendall(b"soon")
    assert take(far, 8) == b"latesoon"


def test_a_lost_packet_stalls_the_bytes_behind_it_for_a_retransmission(shared: Proxied) -> None:
    near, far = shared.pair()
    shared.shape(("a", "b", {"loss_ppm": 100_000}))
    assert any(echo_s(near, far)[0] >= RETRANSMISSION_NS / 1e9 for _ in range(200))


def test_a_link_that_loses_everything_stalls_like_a_cut(shared: Proxied) -> None:
    near, far = shared.pair()
    shared.shape(("a", "b", {"loss_ppm": CERTAIN}))
    near.sendall(b"stalled")
    far.sendall(b"passes")
    assert take(near, 6) == b"passes"
    assert silent(far)
    late = shared.dial()
    late.sendall(b"early")
    shared.receiver.settimeout(SILENCE_S)
    with pytest.raises(TimeoutError):
        shared.receiver.accept()
    shared.receiver.settimeout(PATIENCE_S)
    shared.shape()
    assert take(far, 7) == b"stalled"
    assert take(shared.accept(), 5) == b"early"


def test_a_cut_wins_over_a_shape_and_both_end_by_themselves(shared: Proxied) -> None:
    near, far = shared.pair()
    shared.shape(("a", "b", {"delay_us": 1_000}))
    shared.cut(AB)
    near.sendall(b"held")
    assert silent(far)
    shared.shape()
    assert silent(far)
    shared.cut([])
    assert take(far, 4) == b"held"


def test_a_rate_passes_so_much_a_second(shared: Proxied) -> None:
    near, far = shared.pair()
    shared.shape(("a", "b", {"rate_bytes_per_s": 200_000}))
    began = time.monotonic()
    near.sendall(bytes(60_000))
    assert len(take(far, 60_000)) == 60_000
    assert time.monotonic() - began >= 0.29


def test_a_direction_that_holds_much_back_pushes_back_on_its_writer(shared: Proxied) -> None:
    near, far = shared.pair()
    shared.shape(("a", "b", {"delay_us": 60_000_000}))
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
    assert fill(near) < HELD_BYTES_MAX + (16 << 20)
    far.sendall(b"passes")
    assert take(near, 6) == b"passes"


def test_a_reset_breaks_both_ends_of_every_connection_that_the_sender_opened(shared: Proxied) -> None:
    pairs = [shared.pair(), shared.pair()]
    shared.cut(AB)
    ports = sorted(near.getsockname()[1] for near, _ in pairs)
    answer = shared.ask({"id": 3, "reset": [["a", "b"]]})
    assert [sorted(found) for found in answer["reset"]] == [ports]
    assert answer["left"] == []
    for near, far in pairs:
        for end in (near, far):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
    assert shared.ask({"id": 4, "reset": [["a", "b"]]}) == {"id": 4, "reset": [[]], "left": []}
    shared.cut([])
    shared.pair()


def test_probes_meet_the_shape_and_what_follows_them_comes_last(shared: Proxied) -> None:
    shared.shape(("a", "b", {"delay_us": DELAY_US, "jitter_us": DELAY_US // 2, "loss_ppm": 300_000}))
    shared.sink.settimeout(PATIENCE_S)
    address = ("127.0.0.1", shared.udp)
    began = time.monotonic()
    for number in range(60):
        shared.sink.sendto(SHAPED + b"%d" % number, address)
    shared.sink.sendto(BEHIND, address)
    shared.sink.sendto(b"of a cut", address)
    assert shared.sink.recv(100) == b"of a cut", "what shows cuts is not delayed"
    arrived = []
    while (data := shared.sink.recv(100)) != BEHIND:
        arrived.append(int(data[len(SHAPED) :]))
    assert time.monotonic() - began >= DELAY_S / 2
    assert 20 < len(arrived) < 60
    assert len(set(arrived)) == len(arrived)
    assert any(later < earlier for earlier, later in pairwise(arrived))


def test_probes_do_not_pass_a_cut_nor_a_link_that_loses_everything(shared: Proxied) -> None:
    shared.sink.settimeout(PATIENCE_S)
    address = ("127.0.0.1", shared.udp)
    shared.cut(AB)
    shared.sink.sendto(SHAPED + b"1", address)
    shared.cut([])
    shared.shape(("a", "b", {"loss_ppm": CERTAIN}))
    for data in (SHAPED + b"2", b"of a cut", BEHIND):
        shared.sink.sendto(data, address)
    assert shared.sink.recv(100) == b"of a cut"
    assert shared.sink.recv(100) == BEHIND
