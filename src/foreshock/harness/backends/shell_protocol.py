"""How scripts are run one after another in one shell that is kept open: what is written to it, and what it answers.

Nothing here touches a channel. The script is one quoted word, so whatever is wrong with it stays in a shell of its
own. Both streams end in a mark that nobody can guess, because they arrive independently.
"""

from __future__ import annotations

import secrets
import shlex
from typing import Final

from foreshock.harness.errors import HarnessError
from foreshock.harness.host import HostResult

OUTPUT_BYTES_MAX: Final = 16 << 20
STDOUT: Final = 1
STDERR: Final = 2


class ShellExchange:
    """One script: :attr:`request` is written to the shell, what comes back is fed in until :attr:`ended`."""

    def __init__(self, script: str, name: str) -> None:
        mark = secrets.token_hex(12)
        self._name = name
        self._outputs = {STDOUT: bytearray(), STDERR: bytearray()}
        self._ends = {STDOUT: f"\n{mark} ".encode(), STDERR: f"\n{mark}\n".encode()}
        self.request = (
            f"/bin/sh -c {shlex.quote(script)} </dev/null; "
            f"printf '\\n{mark} %d\\n' $?; printf '\\n{mark}\\n' >&2\n"
        ).encode()

    def feed(self, stream: int, data: bytes) -> None:
        """Take in what arrived on a stream (1: stdout, 2: stderr); raises ``HarnessError`` when it is too much."""
        output = self._outputs[stream]
        output += data
        if len(output) > OUTPUT_BYTES_MAX:
            raise HarnessError(f"a script on node {self._name} says more than {OUTPUT_BYTES_MAX} bytes")

    @property
    def ended(self) -> bool:
        """Whether both streams have come to their mark."""
        return all(
            end in self._outputs[stream][-len(end) - 8 :] and self._outputs[stream].endswith(b"\n")
            for stream, end in self._ends.items()
        )

    def result(self) -> HostResult:
        """How the script ended, and what it said."""
        stdout, _, status = bytes(self._outputs[STDOUT]).rpartition(self._ends[STDOUT])
        stderr = bytes(self._outputs[STDERR]).rpartition(self._ends[STDERR])[0]
        return HostResult(
            exit_code=int(status),
            stdout=stdout.decode(errors="replace"),
            stderr=stderr.decode(errors="replace"),
        )

    def overdue(self, timeout_ms: int) -> HarnessError:
        """The error of a script that did not end in time."""
        return HarnessError(f"a script on node {self._name} did not end within {timeout_ms / 1000:g} s")
