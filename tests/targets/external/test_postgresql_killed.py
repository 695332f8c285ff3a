"""What a real PostgreSQL still has once it was killed: the numbers of its grants, and the tables of the test."""

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
from foreshock.targets.external.postgresql import (
    _PROGRAMS,
    _START,
    _TABLES,
    Postgresql,
    PostgresqlLock,
    PostgresqlOptions,
)


class Server:
    """One on a folder and a port, which writes its log to disk late unless it is asked for more."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.place = folder, Endpoint(host="127.0.0.1", port=port)
        self.process: Any = None

    def start(self, **more: str) -> None:
        given = {"wal_writer_delay": "10s", **more}
        settings = f"-h 127.0.0.1 -p {self.place.port} -k ''"
        settings += "".join(f" -c {name}={value}" for name, value in given.items())
        words = ["sh", "-ec", _START.format(programs=_PROGRAMS, data=self.folder, settings=settings)]
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
def server() -> Iterator[Server]:
    if not any(Path("/").glob(f"{_PROGRAMS}/initdb".lstrip("/"))):
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="foreshock-postgresql-"))
    folder.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Server(folder, port)
    try:
        yield made
    finally:
        if made.process is not None:
            made.kill()
        shutil.rmtree(folder)


async def session(place: Endpoint) -> PostgresqlLock:
    client = PostgresqlLock(SimpleNamespace(runtime=None, node=SimpleNamespace(endpoint=place)))  # type: ignore[arg-type]
    client.runtime = SimpleNamespace(now=lambda: 0)
    await client.open()
    return client


@pytest.mark.slow
def test_a_token_that_was_given_is_not_given_again_after_a_kill(server: Server) -> None:
    """A sequence logs once in 32 numbers, and of itself none but the session that had it logged waits for the disk."""

    async def before() -> int:
        slow, other = await session(server.place), await session(server.place)
        await slow.session.execute(_TABLES)
        await slow.session.execute("CHECKPOINT")  # so that the next number is one that is logged
        await slow.session.execute("BEGIN")
        first, second = await slow.acquire(1, 0), await other.acquire(2, 0)
        assert (first.token, second.token) == (1, 2)
        return 2

    async def after() -> int | None:
        return (await (await session(server.place)).acquire(2, 0)).token

    server.start()
    given = asyncio.run(before())
    server.kill()
    server.start()
    again = asyncio.run(after())
    assert again is not None
    assert again > given


@pytest.mark.slow
def test_the_tables_are_on_disk_though_commits_do_not_wait_for_it(server: Server) -> None:
    """Else a kill soon after the start takes them, and nothing works from then on."""
    target = Postgresql(PostgresqlOptions(synchronous_commit=False), seed=1)
    cluster: Any = SimpleNamespace(nodes=[SimpleNamespace(endpoint=server.place)])

    async def tokens() -> int | None:
        return (await (await session(server.place)).acquire(1, 0)).token

    server.start(synchronous_commit="off")
    asyncio.run(target.set_up(cluster, None))  # type: ignore[arg-type]
    server.kill()
    server.start(synchronous_commit="off")
    assert asyncio.run(tokens()) == 1
