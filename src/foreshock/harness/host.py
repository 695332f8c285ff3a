"""The port to one machine (or pod) that carries a node.

What is written on ``Host`` (iptables, signals, cgroups, clocks) is written once and serves containers and ssh
hosts alike. One batched script a fault, never one command a rule: starting a remote command is what costs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec


class HostResult(msgspec.Struct, frozen=True):
    """How a script ended on a host."""

    exit_code: int
    stdout: str
    stderr: str


class Host(Protocol):
    """One machine or pod; a shell on it is kept open for the hot path."""

    @property
    def name(self) -> str:
        """The name of the node that lives there."""

    async def run(self, script: str, *, timeout_ms: int = 10_000) -> HostResult:
        """Run a POSIX shell script; raises ``HarnessError`` when the host is lost or the time is up."""

    async def upload(self, data: bytes, remote_path: str, *, mode: int = 0o644) -> None:
        """Write a file on the host, whole or not at all."""

    async def download(self, remote_path: str, local_path: Path, *, limit_bytes: int = 64 << 20) -> None:
        """Fetch a file (its last ``limit_bytes`` when it is larger); a missing one raises ``HarnessError``."""
