"""What only the runtime on the wall clock does: sockets, signals, threads."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import threading
from functools import partial

import pytest

from foreshock.harness.asyncio_connection import INBOX_HIGH, LINE_BYTES_MAX
from foreshock.harness.asyncio_runtime import THREADS_MAX, AsyncioRuntime
from foreshock.harness.cluster import Endpoint
from foreshock.harness.errors import HarnessError
from foreshock.harness.runtime import Connection, ConnectionClosed, ConnectionRefused, TimeoutExpired

MS = 1_000_000


class RawServer:
    """A listening socket in the hands of the test, so that it can send what no JSON-lines peer would."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = Endpoint(*self.listener.getsockname())

    def accept(self) -> socket.socket:
        return self.listener.accept()[0]


@pytest.fixture
def runtime() -> AsyncioRuntime:
    return AsyncioRuntime(1)


@pytest.mark.parametrize(
    ("bytes_sent", "reason"),
    [
        (b"{broken\n", "no JSON object"),
        (b"[1, 2]\n", "no JSON object"),
        (b"3\n", "no JSON object"),
        (b'{"a": "\xff"}\n', "no JSON object"),
        (b"[" * 100_000 + b"\n", "no JSON object"),
        (b'{"a": ' + b"[" * 100_000 + b"\n", "no JSON object"),
        (b"", "the peer closed"),
        (b'{"half": ', "the peer closed"),
    ],
)
def test_what_is_no_line_of_json_ends_the_connection_after_what_was_good(
    runtime: AsyncioRuntime, bytes_sent: bytes, reason: str
) -> None:
    server = RawServer()

    async def main() -> None:
        connection = await runtime.connect(server.address)
        peer = await runtime.call(server.accept)
        peer.sendall(b'{"good": 1}\n\n' + bytes_sent)
        peer.shutdown(socket.SHUT_WR)
        assert await connection.receive() == {"good": 1}
        with pytest.raises(ConnectionClosed, match=reason):
            await connection.receive()

    runtime.run(main())


def test_messages_arrive_whole_however_they_are_cut_up(runtime: AsyncioRuntime) -> None:
    server = RawServer()

    async def main() -> None:
        connection = await runtime.connect(server.address)
        peer = await runtime.call(server.accept)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b'{"a": 1}\n{"b":\r 2}\n':
            peer.sendall(bytes([byte]))
            await runtime.sleep(0)
        assert await connection.receive() == {"a": 1}
        assert await connection.receive() == {"b": 2}

    runtime.run(main())


def test_a_message_of_almost_16_mib_passes_and_a_longer_one_breaks_the_connection(
    runtime: AsyncioRuntime,
) -> None:
    received: list[int] = []
    broken: list[str] = []

    async def serve(connection: Connection) -> None:
        try:
            while True:
                received.append(len((await connection.receive())["text"]))
                await connection.send({})
        except ConnectionClosed as error:
            broken.append(str(error))

    async def main() -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = Endpoint(*probe.getsockname())
        await runtime.listen(address, serve)
        connection = await runtime.connect(address)
        await connection.send({"text": "x" * (LINE_BYTES_MAX - 11)})
        assert await connection.receive() == {}
        with pytest.raises(ConnectionClosed, match="longer than 16777216 bytes"):
            await connection.send({"text": "x" * LINE_BYTES_MAX})
        raw = socket.create_connection((address.host, address.port))
        raw.setblocking(False)
        sent = 0
        while not broken or sent < LINE_BYTES_MAX:
            try:
                sent += raw.send(b"y" * 1_000_000)
            except BlockingIOError:
                await runtime.sleep(MS)
            except OSError:
                break
        raw.close()
        while len(broken) < 2:
            await runtime.sleep(MS)

    runtime.run(main())
    assert received == [LINE_BYTES_MAX - 11]
    assert "longer than 16777216 bytes" in broken[1]


def test_a_sender_waits_for_a_slow_peer_and_a_reader_that_lags_stops_reading(runtime: AsyncioRuntime) -> None:
    server = RawServer()
    text = "z" * 100_000

    async def main() -> None:
        connection = await runtime.connect(server.address)
        peer = await runtime.call(server.accept)

        async def pour() -> None:
            for _ in range(1_000):
                await connection.send({"text": text})

        with pytest.raises(TimeoutExpired):
            await runtime.timeout(pour(), 200 * MS)
        line = b'{"n": 1}\n' * (10 * INBOX_HIGH)
        peer.setblocking(False)
        refused = 0
        while refused < 20:
            try:
                peer.send(line)
            except BlockingIOError:
                refused += 1
                await runtime.sleep(MS)
        for _ in range(20 * INBOX_HIGH):
            assert await connection.receive() == {"n": 1}

    runtime.run(main())


def test_a_peer_that_resets_is_a_closed_connection(runtime: AsyncioRuntime) -> None:
    server = RawServer()

    async def main() -> None:
        connection = await runtime.connect(server.address)
        peer = await runtime.call(server.accept)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        peer.close()
        with pytest.raises(ConnectionClosed, match="broke"):
            await connection.receive()
        with pytest.raises(ConnectionClosed):
            await connection.send({})

    runtime.run(main())


def test_a_name_that_does_not_resolve_is_refused(runtime: AsyncioRuntime) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefused, match=r"no connection to node\.invalid:7000"):
            await runtime.connect(Endpoint("node.invalid", 7000))

    runtime.run(main())


