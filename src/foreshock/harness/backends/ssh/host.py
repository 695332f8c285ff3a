"""The :class:`~foreshock.harness.host.Host` port on a machine that is reached by ssh."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from foreshock.harness.backends.blocking_calls import BlockingCalls
from foreshock.harness.backends.ssh.connections import Connection
from foreshock.harness.errors import HarnessError
from foreshock.harness.host import HostResult

T = TypeVar("T")
_log = logging.getLogger("foreshock.ssh")
_TRANSFER_TIMEOUT_MS: Final = 30_000


class SshHost:
    """The host of one node, as its user. While the connection is lost, a call waits for it as long as it may take."""

    def __init__(self, name: str, connection: Connection, calls: BlockingCalls, scratch: str) -> None:
        self._name = name
        self._connection = connection
        self._calls = calls
        self._scratch = scratch
        self._there = asyncio.Event()
        self._there.set()

    @property
    def name(self) -> str:
        """The name of the node that lives there."""
        return self._name

    @property
    def lost(self) -> bool:
        """Whether the connection is lost, and not there again."""
        return not self._there.is_set()

    def note_lost(self) -> None:
        """From now on calls wait until the host is there again."""
        self._there.clear()

    def note_there(self) -> None:
        """The host is there again."""
        self._there.set()

    async def wait_until_there(self, timeout_s: float) -> bool:
        """Whether the host is there, at once or within so long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._there.wait()
        except TimeoutError:
            return False
        return True

    async def run(self, script: str, *, timeout_ms: int = 10_000) -> HostResult:
        """Run a POSIX shell script; raises ``HarnessError`` when the host is lost or the time is up."""
        return await self._call(lambda: self._connection.run(script, timeout_ms), timeout_ms)

    async def run_as_root(self, script: str, *, timeout_ms: int = 10_000) -> HostResult:
        """The same as root; raises ``HarnessError`` also where root's rights cannot be had."""
        return await self._call(lambda: self._connection.run(script, timeout_ms, root=True), timeout_ms)

    async def look(self, script: str, *, timeout_ms: int, anyway: bool = False) -> HostResult | None:
        """Run a script without waiting for a lost host; ``None`` when another is under way, unless ``anyway``.

        Raises ``HarnessError`` when the host does not answer.
        """
        if not anyway and not self._connection.idle():
            return None
        return await self._calls.call(lambda: self._connection.run(script, timeout_ms))

    async def upload(self, data: bytes, remote_path: str, *, mode: int = 0o644) -> None:
        """Write a file on the host, whole or not at all; raises ``HarnessError``."""
        await self._call(lambda: self._connection.upload(data, remote_path, mode), _TRANSFER_TIMEOUT_MS)

    async def download(self, remote_path: str, local_path: Path, *, limit_bytes: int = 64 << 20) -> None:
        """Fetch a file (its last ``limit_bytes``); raises ``HarnessError``."""
        await self._call(
            lambda: self._connection.download(remote_path, local_path, limit_bytes), _TRANSFER_TIMEOUT_MS
        )

    async def reopen(self) -> None:
        """Connect anew; raises ``HarnessError``."""
        await self._calls.call(self._connection.open)

    def close(self) -> None:
        """Close the connection; idempotent."""
        self._connection.close()

    async def upload_as_root(self, data: bytes, remote_path: str, *, mode: int) -> None:
        """Write a file where only root may: it is uploaded beside the node's and moved from there."""
        scratch = f"{self._scratch}/upload.{secrets.token_hex(6)}"
        await self.upload(data, scratch, mode=mode)
        moved = await self.run_as_root(f"mv -f {shlex.quote(scratch)} {shlex.quote(remote_path)}")
        if moved.exit_code:
            raise HarnessError(
                f"{remote_path} cannot be written on node {self._name}: {moved.stderr.strip()}"
            )

    async def _call(self, function: Callable[[], T], timeout_ms: int) -> T:
        if not await self.wait_until_there(timeout_ms / 1000):
            raise HarnessError(
                f"the connection to the host of node {self._name} is lost, and was not there again within "
                f"{timeout_ms / 1000:g} s"
            )
        return await self._calls.call(function)


class RootHost:
    """The same host, where scripts run as root (by sudo where the user is not root himself)."""

    def __init__(self, host: SshHost) -> None:
        self._host = host

    @property
    def name(self) -> str:
        """The name of the node that lives there."""
        return self._host.name

    async def run(self, script: str, *, timeout_ms: int = 10_000) -> HostResult:
        """Run a POSIX shell script as root; raises ``HarnessError``."""
        return await self._host.run_as_root(script, timeout_ms=timeout_ms)

    async def upload(self, data: bytes, remote_path: str, *, mode: int = 0o644) -> None:
        """Write a file on the host, whole or not at all; raises ``HarnessError``."""
        await self._host.upload_as_root(data, remote_path, mode=mode)

    async def download(self, remote_path: str, local_path: Path, *, limit_bytes: int = 64 << 20) -> None:
        """Fetch a file that the user may read (its last ``limit_bytes``); raises ``HarnessError``."""
        await self._host.download(remote_path, local_path, limit_bytes=limit_bytes)
