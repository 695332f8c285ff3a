"""Five real Raft nodes with fsync on: operations a second and latency, beside a bare asyncio echo of the same machine.

The load is the same for both: closed loops over plain connections, each of which sends its next JSON line when the
last one was answered. The echo server decodes and encodes each line and does nothing else: what a single process of
this Python can do at best. Each figure of Raft is a write that five nodes agreed on and a majority has on disk, or a
read that a quorum has confirmed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from foreshock.harness.cluster import Endpoint, Node
from foreshock.targets.reference.raft_options import RaftOptions
from foreshock.targets.reference.raft_target import Raft
from foreshock.targets.reference.zipapp import NODE_ZIPAPP, build_node_zipapp

HOST = "127.0.0.1"
NODES = 5
SECONDS = 4.0
UP_SECONDS = 20.0
CONCURRENCIES = (1, 16, 128)
FSYNCS = 200

ECHO = """
import asyncio, json, sys

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.tail = transport, b""
    def data_received(self, data):
        *lines, self.tail = (self.tail + data).split(b"\\n")
        replies = []
        for line in lines:
            body = json.loads(line)["body"]
            reply = {"type": "echo_ok", "in_reply_to": body["msg_id"]}
            replies.append(json.dumps({"src": "e", "dest": "c", "body": reply}, separators=(",", ":")).encode())
        self.transport.write(b"\\n".join(replies) + b"\\n" if replies else b"")

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await server.serve_forever()

asyncio.run(main())
"""

Body = dict[str, Any]


class ClosedLoop(asyncio.Protocol):
    """One connection that sends a request, waits for its answer, and sends the next, until it is told to stop."""

    def __init__(self, requests: Iterator[Body], latencies_ns: list[int], failures: list[Body]) -> None:
        self._requests = requests
        self._latencies_ns = latencies_ns
        self._failures = failures
        self._tail = b""
        self._number = 0
        self._sent_ns = 0
        self.running = True
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._tail += data
        if not self._tail.endswith(b"\n"):
            return
        body = json.loads(self._tail)["body"]
        self._tail = b""
        if body["type"] == "error":
            self._failures.append(body)
        else:
            self._latencies_ns.append(time.perf_counter_ns() - self._sent_ns)
        if self.running:
            self._send()
        else:
            self._transport.close()

    def _send(self) -> None:
        self._number += 1
        body = {**next(self._requests), "msg_id": self._number}
        self._sent_ns = time.perf_counter_ns()
        self._transport.write(json.dumps({"src": "c", "body": body}, separators=(",", ":")).encode() + b"\n")


async def load(
    port: int, concurrency: int, requests: Callable[[int], Iterator[Body]]
) -> tuple[float, list[int]]:
    """Run closed loops for a while; returns operations a second and the sorted latencies in ns."""
    latencies_ns: list[int] = []
    failures: list[Body] = []
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    loops = []
    for number in range(concurrency):
        _, one = await loop.create_connection(
            lambda number=number: ClosedLoop(requests(number), latencies_ns, failures), HOST, port
        )
        loops.append(one)
    await asyncio.sleep(SECONDS)
    for one in loops:
        one.running = False
    elapsed = time.perf_counter() - began
    count = len(latencies_ns)
    await asyncio.sleep(0.3)
    if failures:
        print(f"   {len(failures)} requests were refused, such as: {failures[0]['text']}")
    return count / elapsed, sorted(latencies_ns[:count])


def writes(sessions: list[int]) -> Callable[[int], Iterator[Body]]:
    def requests(number: int) -> Iterator[Body]:
        for sequence in range(1, 1 << 40):
            yield {
                "type": "write",
                "key": number,
                "value": sequence,
                "client": sessions[number],
                "seq": sequence,
            }

    return requests


def reads(number: int) -> Iterator[Body]:
    while True:
        yield {"type": "read", "key": number}


def ask(port: int, *bodies: Body) -> list[Body]:
    """Requests over a connection of its own, all sent at once; returns the replies' bodies."""
    with socket.create_connection((HOST, port), timeout=UP_SECONDS) as connection:
        connection.sendall(b"".join(json.dumps({"body": body}).encode() + b"\n" for body in bodies))
        with connection.makefile("rb") as lines:
            return [json.loads(lines.readline())["body"] for _ in bodies]


