"""Real redis-servers, for the tests that compare the simulated one with them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.cluster import Endpoint


class RealServer:
    """A redis-server process of our own; skips, or fails where CI has promised one, when there is no such program."""

    def __init__(self, folder: Path, *options: str) -> None:
        if shutil.which("redis-server") is None:
            reason = "redis-server is not on the PATH: install it (apt-get install redis-server)"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.endpoint = Endpoint("127.0.0.1", probe.getsockname()[1])
        place = ["--bind", self.endpoint.host, "--port", str(self.endpoint.port)]
        self._command = ["redis-server", "--dir", str(folder), *place, "--save", "", *options]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and return when it accepts connections."""
        self._process = process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ready to accept connections" in line:
                return
        pytest.fail(f"redis-server ended before it was ready: {lines[-3:]}")

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: Any) -> Iterator[Endpoint]:
    """One redis-server on loopback for the tests of a module."""
    server = RealServer(tmp_path_factory.mktemp("redis"))
    try:
        server.start()
        yield server.endpoint
    finally:
        server.kill()


@pytest.fixture
def make_real_server(tmp_path: Path) -> Iterator[Callable[..., RealServer]]:
    """Servers with options of their own, on one data directory a test."""
    made: list[RealServer] = []

    def make(*options: str) -> RealServer:
        made.append(RealServer(tmp_path, *options))
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.fixture
def real_runtime() -> AsyncioRuntime:
    return AsyncioRuntime(seed=0)
