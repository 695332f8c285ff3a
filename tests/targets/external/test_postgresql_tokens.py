"""The numbers of PostgreSQL's grants, on a real server that is killed: one that was given is not given again."""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from foreshock.harness.cluster import Endpoint
from foreshock.targets.external.postgresql import _PROGRAMS, _START, _TABLES, PostgresqlLock


class Server:
    """One on a folder and a port, which writes its log to disk late unless it is asked for more."""

    def __init__(self, folder: Path, port: int) -> None:
        settings = f"-h 127.0.0.1 -p {port} -k '' -c wal_writer_delay=10s"
        self.script = _START.format(programs=_PROGRAMS, data=folder, settings=settings)
        self.process: Any = None

    def start(self) -> None:
        words = ["sh", "-ec", self.script]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(words, **quiet)  # type: ignore[call-overload]
        assert any("ready to accept connections" in line for line in self.process.stderr)

    def kill(self) -> None:
        """All its processes at once, and wait until they are gone."""
        pid = self.process.pid
        os.kill(pid, signal.SIGSTOP)  # so that its workers stay its children
        workers = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        gone = [os.pidfd_open(worker) for worker in workers]
        for each in (*workers, pid):
            os.kill(each, signal.SIGKILL)
        self.process.wait(30)
        self.process.stderr.close()
        for descriptor in gone:
            assert select.select([descriptor], [], [], 30)[0]
            os.close(descriptor)


@pytest.fixture
def server() -> Iterator[tuple[Server, Endpoint]]:
    if not any(Path("/").glob(f"{_PROGRAMS}/initdb".lstrip("/"))):
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="foreshock-postgresql-"))
    folder.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Server(folder, port)
    made.start()
    try:
        yield made, Endpoint(host="127.0.0.1", port=port)
    finally:
        made.kill()
        shutil.rmtree(folder)


async def session(place: Endpoint) -> PostgresqlLock:
    client = PostgresqlLock(SimpleNamespace(runtime=None, node=SimpleNamespace(endpoint=place)))  # type: ignore[arg-type]
    client.runtime = SimpleNamespace(now=lambda: 0)
    await client.open()
    return client


@pytest.mark.slow
def test_a_token_that_was_given_is_not_given_again_after_a_kill(server: tuple[Server, Endpoint]) -> None:
    """A sequence logs once in 32 numbers, and of itself none but the session that had it logged waits for the disk."""
    postgres, place = server

    async def before() -> int:
        slow, other = await session(place), await session(place)
        await slow.session.execute(_TABLES)
        await slow.session.execute("CHECKPOINT")  # so that the next number is one that is logged
        await slow.session.execute("BEGIN")
        first, second = await slow.acquire(1, 0), await other.acquire(2, 0)
        assert (first.token, second.token) == (1, 2)
        return 2

    async def after() -> int | None:
        return (await (await session(place)).acquire(2, 0)).token

    given = asyncio.run(before())
    postgres.kill()
    postgres.start()
    again = asyncio.run(after())
    assert again is not None
    assert again > given
