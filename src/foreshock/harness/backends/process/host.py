"""The :class:`~foreshock.harness.host.Host` port on this machine itself."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from foreshock.harness.errors import HarnessError
from foreshock.harness.host import HostResult


class LocalHost:
    """This machine as the host of one node; scripts run in the node's folder, in the environment of the harness.

    Where that folder is gone (``foreshock clean`` removes it) they run at the root: what undoes faults still can.
    ``environment`` goes on top of that: what a script starts is known by it, should the harness be killed meanwhile.
    """

    def __init__(self, name: str, directory: Path, environment: Mapping[str, str]) -> None:
        self._name = name
        self._directory = directory
        self._environment = dict(environment)

    @property
    def name(self) -> str:
        """The name of the node that lives here."""
        return self._name

    async def run(self, script: str, *, timeout_ms: int = 10_000) -> HostResult:
        """Run a POSIX shell script; raises ``HarnessError`` when the time is up, and ends all that it started."""
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            script,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._directory if self._directory.is_dir() else "/",
            start_new_session=True,
            env={**os.environ, **self._environment},
        )
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                stdout, stderr = await process.communicate()
        except TimeoutError:
            raise HarnessError(
                f"a script on node {self._name} did not end within {timeout_ms / 1000:g} s"
            ) from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return HostResult(
            exit_code=process.returncode or 0,
            stdout=stdout.decode(errors="replace"),
            stderr=stderr.decode(errors="replace"),
        )

    async def upload(self, data: bytes, remote_path: str, *, mode: int = 0o644) -> None:
        """Write a file, whole or not at all; raises ``HarnessError``."""
        path = self._directory / remote_path
        scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(data)
            scratch.chmod(mode)
            scratch.replace(path)
        except OSError as error:
            raise HarnessError(f"{path} cannot be written: {error.strerror}") from error

    async def download(self, remote_path: str, local_path: Path, *, limit_bytes: int = 64 << 20) -> None:
        """Copy a file (its last ``limit_bytes`` when it is larger); raises ``HarnessError``."""
        source = self._directory / remote_path
        await asyncio.to_thread(copy_tail, source, local_path, limit_bytes)


def copy_tail(source: Path, destination: Path, limit_bytes: int) -> None:
    """Copy the last ``limit_bytes`` of a file; raises ``HarnessError``."""
    try:
        with source.open("rb") as reader, destination.open("wb") as writer:
            reader.seek(max(0, source.stat().st_size - limit_bytes))
            remaining = limit_bytes
            while remaining and (chunk := reader.read(min(1 << 20, remaining))):
                writer.write(chunk)
                remaining -= len(chunk)
    except OSError as error:
        raise HarnessError(f"{source} cannot be copied to {destination}: {error.strerror}") from error