def patiently(what: str, attempt: Callable[[], Any]) -> Any:
    """Try until it gives something; ends the benchmark with a sentence when nothing comes in time."""
    deadline = time.monotonic() + UP_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if given := attempt():
                return given
        time.sleep(0.05)
    sys.exit(f"{what} did not come within {UP_SECONDS:.0f} s")


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def processes(commands: list[list[str]], directory: Path) -> Iterator[None]:
    started = []
    try:
        for number, command in enumerate(commands):
            with open(directory / f"process{number}.log", "wb") as log:
                started.append(subprocess.Popen(command, stdout=log, stderr=log))
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(10)


def raft_commands(directory: Path, ports: list[int]) -> list[list[str]]:
    endpoints = {f"n{i + 1}": Endpoint(HOST, port) for i, port in enumerate(ports)}
    (directory / "files").mkdir()
    (directory / "files" / NODE_ZIPAPP).write_bytes(build_node_zipapp())
    target = Raft(RaftOptions(), seed=1)
    commands = []
    for index, (name, endpoint) in enumerate(endpoints.items()):
        (directory / name).mkdir()
        peers = {peer: other for peer, other in endpoints.items() if peer != name}
        node = Node(name, index, endpoint, endpoint, peers, str(directory / name), "bench")
        commands.append([sys.executable, *target.command(node)[1:]])
    return commands


def fsync_ms(directory: Path) -> float:
    """The median of this disk's fdatasync after a small append."""
    times = []
    with open(directory / "probe", "wb", buffering=0) as file:
        for _ in range(FSYNCS):
            began = time.perf_counter()
            file.write(b"x" * 200)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def row(what: str, concurrency: int, rate: float, latencies_ns: list[int]) -> None:
    p50, p99 = (latencies_ns[int(len(latencies_ns) * q)] / 1e6 for q in (0.5, 0.99))
    print(f"{what:<28}{concurrency:>12}{rate:>14,.0f}{p50:>12.2f}{p99:>12.2f}")


def main() -> int:
    """Print a row for each load; returns 0."""
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as name:
        directory = Path(name)
        print(f"{os.cpu_count()} cores; fdatasync of a small append: {fsync_ms(directory):.2f} ms (median)")
        print(f"{'':<28}{'connections':>12}{'operations/s':>14}{'p50 ms':>12}{'p99 ms':>12}")
        port, *ports = free_ports(1 + NODES)
        with processes([[sys.executable, "-c", ECHO, str(port)]], directory):
            patiently("the echo server", lambda: ask(port, {"type": "echo", "msg_id": 1}))
            for concurrency in CONCURRENCIES:
                row("asyncio echo, 1 process", concurrency, *asyncio.run(load(port, concurrency, reads)))
        with processes(raft_commands(directory, ports), directory):
            leader = patiently(
                "a leader",
                lambda: next((p for p in ports if ask(p, {"type": "status"})[0]["leading"]), None),
            )
            for concurrency in CONCURRENCIES:
                opened = ask(leader, *[{"type": "open"}] * concurrency)
                sessions = [reply["client"] for reply in opened]
                loaded = asyncio.run(load(leader, concurrency, writes(sessions)))
                row(f"raft write, {NODES} processes", concurrency, *loaded)
            for concurrency in CONCURRENCIES:
                loaded = asyncio.run(load(leader, concurrency, reads))
                row(f"raft read, {NODES} processes", concurrency, *loaded)
    return 0


if __name__ == "__main__":
    sys.exit(main())
