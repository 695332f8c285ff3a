"""Seconds to deploy five nodes, to cut and heal a partition, and what the link proxy adds to a message.

Each figure stands beside what the same machine does in the same run without Foreshock: five bare processes or
containers started at once; rules set by one ``docker exec`` a pod; an echo over a direct connection.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.backends.docker import DockerBackend
from foreshock.harness.backends.process import ProcessBackend
from foreshock.harness.cluster import ClusterSpecification, Endpoint, Node
from foreshock.harness.options import Options
from foreshock.harness.runtime import Runtime
from foreshock.harness.target import Target

NODES = tuple(f"n{i}" for i in range(1, 6))
HALVES = {a: frozenset(NODES[2:] if a in NODES[:2] else NODES[:2]) for a in NODES}
PAIRS = frozenset((a, b) for a in NODES for b in NODES if a != b)
ECHOES = 3000
DEPLOY_AIM_S = 5.0
PARTITION_AIM_S = 0.2
ECHO = """
import socket, sys, threading
def serve(client):
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := client.recv(65536):
        client.sendall(data)
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


class Echo(Target[Options]):
    """Nodes that send back what they get."""

    def files(self) -> Mapping[str, bytes]:
        return {"echo.py": ECHO.encode()}

    def command(self, node: Node) -> Sequence[str]:
        return ["python3", self.file(node, "echo.py"), node.listen.host, str(node.listen.port)]


def specification(directory: str, run: str) -> ClusterSpecification:
    """A cluster of five echo nodes."""
    return ClusterSpecification(
        run=run, target=Echo(Options(), seed=1), node_names=NODES, directory=Path(directory), seed=1
    )


async def measure(backend: Any, runtime: Runtime, directory: str, repeat: int) -> dict[str, float]:
    """Medians of the seconds that each step takes, and the latency of an echo over a link where there are links."""
    seconds: dict[str, list[float]] = {}

    async def timed(name: str, step: Any) -> Any:
        began = time.perf_counter()
        result = await step
        seconds.setdefault(name, []).append(time.perf_counter() - began)
        return result

    figures = {}
    for number in range(repeat):
        cluster = backend.cluster(specification(directory, f"bench-{os.getpid()}-{number}"), runtime)
        try:
            await timed("deploy", cluster.deploy())
            for _ in range(3):
                await timed("cut", cluster.cut(HALVES))
                heard = await timed("verify", cluster.heard(PAIRS))
                assert all(got == (a not in HALVES[b]) for (a, b), got in heard.items())
                await timed("heal", cluster.cut({}))
                assert all((await cluster.heard(PAIRS)).values())
            if backend.name == "process":
                n1, n2 = cluster.nodes[:2]
                direct = await asyncio.to_thread(echo_us, n2.endpoint)
                linked = await asyncio.to_thread(echo_us, n1.peers["n2"])
                figures = {"echo_direct_us": direct, "echo_link_us": linked}
                figures["added_by_the_proxy_us_a_message"] = (linked - direct) / 2
            else:
                figures["cut_by_one_exec_a_pod_s"] = await asyncio.to_thread(exec_each, cluster)
        finally:
            await timed("teardown", cluster.teardown())
    return {f"{name}_s": statistics.median(values) for name, values in seconds.items()} | figures


def echo_us(endpoint: Endpoint) -> float:
    """The median round trip of 64 bytes, in microseconds."""
    times = []
    with socket.create_connection((endpoint.host, endpoint.port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(ECHOES):
            began = time.perf_counter()
            connection.sendall(bytes(64))
            got = 0
            while got < 64:
                got += len(connection.recv(64))
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


def exec_each(cluster: Any) -> float:
    """Seconds to list the rules of every pod by an exec of its own, all pods at once."""
    from foreshock.harness.backends.docker.engine import connect

    client = connect()

    def one(name: str) -> None:
        execution = client.exec_create(
            f"foreshock-{cluster.specification.run}-{name}-pod", ["iptables", "-S"]
        )
        client.exec_start(execution["Id"])

    began = time.perf_counter()
    with ThreadPoolExecutor(len(NODES)) as pool:
        list(pool.map(one, NODES))
    return time.perf_counter() - began


def bare_processes() -> float:
    """Seconds until five bare echo processes accept connections."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in NODES]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    began = time.perf_counter()
    running = [subprocess.Popen([sys.executable, "-c", ECHO, "127.0.0.1", str(port)]) for port in ports]
    try:
        for port in ports:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=10).close()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.005)
        return time.perf_counter() - began
    finally:
        for process in running:
            process.kill()
            process.wait()


def bare_containers() -> float:
    """Seconds until five bare containers run, started at once on the default network."""
    from foreshock.harness.backends.docker.engine import connect
    from foreshock.harness.backends.docker.images import ImageBuilder

    client = connect()
    image = ImageBuilder(client, threading.Event()).ensure(())
    made: list[str] = []

    def one(_: str) -> None:
        container = client.create_container(image, ["python3", "-c", ECHO, "0.0.0.0", "7000"])["Id"]
        made.append(container)
        client.start(container)

    try:
        began = time.perf_counter()
        with ThreadPoolExecutor(len(NODES)) as pool:
            list(pool.map(one, NODES))
        return time.perf_counter() - began
    finally:
        for container in made:
            client.remove_container(container, force=True)


def figures_of(backend: Any, bare: Callable[[], float], repeat: int) -> dict[str, float]:
    """All figures of one backend."""
    runtime = AsyncioRuntime(1)
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as directory:
        peer = bare()  # also builds the image, which deployment shall not be charged for
        figures: dict[str, float] = runtime.run(measure(backend, runtime, directory, repeat))
    return {"bare_start_s": peer, **figures}


def main() -> int:
    """Print the figures; 1 when an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=["process", "docker"], action="append")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    for backend, bare in ((ProcessBackend(), bare_processes), (DockerBackend(), bare_containers)):
        if arguments.backend and backend.name not in arguments.backend:
            continue
        reason = backend.available()
        if reason is not None:
            print(f"{backend.name}: left out: {reason}", file=sys.stderr)
            continue
        results[backend.name] = figures_of(backend, bare, arguments.repeat)
    if arguments.json:
        print(json.dumps(results))
    else:
        for name, figures in results.items():
            for figure, value in figures.items():
                print(f"{name:8} {figure:34} {value:10.3f}")
    missed = any(f["deploy_s"] > DEPLOY_AIM_S or f["cut_s"] > PARTITION_AIM_S for f in results.values())
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
