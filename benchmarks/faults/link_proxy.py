"""What the link proxy adds to a message, unshaped and shaped, beside a direct connection over loopback in the same run.

Ping-pong of small messages over one connection each, in turns of some hundred, so that both meet the same machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from foreshock.harness.backends.process.links import LinkProxy
from foreshock.harness.capabilities import LinkShape
from foreshock.harness.cluster import Endpoint

TURNS = 20
ECHOES = 250
MESSAGE_BYTES = 64
ADDED_AIM_US = 150.0
DELAYS_US = (1_000, 5_000, 20_000)
DELAYED_ECHOES = 40
BULK_BYTES = 64 << 20


@contextlib.contextmanager
def echoing() -> Iterator[Endpoint]:
    """A server that sends back what it gets, in a thread for each connection."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client, contextlib.suppress(ConnectionError):
            while data := client.recv(1 << 16):
                client.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):  # the server is closed
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with server:
        yield Endpoint(*server.getsockname())


def connect(endpoint: Endpoint) -> socket.socket:
    """A connection without Nagle's delay."""
    connection = socket.create_connection((endpoint.host, endpoint.port), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def round_trips_us(connection: socket.socket, count: int) -> list[float]:
    """How long each of so many echoes took, in microseconds."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        connection.sendall(bytes(MESSAGE_BYTES))
        got = 0
        while got < MESSAGE_BYTES:
            got += len(connection.recv(MESSAGE_BYTES))
        times.append((time.perf_counter() - began) * 1e6)
    return times


def sleeps_us(duration_us: int) -> list[float]:
    """How long sleeps of that length took: what a busy machine adds to any delay."""
    times = []
    for _ in range(DELAYED_ECHOES):
        began = time.perf_counter()
        time.sleep(duration_us / 1e6)
        times.append((time.perf_counter() - began) * 1e6)
    return times


def bulk_mb_per_s(connection: socket.socket) -> float:
    """How much comes back a second when all is sent at once."""
    sender = threading.Thread(target=connection.sendall, args=(bytes(BULK_BYTES),))
    began = time.perf_counter()
    sender.start()
    got = 0
    while got < BULK_BYTES:
        got += len(connection.recv(1 << 20))
    sender.join()
    return BULK_BYTES / 1e6 / (time.perf_counter() - began)


async def measure(direct: Endpoint, proxy: LinkProxy) -> float:
    """Print the table; returns what the proxy adds to a message, in microseconds."""
    with connect(direct) as near, connect(proxy.endpoint("a", "b")) as linked:
        plain: list[float] = []
        proxied: list[float] = []
        for _ in range(TURNS):
            plain += await asyncio.to_thread(round_trips_us, near, ECHOES)
            proxied += await asyncio.to_thread(round_trips_us, linked, ECHOES)
        here, there = statistics.median(plain), statistics.median(proxied)
        added_us = (there - here) / 2
        print(f"round trip, direct                {here:10.1f} us")
        print(f"round trip, through a link        {there:10.1f} us   x{there / here:.1f}")
        print(f"added to a message                {added_us:10.1f} us   to be under {ADDED_AIM_US:.0f} us")
        for delay_us in DELAYS_US:
            await proxy.shape({("a", "b"): LinkShape(delay_us=delay_us)})
            times = await asyncio.to_thread(round_trips_us, linked, DELAYED_ECHOES)
            seen_us = statistics.median(times) - there
            slept_us = statistics.median(await asyncio.to_thread(sleeps_us, delay_us))
            print(
                f"one way delayed by {delay_us:6} us      {seen_us:10.1f} us   {seen_us - delay_us:+.0f} us; "
                f"a plain sleep: {slept_us - delay_us:+.0f} us"
            )
        await proxy.shape({})
        before = await asyncio.to_thread(bulk_mb_per_s, near)
        through = await asyncio.to_thread(bulk_mb_per_s, linked)
        print(f"both ways at once, direct         {before:10.0f} MB/s")
        print(f"both ways at once, through a link {through:10.0f} MB/s   x{through / before:.2f}")
    return added_us


async def run() -> float:
    """Start the proxy with one link each way, and measure."""
    with tempfile.TemporaryDirectory() as directory, echoing() as direct:
        proxy = await LinkProxy.start({"a": direct, "b": direct}, Path(directory) / "proxy.log", os.environ)
        try:
            return await measure(direct, proxy)
        finally:
            await proxy.close()


def main() -> int:
    """Print the table; 1 when the proxy adds too much."""
    return int(asyncio.run(run()) > ADDED_AIM_US)


if __name__ == "__main__":
    sys.exit(main())
