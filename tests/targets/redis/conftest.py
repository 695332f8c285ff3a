"""A real redis-server for the tests that compare, and a simulated one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.cluster import Endpoint

DEADLINE_MS = 10_000


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: Any) -> Iterator[Endpoint]:
    """One redis-server on loopback for the tests of a module."""
    if shutil.which("redis-server") is None:
        reason = "redis-server is not on the PATH (apt-get install redis-server)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = Endpoint("127.0.0.1", probe.getsockname()[1])
    folder: Path = tmp_path_factory.mktemp("redis")
    command = ["redis-server", "--dir", str(folder), "--bind", endpoint.host, "--port", str(endpoint.port)]
    server = subprocess.Popen([*command, "--save", ""], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if "Ready to accept connections" in line:
                break
        else:
            pytest.fail("redis-server ended before it was ready")
        yield endpoint
    finally:
        server.kill()
        server.communicate()


@pytest.fixture
def real_runtime() -> AsyncioRuntime:
    return AsyncioRuntime(seed=0)
