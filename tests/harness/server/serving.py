"""A server in a process of its own, and what a client does to it: ordinary requests, and bytes as they are."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple
from urllib.parse import urlsplit

WAIT_S = 30.0


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Serving:
    """``foreshock serve`` on a free port. Leaving the block ends it and looks at what it said."""

    def __init__(self, store: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "foreshock", "serve", "--port", "0", "--json", "--store", str(store)]
        self.process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], WAIT_S)
        assert ready, "the server did not start"
        self.address = json.loads(self.process.stdout.readline())["address"]
        parts = urlsplit(self.address)
        assert parts.port is not None
        self.port, self.host = parts.port, parts.hostname or ""
        self.said = ""

    def __enter__(self) -> Serving:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            code = self.end()
            if kind is None:
                assert (code, self.said) == (0, "")

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and wait for the end; what went to stderr is in ``said``."""
        self.process.send_signal(number)
        try:
            _, self.said = self.process.communicate(timeout=WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode

    def get(self, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=WAIT_S)
        try:
            connection.putrequest(
                method, path, skip_host="Host" in (headers or {}), skip_accept_encoding=True
            )
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=WAIT_S)

    def send(self, data: bytes) -> bytes:
        """Send bytes, and all that comes back until the server ends the connection; it may do that at once."""
        with self.connect() as client:
            try:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has hung up already
            received = b""
            try:
                while piece := client.recv(1 << 16):
                    received += piece
            except ConnectionError:
                pass
            return received

    def resident_bytes(self) -> int:
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


class Event(NamedTuple):
    name: str
    id: int
    data: dict[str, object]


class Stream:
    """A stream of events, read as a browser reads it."""

    def __init__(self, server: Serving, path: str, headers: Mapping[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection(server.host, server.port, timeout=WAIT_S)
        self._connection.request("GET", path, headers=dict(headers or {}))
        self.answer = self._connection.getresponse()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.answer.close()
        self._connection.close()

    def event(self) -> Event | None:
        """The next event; ``None`` when the server has ended the stream."""
        fields: dict[str, str] = {}
        while line := self.answer.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "" and "data" in fields:
                return Event(fields["event"], int(fields["id"]), json.loads(fields["data"]))
            fields[name] = value
        return None
