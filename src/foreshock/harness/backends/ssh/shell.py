"""A shell kept open on a host: a script costs a round trip, where a command of its own costs a channel."""

from __future__ import annotations

import contextlib
import selectors
import time
from typing import Final

import paramiko

from foreshock.harness.backends.shell_protocol import STDERR, STDOUT, ShellExchange
from foreshock.harness.errors import HarnessError
from foreshock.harness.host import HostResult

_CHUNK_BYTES: Final = 1 << 16
_LAST_WORDS_BYTES: Final = 300


class RemoteShell:
    """One shell, on a channel of its own. Blocking; one script at a time."""

    def __init__(self, transport: paramiko.Transport, command: str, name: str, timeout_ms: int) -> None:
        self._name = name
        try:
            self._channel = transport.open_session(timeout=timeout_ms / 1000)
            self._channel.settimeout(timeout_ms / 1000)
            self._channel.exec_command(command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise HarnessError(
                f"no shell can be opened on the host of node {name}: {error or type(error).__name__}"
            ) from error
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._channel, selectors.EVENT_READ)

    def run(self, script: str, timeout_ms: int) -> HostResult:
        """Run a script to its end; raises ``HarnessError``, and then this shell is of no more use."""
        exchange = ShellExchange(script, self._name)
        deadline = time.monotonic() + timeout_ms / 1000
        said = b""
        try:
            self._channel.settimeout(timeout_ms / 1000)
            self._channel.sendall(exchange.request)
            while not exchange.ended:
                data = self._arrived(exchange)
                said = (said + data)[-_LAST_WORDS_BYTES:]
                if data:
                    continue
                if self._channel.closed or self._channel.eof_received:
                    raise HarnessError(f"the shell on the host of node {self._name} ended{_saying(said)}")
                if not self._selector.select(max(0.0, deadline - time.monotonic())):
                    raise exchange.overdue(timeout_ms)
        except TimeoutError:
            raise exchange.overdue(timeout_ms) from None
        except (OSError, EOFError, ValueError, paramiko.SSHException) as error:
            raise HarnessError(
                f"the shell on the host of node {self._name} is gone: {error or type(error).__name__}"
            ) from error
        return exchange.result()

    def close(self) -> None:
        """Close the channel; the shell on the host ends with it, and so does whoever waits for it here."""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()  # first, because this wakes who waits
        with contextlib.suppress(KeyError, ValueError, OSError):
            self._selector.unregister(self._channel)
        self._selector.close()

    def _arrived(self, exchange: ShellExchange) -> bytes:
        """Feed in what has arrived on either stream; what arrived on stderr, or on stdout if nothing did there."""
        out = self._channel.recv(_CHUNK_BYTES) if self._channel.recv_ready() else b""
        exchange.feed(STDOUT, out)
        err = self._channel.recv_stderr(_CHUNK_BYTES) if self._channel.recv_stderr_ready() else b""
        exchange.feed(STDERR, err)
        return err or out


def _saying(said: bytes) -> str:
    words = " ".join(said.decode(errors="replace").split())
    return f", saying: {words}" if words else ""
