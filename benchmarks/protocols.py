"""Raft, Paxos and Zab side by side: commits and reads a second, and their latency, on five processes with fsync on.

The load is the same for all: closed loops over plain connections to the leader, each of which sends its next JSON line
when the last one was answered. The protocols take turns in short rounds, so that whatever else the machine does in the
meantime is shared fairly; the median of the rounds counts. Beside them an echo server that decodes and encodes each
line and does nothing else, which is what a single process of this Python can do at best; and what the simulator makes
of the same nodes. Each write is one that a majority has on its disk, each read one that a quorum has confirmed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from foreshock.harness.cluster import Endpoint, Node
from foreshock.harness.conductor import Conductor
from foreshock.harness.plan import Request, resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.registry import Kind, load
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.targets.reference.zipapp import NODE_ZIPAPP, build_node_zipapp

HOST = "127.0.0.1"
NODES = 5
PROTOCOLS = ("raft", "paxos", "zab")
ROUNDS = 5
ROUND_SECONDS = 1.0
UP_SECONDS = 20.0
CONCURRENCIES = (1, 16, 128)
SIMULATED_SECONDS = 20.0
ELECTIONS = {"election_timeout_min_ms": 3000, "election_timeout_max_ms": 4000}
PATIENCE = {"raft": ELECTIONS, "paxos": ELECTIONS, "zab": {"sync_limit_ms": 3000}}
"""A leader that has to wait for the processor keeps its place: elections are not what is measured."""
APART_PERCENT_MAX = 30
"""Protocols that are further apart than that in commits a second want an explanation."""
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


async def run_load(
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
    await asyncio.sleep(ROUND_SECONDS)
    for one in loops:
        one.running = False
    elapsed = time.perf_counter() - began
    count = len(latencies_ns)
    await asyncio.sleep(0.1)
    if failures:
        print(f"   {len(failures)} requests were refused, such as: {failures[0]['text']}")
    return count / elapsed, sorted(latencies_ns[:count])


def writes(sessions: list[int], numbers: Iterator[int]) -> Callable[[int], Iterator[Body]]:
    """Every loop writes to a key of its own, in a session of its own, whose numbers go on from round to round."""

    def requests(number: int) -> Iterator[Body]:
        for sequence in numbers:
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
def processes(commands: list[list[str]], directory: Path) -> Iterator[list[int]]:
    """Run them; gives their pids."""
    started = []
    try:
        for number, command in enumerate(commands):
            with open(directory / f"process{number}.log", "wb") as log:
                started.append(subprocess.Popen(command, stdout=log, stderr=log))
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(10)


class Cluster:
    """Five nodes of one protocol, and what was measured of it."""

    def __init__(self, protocol: str, directory: Path) -> None:
        self.protocol = protocol
        self.directory = directory
        self.ports = free_ports(NODES)
        self.numbers = itertools.count(1)
        self.sessions: list[int] = []
        self.pids: list[int] = []
        self.spent: Counter[tuple[str, int]] = Counter()
        self.rounds: dict[tuple[str, int], list[tuple[float, list[int]]]] = {}

    def commands(self) -> list[list[str]]:
        """The command line of each node."""
        endpoints = {f"n{i + 1}": Endpoint(HOST, port) for i, port in enumerate(self.ports)}
        (self.directory / "files").mkdir(parents=True)
        (self.directory / "files" / NODE_ZIPAPP).write_bytes(build_node_zipapp())
        target = load(Kind.TARGETS, self.protocol)
        made = target(target.Options(**PATIENCE[self.protocol]), seed=1)
        commands = []
        for index, (name, endpoint) in enumerate(endpoints.items()):
            (self.directory / name).mkdir()
            peers = {peer: other for peer, other in endpoints.items() if peer != name}
            node = Node(name, index, endpoint, endpoint, peers, str(self.directory / name), "bench")
            commands.append([sys.executable, *made.command(node)[1:]])
        return commands

    def leader(self) -> int:
        """The port of the node that leads."""
        port: int = patiently(
            f"a leader of {self.protocol}",
            lambda: next((p for p in self.ports if ask(p, {"type": "status"})[0]["leading"]), None),
        )
        return port

    def prepare(self) -> None:
        """Wait for a leader, and open a session at it for every loop."""
        opened = ask(self.leader(), *[{"type": "open"}] * max(CONCURRENCIES))
        self.sessions = [reply["client"] for reply in opened]

    def measure(self, what: str, concurrency: int) -> None:
        """One round."""
        requests = reads if what == "read" else writes(self.sessions, self.numbers)
        leader, before = self.leader(), processor_seconds(self.pids)
        measured = asyncio.run(run_load(leader, concurrency, requests))
        self.spent[what, concurrency] += processor_seconds(self.pids) - before
        self.rounds.setdefault((what, concurrency), []).append(measured)

    def cost_us(self, what: str, concurrency: int) -> float:
        """The processor time of all nodes together that one operation took."""
        count = sum(len(latencies) for _, latencies in self.rounds[what, concurrency])
        return 1e6 * self.spent[what, concurrency] / max(count, 1)

    def rate(self, what: str, concurrency: int) -> float:
        """The median of the rounds, in operations a second."""
        return statistics.median(rate for rate, _ in self.rounds[what, concurrency])


def processor_seconds(pids: list[int]) -> float:
    """What these processes have had of the processor, in user and kernel mode; 0 where there is no ``/proc``."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


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


