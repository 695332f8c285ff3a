"""A shell kept open in a container: a script costs milliseconds, where an exec of its own costs sixty."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import Any

import docker

from foreshock.harness.backends.docker.engine import explained
from foreshock.harness.backends.shell_protocol import OUTPUT_BYTES_MAX, STDERR, STDOUT, ShellExchange
from foreshock.harness.errors import HarnessError
from foreshock.harness.host import HostResult


class ContainerShell:
    """One ``sh`` in a container, attached through the engine. Blocking; one script at a time."""

    def __init__(self, client: docker.APIClient, container: str, name: str) -> None:
        self._name = name
        with explained(f"no shell can be opened in the pod of node {name}"):
            execution = client.exec_create(container, ["/bin/sh"], stdin=True, stdout=True, stderr=True)
            attached: Any = client.exec_start(execution["Id"], socket=True)
        self._attached = attached
        self._socket: socket.socket = getattr(attached, "_sock", attached)
        self._unread = b""

    def run(self, script: str, timeout_ms: int) -> HostResult:
        """Run a script to its end; raises ``HarnessError``, and then this shell is of no more use."""
        exchange = ShellExchange(script, self._name)
        deadline = time.monotonic() + timeout_ms / 1000
        try:
            self._socket.settimeout(timeout_ms / 1000)
            self._socket.sendall(exchange.request)
            while not exchange.ended:
                exchange.feed(*self._frame(deadline))
        except TimeoutError:
            raise exchange.overdue(timeout_ms) from None
        except OSError as error:
            raise HarnessError(f"the shell in the pod of node {self._name} is gone: {error}") from error
        return exchange.result()

    def close(self) -> None:
        """Close the connection; the shell in the container ends with it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with contextlib.suppress(OSError):
            self._attached.close()

    def _frame(self, deadline: float) -> tuple[int, bytes]:
        """One frame of the engine's stream: a byte for the stream, three of padding, the length, the data."""
        stream, length = struct.unpack(">BxxxL", self._exactly(8, deadline))
        if stream not in (STDOUT, STDERR) or length > OUTPUT_BYTES_MAX:
            raise HarnessError(f"the engine sent a frame that is none to the shell of node {self._name}")
        return stream, self._exactly(length, deadline)

    def _exactly(self, count: int, deadline: float) -> bytes:
        while len(self._unread) < count:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            self._socket.settimeout(remaining)
            chunk = self._socket.recv(1 << 16)
            if not chunk:
                raise HarnessError(
                    f"the shell in the pod of node {self._name} ended: is the pod still there?"
                )
            self._unread += chunk
        data, self._unread = self._unread[:count], self._unread[count:]
        return data
