"""Real nodes: the zipapp run as processes on loopback, each with a data directory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.cluster import Endpoint, Node
from foreshock.targets.reference.raft_options import RaftOptions
from foreshock.targets.reference.raft_target import Raft
from foreshock.targets.reference.zipapp import NODE_ZIPAPP, build_node_zipapp

HOST = "127.0.0.1"
DEADLINE_SECONDS = 240


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at the moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


class RawClient:
    """A socket to a node, for what a proper client would not send."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=DEADLINE_SECONDS)
        self._file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self) -> dict[str, Any] | None:
        """The body of the next reply; ``None`` when the node has closed the connection."""
        try:
            line = self._file.readline()
        except ConnectionResetError:
            return None
        body: dict[str, Any] | None = json.loads(line)["body"] if line else None
        return body

    def ask(self, **body: Any) -> dict[str, Any]:
        self.send(json.dumps({"body": body}).encode() + b"\n")
        reply = self.line()
        assert reply is not None
        return reply

    def close(self) -> None:
        self._file.close()
        self.socket.close()


class RealCluster:
    """Node processes; looks like a ``Cluster`` as far as the target and its clients need it."""

    def __init__(self, directory: Path, count: int, cluster: str = "test") -> None:
        self.directory = directory
        options = RaftOptions(
            election_timeout_min_ms=150, election_timeout_max_ms=300, heartbeat_ms=30, lock_ttl_ms=1_000
        )
        self.target = Raft(options, seed=1)
        names = [f"n{i + 1}" for i in range(count)]
        for name in names:
            (directory / name).mkdir()
        endpoints = {name: Endpoint(HOST, port) for name, port in zip(names, free_ports(count), strict=True)}
        (directory / "files").mkdir()
        (directory / "files" / NODE_ZIPAPP).write_bytes(build_node_zipapp())
        self.nodes = tuple(
            Node(
                name=name,
                index=index,
                endpoint=endpoints[name],
                listen=endpoints[name],
                peers={peer: endpoints[peer] for peer in names if peer != name},
                data_directory=str(directory / name),
                cluster=cluster,
            )
            for index, name in enumerate(names)
        )
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def command(self, name: str) -> list[str]:
        _, *arguments = self.target.command(self.node(name))
        return [sys.executable, "-I", "-S", *arguments]

    def start(self, *names: str, extra: tuple[str, ...] = ()) -> None:
        for name in names:
            with open(self.directory / f"{name}.log", "ab") as log:
                self.processes[name] = subprocess.Popen(
                    [*self.command(name), *extra], stdout=log, stderr=log, stdin=subprocess.DEVNULL
                )

    def signal(self, name: str, number: signal.Signals) -> None:
        os.kill(self.processes[name].pid, number)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait(DEADLINE_SECONDS)

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def raw(self, name: str) -> RawClient:
        return RawClient(self.node(name).endpoint.port)

    def stop(self) -> None:
        for name in list(self.processes):
            self.kill(name)


@pytest.fixture
def make_real_cluster(tmp_path: Path) -> Iterator[Callable[..., RealCluster]]:
    made: list[RealCluster] = []

    def make(count: int = 1, *, start: bool = True, cluster: str = "test") -> RealCluster:
        directory = tmp_path / f"cluster{len(made)}"
        directory.mkdir()
        made.append(RealCluster(directory, count, cluster))
        if start:
            made[-1].start(*(node.name for node in made[-1].nodes))
        return made[-1]

    yield make
    for cluster in made:
        cluster.stop()