def row(
    what: str, concurrency: int, rate: float, latencies_ns: list[int], cost_us: float | None = None
) -> None:
    """One line of the table."""
    p50, p99 = (latencies_ns[int(len(latencies_ns) * q)] / 1e6 for q in (0.5, 0.99))
    cost = "" if cost_us is None else f"{cost_us:>12,.0f}"
    print(f"{what:<28}{concurrency:>12}{rate:>14,.0f}{p50:>10.2f}{p99:>10.2f}{cost}")


def compare(clusters: list[Cluster]) -> None:
    """Print the median round of each protocol and load, and how far apart the protocols are."""
    for what, concurrency in itertools.product(("write", "read"), CONCURRENCIES):
        for cluster in clusters:
            latencies = sorted(itertools.chain(*(some for _, some in cluster.rounds[what, concurrency])))
            rate, cost_us = cluster.rate(what, concurrency), cluster.cost_us(what, concurrency)
            row(f"{cluster.protocol} {what}", concurrency, rate, latencies, cost_us)
    for concurrency in CONCURRENCIES:
        rates = [cluster.rate("write", concurrency) for cluster in clusters]
        costs = [1 / cluster.cost_us("write", concurrency) for cluster in clusters]
        print(
            f"{concurrency} connections: commits a second {apart(rates)} apart by the clock, "
            f"{apart(costs)} by the processor time of all nodes"
        )


def apart(figures: list[float]) -> str:
    """By how much the least is below the greatest."""
    percent = 100 * (max(figures) - min(figures)) / max(figures)
    return (
        f"{percent:.0f} % ({'within' if percent <= APART_PERCENT_MAX else 'more than'} {APART_PERCENT_MAX} %)"
    )


def simulate(directory: Path) -> None:
    """Print what the simulator makes of the same nodes, without and with faults."""
    print(f"{'in the simulator':<28}{'faults':>24}{'events/s':>12}{'s a test':>10}")
    for nemesis, protocol in itertools.product(("none", "partition,kill"), PROTOCOLS):
        request = Request(
            target=protocol, nemesis=nemesis, backend="sim", seed=1, rate=50.0, time_limit=SIMULATED_SECONDS
        )
        resolved = resolve(request)
        runtime = SimRuntime(resolved.plan.seed)
        run = directory / f"{protocol}-{nemesis}"
        run.mkdir(parents=True)
        conductor = Conductor(resolved, run, runtime, SilentProgress())
        began = time.process_time()
        runtime.run(conductor.conduct())
        spent = time.process_time() - began
        print(f"{protocol:<28}{nemesis:>24}{runtime.world.events / spent:>12,.0f}{spent:>10.2f}", flush=True)


def main() -> int:
    """Print a row for each protocol and load; returns 0."""
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as name:
        directory = Path(name)
        print(f"{os.cpu_count()} cores; fdatasync of a small append: {fsync_ms(directory):.2f} ms (median)")
        print(f"{NODES} processes each; the median of {ROUNDS} interleaved rounds of {ROUND_SECONDS:g} s")
        print(
            f"{'':<28}{'connections':>12}{'operations/s':>14}{'p50 ms':>10}{'p99 ms':>10}{'CPU us each':>12}"
        )
        (port,) = free_ports(1)
        with processes([[sys.executable, "-c", ECHO, str(port)]], directory):
            patiently("the echo server", lambda: ask(port, {"type": "echo", "msg_id": 1}))
            for concurrency in CONCURRENCIES:
                row("asyncio echo, 1 process", concurrency, *asyncio.run(run_load(port, concurrency, reads)))
        clusters = [Cluster(protocol, directory / protocol) for protocol in PROTOCOLS]
        with contextlib.ExitStack() as stack:
            for cluster in clusters:
                cluster.pids = stack.enter_context(processes(cluster.commands(), cluster.directory))
            for cluster in clusters:
                cluster.prepare()
            for number, what, concurrency in itertools.product(
                range(ROUNDS), ("write", "read"), CONCURRENCIES
            ):
                turn = number % len(clusters)
                for cluster in clusters[turn:] + clusters[:turn]:
                    cluster.measure(what, concurrency)
        compare(clusters)
        simulate(directory / "simulated")
    return 0


if __name__ == "__main__":
    sys.exit(main())
