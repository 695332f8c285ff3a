"""The link proxy with one link, and both ends of it: what the tests of the proxy share."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from typing import Any

SILENCE_S = 0.15
PATIENCE_S = 10.0
AB = [["a", "b"]]
BA = [["b", "a"]]


class Proxied:
    """The link proxy with one link from a to b, and both ends of it."""

    def __init__(self) -> None:
        self.receiver = socket.create_server(("127.0.0.1", 0))
        self.receiver.settimeout(PATIENCE_S)
        self.sink = socket.socket(type=socket.SOCK_DGRAM)
        self.sink.bind(("127.0.0.1", 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "foreshock.harness.backends.link_proxy"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        link = {"sender": "a", "receiver": "b", "target": self.receiver.getsockname()}
        answer = self.ask({"links": [link]})
        self.control = answer["control"]
        self.tcp, self.udp = answer["links"][0]
        self.opened: list[socket.socket] = []

    def ask(self, request: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def cut(self, pairs: list[list[str]]) -> None:
        assert self.ask({"id": 7, "cut": pairs}) == {"id": 7}

    def shape(self, *shapes: tuple[str, str, dict[str, int]]) -> None:
        assert self.ask({"id": 8, "shape": [list(shape) for shape in shapes]}) == {"id": 8}

    def start_afresh(self) -> None:
        self.cut([])
        self.shape()
        assert self.ask({"id": 9, "reset": AB})["left"] == []
        for each in self.opened:
            each.close()
        self.opened.clear()
        for listening, take in (
            (self.receiver, self.receiver.accept),
            (self.sink, lambda: self.sink.recv(100)),
        ):
            listening.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while take():
                    pass
            listening.settimeout(PATIENCE_S)

    def dial(self) -> socket.socket:
        near = socket.create_connection(("127.0.0.1", self.tcp), timeout=PATIENCE_S)
        self.opened.append(near)
        return near

    def accept(self) -> socket.socket:
        far, _ = self.receiver.accept()
        far.settimeout(PATIENCE_S)
        self.opened.append(far)
        return far

    def pair(self) -> tuple[socket.socket, socket.socket]:
        near = self.dial()
        near.sendall(b"first")
        far = self.accept()
        assert far.recv(5) == b"first"
        return near, far

    def close(self) -> None:
        for each in [*self.opened, self.receiver, self.sink]:
            each.close()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process.wait(PATIENCE_S)


def silent(reader: socket.socket) -> bool:
    reader.settimeout(SILENCE_S)
    try:
        return reader.recv(1) == b"never"
    except TimeoutError:
        return True
    finally:
        reader.settimeout(PATIENCE_S)


def fill(writer: socket.socket) -> int:
    """Write until the socket takes no more, but 64 MiB at most; the number of bytes that it took."""
    writer.settimeout(SILENCE_S)
    sent = 0
    try:
        while sent < 64 << 20:
            sent += writer.send(bytes(64 << 10))
    except TimeoutError:
        return sent
    return sent
