"""Slow, broken and greedy clients: each is turned away, and everybody else is served all the while."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.server import stores
from tests.harness.server.serving import Serving, Stream
from tests.reports import runs

MEBIBYTE = 1 << 20


@pytest.fixture(autouse=True)
def still_serves(server: Serving) -> Iterator[None]:
    """Whatever was done to it, the next client is served, and the server has not grown."""
    before = server.resident_bytes()
    yield
    assert server.get("/").status == 200
    assert server.resident_bytes() < before + 64 * MEBIBYTE


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"a" * 10 * MEBIBYTE + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 10 * MEBIBYTE + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
        b"a" * 10 * MEBIBYTE,
        b"\0" * MEBIBYTE,
        b"GET /\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET  /  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\nx",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n" * 50_000,
        b"GET / HTTP/1.1\r\nHost: local\0host\r\n\r\n",
        b"GET / HTTP/1.1\nHost: localhost\n\n",
    ],
    ids=lambda data: repr(data[:24]) + str(len(data)),
)
def test_what_is_no_request_is_answered_with_an_error_or_not_at_all(server: Serving, data: bytes) -> None:
    answer = server.send(data)
    assert answer == b"" or answer[9:12] in (
        b"400",
        b"413",
        b"414",
        b"421",
        b"431",
        b"403",
        b"404",
        b"405",
    ), answer[:80]
    assert b"Traceback" not in answer


def test_a_body_is_neither_read_nor_waited_for(server: Serving) -> None:
    with server.connect() as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 1000
        )
        assert client.recv(4096).startswith(b"HTTP/1.1 400 ")
        client.settimeout(30)
        with contextlib.suppress(ConnectionError):
            while client.recv(1 << 16):
                pass  # until it hangs up


def test_requests_ahead_of_their_answers_are_served_in_order_or_the_connection_ends(server: Serving) -> None:
    one = b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"
    few = server.send(one * 5 + b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert few.count(b"HTTP/1.1 404 ") == 5
    assert few.count(b"HTTP/1.1 200 ") == 1
    many = server.send(one * 20_000)
    assert many.count(b"HTTP/1.1 404 ") <= 500
    junk = server.send(one + b"\0garbage\r\n\r\n" * 1000)
    assert junk.count(b"HTTP/1.1 404 ") <= 1


def test_clients_that_never_finish_their_request_are_given_up(server: Serving) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(server.connect()) for _ in range(100)]
        for number, client in enumerate(slow):
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "[: number % 40])
        began = time.monotonic()
        assert server.get("/").status == 200  # nobody else waits for them
        assert time.monotonic() - began < 10
        for client in slow:
            client.settimeout(30)
            with contextlib.suppress(ConnectionError):
                assert client.recv(4096) == b""
        assert time.monotonic() - began < 30


def test_more_connections_than_there_may_be_are_turned_away(server: Serving) -> None:
    with contextlib.ExitStack() as stack:
        open_ones = [stack.enter_context(server.connect()) for _ in range(300)]
        open_ones[-1].settimeout(30)
        with contextlib.suppress(ConnectionError):
            open_ones[-1].sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert open_ones[-1].recv(4096) == b""
    deadline = time.monotonic() + 30  # those that went away are noticed, and make room
    while True:
        try:
            assert server.get("/").status == 200
            return
        except ConnectionError:
            assert time.monotonic() < deadline


def test_streams_are_counted_and_given_back(server: Serving) -> None:
    path = "/events/raft-register-kill/20260102T000000-aaaaaa/"
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(Stream(server, path)) for _ in range(65)]
        assert [stream.answer.status for stream in streams] == [200] * 64 + [503]
        assert streams[-1].answer.headers["Retry-After"] == "5"
    deadline = time.monotonic() + 30
    while (status := _status(server, path)) != 200:
        assert time.monotonic() < deadline, status


def _status(server: Serving, path: str) -> int:
    with Stream(server, path) as stream:
        return int(stream.answer.status)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_with_streams_and_half_sent_requests_open(
    tmp_path: Path, number: signal.Signals
) -> None:
    run = stores.running_run(tmp_path)
    with Serving(tmp_path) as own, Stream(own, f"/events/{run.parent.name}/{run.name}/") as stream:
        assert stream.event() is not None
        with own.connect() as client, own.connect() as idle:
            client.sendall(b"GET / HTTP/1.1\r\n")
            assert own.get("/").status == 200
            began = time.monotonic()
            assert own.end(number) == 0
            assert time.monotonic() - began < 10
            assert idle.recv(10) == b""
        assert own.said == ""


def test_a_client_that_goes_away_in_the_middle_of_a_file_is_no_news(tmp_path: Path) -> None:
    run = runs.store(tmp_path / "t" / "20260101T000000-000001")
    (run / "big.log").write_bytes(b"x" * 50 * MEBIBYTE)
    with Serving(tmp_path) as own:
        for _ in range(3):
            with own.connect() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.sendall(
                    b"GET /store/t/20260101T000000-000001/big.log HTTP/1.1\r\nHost: localhost\r\n\r\n"
                )
                assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert len(own.get("/store/t/20260101T000000-000001/big.log").body) == 50 * MEBIBYTE


def test_pipes_and_endless_devices_in_a_store_hold_nobody_up(tmp_path: Path) -> None:
    """Whoever reads a pipe waits for its writer, and whoever reads such a device never comes to its end."""
    names = ("test.json", "results.json", "summary.json", "live.json", "faults.jsonl", "history.jsonl")
    paths = ["/", "/campaigns/"]
    for number, (kind, name) in enumerate((kind, name) for kind in ("pipe", "device") for name in names):
        run = stores.running_run(tmp_path, alive=number % 4 == 0, test=f"t{number}")
        if name == "summary.json":
            run = stores.summarized(
                runs.valid_run(tmp_path / f"f{number}" / "20260101T100000-000001", count=5)
            )
        _put_in_place(run / name, kind)
        paths += [f"/{area}/{run.parent.name}/{run.name}/" for area in ("store", "live", "files")]
    for kind, name in (("pipe", "campaign.json"), ("device", "campaign.json"), ("pipe", "plan.json")):
        folder = stores.campaign(tmp_path, name=f"{kind}-{name[:4]}")
        _put_in_place(folder / name, kind)
        paths.append(f"/store/campaigns/{folder.parent.name}/{folder.name}/")
    with Serving(tmp_path) as own:
        for path in paths:
            assert own.get(path).status in (200, 302, 404), path
        assert own.get("/").text.count("<tr") > len(names)


def _put_in_place(path: Path, kind: str) -> None:
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
