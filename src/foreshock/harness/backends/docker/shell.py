"""A shell kept open in a container: a script costs milliseconds, where an exec of its own costs sixty."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import socket
import struct
import time
from typing import Any, Final

import docker

from foreshock.harness.backends.docker.engine import explained
from foreshock.harness.errors import HarnessError
from foreshock.harness.host import HostResult

_OUTPUT_BYTES_MAX: Final = 16 << 20
_STDOUT: Final = 1
_STDERR: Final = 2


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
        mark = secrets.token_hex(12)
        # The script is one quoted word, so whatever is wrong with it stays in its own shell. Each of its two
        # streams ends in the mark, because they arrive independently.
        line = (
            f"/bin/sh -c {shlex.quote(script)} </dev/null; "
            f"printf '\\n{mark} %d\\n' $?; printf '\\n{mark}\\n' >&2\n"
        )
        deadline = time.monotonic() + timeout_ms / 1000
        outputs = {_STDOUT: bytearray(), _STDERR: bytearray()}
        ends = {_STDOUT: f"\n{mark} ".encode(), _STDERR: f"\n{mark}\n".encode()}
        try:
            self._socket.settimeout(timeout_ms / 1000)
            self._socket.sendall(line.encode())
            while not all(self._ended(outputs[stream], ends[stream]) for stream in outputs):
                stream, data = self._frame(deadline)
                outputs[stream] += data
                if len(outputs[stream]) > _OUTPUT_BYTES_MAX:
                    raise HarnessError(
                        f"a script on node {self._name} says more than {_OUTPUT_BYTES_MAX} bytes"
                    )
        except TimeoutError:
            raise HarnessError(
                f"a script on node {self._name} did not end within {timeout_ms / 1000:g} s"
            ) from None
        except OSError as error:
            raise HarnessError(f"the shell in the pod of node {self._name} is gone: {error}") from error
        stdout, _, status = bytes(outputs[_STDOUT]).rpartition(ends[_STDOUT])
        stderr = bytes(outputs[_STDERR]).rpartition(ends[_STDERR])[0]
        return HostResult(
            exit_code=int(status),
            stdout=stdout.decode(errors="replace"),
            stderr=stderr.decode(errors="replace"),
        )

    def close(self) -> None:
        """Close the connection; the shell in the container ends with it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with contextlib.suppress(OSError):
            self._attached.close()

    @staticmethod
    def _ended(output: bytearray, end: bytes) -> bool:
        return end in output[-len(end) - 8 :] and output.endswith(b"\n")

    def _frame(self, deadline: float) -> tuple[int, bytes]:
        """One frame of the engine's stream: a byte for the stream, three of padding, the length, the data."""
        stream, length = struct.unpack(">BxxxL", self._exactly(8, deadline))
        if stream not in (_STDOUT, _STDERR) or length > _OUTPUT_BYTES_MAX:
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