def test_a_socket_that_connects_to_itself_is_refused(runtime: AsyncioRuntime) -> None:
    async def main() -> None:
        refused = 0
        low = int((await runtime.call(ephemeral_ports)).split()[0])
        for port in range(low + 1, low + 400):
            try:
                (await runtime.connect(Endpoint("127.0.0.1", port))).close()
            except ConnectionRefused:
                refused += 1
        assert refused >= 390

    def ephemeral_ports() -> str:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            return file.read()

    if not os.path.exists("/proc/sys/net/ipv4/ip_local_port_range"):  # noqa: PTH110 - a fact of Linux
        pytest.skip("the range of ephemeral ports is known on Linux only")
    runtime.run(main())


def test_a_port_that_is_taken_is_a_sentence(runtime: AsyncioRuntime) -> None:
    server = RawServer()

    async def serve(connection: Connection) -> None:
        await connection.receive()

    async def main() -> None:
        with pytest.raises(HarnessError, match=f"cannot listen on 127.0.0.1:{server.address.port}: "):
            await runtime.listen(server.address, serve)

    runtime.run(main())


@pytest.mark.parametrize("early", [True, False])
def test_signals_are_called_back_in_the_loops_thread_and_the_old_handlers_come_back(
    runtime: AsyncioRuntime, early: bool
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    threads: list[threading.Thread] = []

    async def main() -> None:
        channel = runtime.channel(10)

        def interrupted() -> None:
            threads.append(threading.current_thread())
            channel.put(None)

        runtime.on_interrupt(interrupted)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
            await runtime.timeout(channel.get(), 10_000 * MS)

    if early:
        runtime.on_interrupt(lambda: None)
    runtime.run(main())
    assert threads == [threading.main_thread()] * 3
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_an_interrupt_that_nobody_asked_for_ends_the_run_and_still_cleans_up(
    runtime: AsyncioRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    cleaned: list[bool] = []

    async def main() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await runtime.channel(1).get()
        finally:
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt) as interrupt:
        runtime.run(main())
    assert cleaned == [True]
    del interrupt
    gc.collect()
    assert caplog.messages == [], "asyncio tells that nobody asked for the interrupt, whenever it likes"


def test_blocking_calls_run_beside_each_other_but_only_so_many(runtime: AsyncioRuntime) -> None:
    gate = threading.Event()
    lock = threading.Lock()
    counts = {"now": 0, "most": 0}
    full = threading.Event()

    def block() -> None:
        with lock:
            counts["now"] += 1
            counts["most"] = max(counts["most"], counts["now"])
            if counts["now"] == THREADS_MAX:
                full.set()
        gate.wait(30)
        with lock:
            counts["now"] -= 1

    async def main() -> None:
        tasks = [runtime.spawn(runtime.call(block), name=f"call {i}") for i in range(THREADS_MAX + 20)]
        while not full.is_set():
            await runtime.sleep(MS)
        gate.set()
        for task in tasks:
            await task.wait()

    runtime.run(main())
    assert counts == {"now": 0, "most": THREADS_MAX}


def test_threads_are_used_again(runtime: AsyncioRuntime) -> None:
    async def main() -> None:
        names = [await runtime.call(threading.get_ident) for _ in range(50)]
        assert len(set(names)) <= 2

    runtime.run(main())


def test_a_call_that_was_given_up_before_it_had_a_thread_is_never_made(
    runtime: AsyncioRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()
    made: list[str] = []

    async def main() -> None:
        busy = [runtime.spawn(runtime.call(gate.wait), name=f"call {i}") for i in range(THREADS_MAX)]
        await runtime.sleep(0)
        assert not caplog.records
        for what in ("given up", "given up too"):
            late = runtime.spawn(runtime.call(partial(made.append, what)), name=what)
            await runtime.sleep(0)
            late.cancel()
        kept = runtime.spawn(runtime.call(partial(made.append, "kept")), name="kept")
        await runtime.sleep(0)
        gate.set()
        for task in busy:
            await task.wait()
        await kept.wait()

    runtime.run(main())
    assert made == ["kept"]
    (warning,) = caplog.messages
    assert warning.startswith(f"{THREADS_MAX} blocking calls are under way")


def test_a_blocking_call_that_never_returns_does_not_hold_up_the_end(runtime: AsyncioRuntime) -> None:
    gate = threading.Event()

    async def main() -> None:
        with pytest.raises(TimeoutExpired):
            await runtime.timeout(runtime.call(gate.wait), 5 * MS)

    runtime.run(main())
    gate.set()


def test_a_blocking_call_may_raise_anything(runtime: AsyncioRuntime) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await runtime.call(lambda: next(iter(())))

    runtime.run(main())


def test_clients_of_other_libraries_may_use_asyncio_directly(runtime: AsyncioRuntime) -> None:
    async def main() -> int:
        async with asyncio.timeout(10):
            await asyncio.sleep(0.001)
        return sum(await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2)))

    assert runtime.run(main()) == 3


def test_a_task_that_swallows_its_cancellation_is_named() -> None:
    runtime = AsyncioRuntime(1)

    async def stubborn() -> None:
        while True:
            try:
                await runtime.channel(1).get()
            except asyncio.CancelledError:
                continue

    async def main() -> None:
        runtime.spawn(stubborn(), name="the stubborn one")
        await runtime.sleep(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("foreshock.harness.asyncio_runtime.SHUTDOWN_SECONDS_MAX", 0.01)
        with pytest.raises(HarnessError, match="the stubborn one"):
            runtime.run(main())
    gc.collect()  # so that asyncio says now, not after the last test, that it lost a task
