"""The link proxy, driven as the harness drives it: by JSON lines, with real sockets at both ends."""

from __future__ import annotations

import socket

import pytest
from proxied import AB, BA, PATIENCE_S, SILENCE_S, Proxied, fill, silent

from foreshock.harness.backends.link_proxy.connection import CONNECTIONS_MAX_PER_LINK


def test_bytes_pass_both_ways(proxied: Proxied) -> None:
    near, far = proxied.pair()
    far.sendall(b"answer")
    assert near.recv(6) == b"answer"


def test_a_cut_stalls_one_way_breaks_nothing_and_heals_with_all_that_was_sent(proxied: Proxied) -> None:
    near, far = proxied.pair()
    proxied.cut(AB)
    near.sendall(b"stalled")
    far.sendall(b"passes")
    assert near.recv(6) == b"passes"
    assert silent(far)
    proxied.cut([])
    assert far.recv(7) == b"stalled"


def test_the_way_back_is_cut_by_itself(proxied: Proxied) -> None:
    near, far = proxied.pair()
    proxied.cut(BA)
    far.sendall(b"stalled")
    near.sendall(b"passes")
    assert far.recv(6) == b"passes"
    assert silent(near)
    proxied.cut([])
    assert near.recv(7) == b"stalled"


def test_a_new_connection_through_a_cut_is_accepted_and_held(proxied: Proxied) -> None:
    proxied.cut(AB)
    near = proxied.dial()
    near.sendall(b"early")
    proxied.receiver.settimeout(SILENCE_S)
    with pytest.raises(TimeoutError):
        proxied.receiver.accept()
    proxied.receiver.settimeout(PATIENCE_S)
    proxied.cut([])
    assert proxied.accept().recv(5) == b"early"


def test_an_end_of_stream_waits_behind_the_cut_like_the_bytes_before_it(proxied: Proxied) -> None:
    near, far = proxied.pair()
    proxied.cut(AB)
    near.sendall(b"last words")
    near.shutdown(socket.SHUT_WR)
    assert silent(far)
    proxied.cut([])
    assert far.recv(10) == b"last words"
    assert far.recv(1) == b""
    far.sendall(b"still heard")
    assert near.recv(11) == b"still heard"


def test_a_refusal_reaches_the_dialler_as_a_reset_but_not_through_a_cut(proxied: Proxied) -> None:
    proxied.receiver.close()
    proxied.cut(BA)
    near = proxied.dial()
    assert silent(near)
    proxied.cut([])
    with pytest.raises(ConnectionResetError):
        near.recv(1)


def test_a_stalled_direction_pushes_back_on_its_writer(proxied: Proxied) -> None:
    near, _far = proxied.pair()
    proxied.cut(AB)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
    assert fill(near) < 32 << 20


def test_a_reader_that_reads_nothing_pushes_back_too_and_gets_all_in_the_end(proxied: Proxied) -> None:
    near, far = proxied.pair()
    sent = fill(near)
    assert sent < 32 << 20
    near.shutdown(socket.SHUT_WR)
    got = 0
    while chunk := far.recv(1 << 20):
        got += len(chunk)
    assert got == sent


def test_a_link_holds_a_bounded_number_of_connections_and_resets_the_oldest(proxied: Proxied) -> None:
    proxied.cut(AB)
    oldest = proxied.dial()
    others = [proxied.dial() for _ in range(CONNECTIONS_MAX_PER_LINK)]
    with pytest.raises(ConnectionResetError):
        oldest.recv(1)
    assert silent(others[-1])


def test_datagrams_come_back_under_the_same_rules(proxied: Proxied) -> None:
    proxied.sink.settimeout(PATIENCE_S)
    proxied.sink.sendto(b"before", ("127.0.0.1", proxied.udp))
    assert proxied.sink.recv(100) == b"before"
    proxied.cut(AB)
    proxied.sink.sendto(b"dropped", ("127.0.0.1", proxied.udp))
    proxied.sink.sendto(b"control", ("127.0.0.1", proxied.control))
    assert proxied.sink.recv(100) == b"control"
    assert silent(proxied.sink)
    proxied.cut([])
    proxied.sink.sendto(b"after", ("127.0.0.1", proxied.udp))
    assert proxied.sink.recv(100) == b"after"


def test_the_proxy_ends_when_its_stdin_does_even_with_stalled_connections(proxied: Proxied) -> None:
    near, _far = proxied.pair()
    proxied.cut(AB)
    near.sendall(b"stalled")
    assert proxied.process.stdin is not None
    proxied.process.stdin.close()
    assert proxied.process.wait(PATIENCE_S) == 0
