"""The origin's table in a real PostgreSQL, which the tests start for themselves; skipped where it is not installed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.node.cache.database import Begin, Begun, Done, LogDatabase, Read, Row, Write
from foreshock.targets.reference.node.cache.postgresql import (
    DatabaseAddress,
    PostgresDatabase,
    PostgresProblem,
    Scram,
    find_password,
)
from foreshock.targets.reference.node.disk import DirectoryFiles, sync_files

SECRET = "tr0ub4dor:&\\3"


class Server(NamedTuple):
    """A running server, and the words that start a program as its user."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"postgresql://foreshock@127.0.0.1:{self.port}/postgres"


def programs() -> Path | None:
    """Where Debian keeps PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return None if on_path is None else Path(on_path).resolve().parent


def unprivileged() -> str | None:
    """The user that the server runs as: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return "nobody"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    where = programs()
    if where is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    user = unprivileged()
    directory = Path(tempfile.mkdtemp(prefix="foreshock-postgresql-"))
    if user is not None:
        shutil.chown(directory, user)
    (directory / "password").write_text(SECRET)
    (directory / "password").chmod(0o644)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quiet: dict[str, Any] = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "cwd": "/",
        "user": user,
    }
    data = directory / "data"
    initdb = [where / "initdb", "-D", data, "-U", "foreshock", "-A", "scram-sha-256", "-N"]
    subprocess.run([*initdb, f"--pwfile={directory / 'password'}"], check=True, timeout=600, **quiet)
    settings = [
        "-p",
        str(port),
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        f"unix_socket_directories={directory}",
    ]
    process = subprocess.Popen([where / "postgres", "-D", data, *settings, "-c", "fsync=off"], **quiet)
    try:
        asking = [where / "pg_isready", "-q", "-t", "5", "-h", "127.0.0.1", "-p", str(port)]
        for _ in range(4_000):
            if subprocess.run(asking, check=False, timeout=60, **quiet).returncode == 0:
                break
            assert process.poll() is None, "the server ended at its start"
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        yield Server(directory, port, process)
    finally:
        process.kill()
        process.wait(10)
        shutil.rmtree(directory)


class Opened:
    """A database over a directory, synced after every batch."""

    def __init__(self, make: Any) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="foreshock-origin-"))
        self.files = DirectoryFiles(self.directory)
        self.database = make(self.files)
        self.number = 0
        self.sync = 0

    def done(self, *jobs: Any) -> list[Done]:
        self.sync += 1
        for job in jobs:
            self.number += 1
            self.database.submit(self.number, job, self.sync)
        sync_files(self.files.begin_sync())
        return sorted(self.database.take(self.sync), key=lambda one: one.number)

    def do(self, *jobs: Any) -> list[Any]:
        done = self.done(*jobs)
        assert [one.problem for one in done] == [""] * len(jobs)
        return [one.result for one in done]

    def close(self) -> None:
        if isinstance(self.database, PostgresDatabase):
            self.database._disconnect()
        self.files.close()
        shutil.rmtree(self.directory)


def postgres(server: Server, cluster: str, password: str = SECRET) -> Opened:
    environment = {"PGPASSWORD": password}
    return Opened(lambda files: PostgresDatabase(files, server.url, cluster=cluster, environment=environment))


def test_postgresql_and_the_log_give_the_same_answers(server: Server) -> None:
    rng = RandomStream(1, "jobs")
    keys = (1, "1", "it's", 'a "b" \\', "schlüssel\u0000")
    log = Opened(lambda files: LogDatabase(files, cluster="c", node="n1"))
    other = postgres(server, "same-answers")
    for _ in range(40):
        if rng.chance(1, 10):
            other.close()
            other = postgres(server, "same-answers")
        batch: list[Any] = [Begin(rng.between(0, 5_000))] if rng.chance(1, 5) else []
        values = (None, 1, "it's \\ a\u0000", [1, {"a": None}], 2.5)
        batch += [Write(rng.choice(keys), rng.choice(values)) for _ in range(rng.below(6))]
        assert other.do(*batch) == log.do(*batch)
        assert other.do(*map(Read, keys)) == log.do(*map(Read, keys))
    other.close()
    log.close()


def test_each_cluster_has_a_table_of_its_own(server: Server) -> None:
    one, two = postgres(server, "cluster-one"), postgres(server, "cluster-two")
    assert one.do(Begin(500), Write("k", 1)) == [Begun(1, 0), Row(1, 1, 1)]
    assert two.do(Begin(100), Read("k")) == [Begun(1, 0), Row(0, 0, None)]
    one.close()
    two.close()


def test_a_wrong_password_is_said_and_not_shown(server: Server) -> None:
    refused = postgres(server, "refused", password="guess")
    (done,) = refused.done(Write("k", 1))
    assert done.certain
    assert "28P01" in done.problem
    assert "guess" not in done.problem
    refused.close()


def test_a_connection_that_breaks_leaves_its_batch_in_doubt_and_the_next_one_is_served(
    server: Server,
) -> None:
    opened = postgres(server, "broken")
    opened.do(Begin(1), Write("k", 1))
    opened.database._session.close()  # type: ignore[attr-defined]
    opened.database._session._socket = socket.socket()  # type: ignore[attr-defined]
    (doubtful,) = opened.done(Write("k", 2))
    assert (doubtful.result, doubtful.certain) == (None, False)
    assert opened.do(Read("k"))[0].value in (1, 2)
    opened.close()


def test_a_server_that_is_not_there_certainly_did_nothing() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"postgresql://me@127.0.0.1:{unused.getsockname()[1]}/db"
        opened = Opened(lambda files: PostgresDatabase(files, url, cluster="c", environment={}))
        (done,) = opened.done(Write("k", 1))
    assert done.certain
    assert "does not serve" in done.problem
    opened.close()


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:secret@host/db", "postgresql://host/db", "postgresql:///db", "mysql://me@host/db"],
)
def test_a_url_that_will_not_do_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"password|names no database") as refused:
        DatabaseAddress.of(url)
    assert "secret" not in str(refused.value)


def test_the_password_is_found_where_libpq_finds_it(tmp_path: Path) -> None:
    target = DatabaseAddress.of("postgresql://me@host:5433/db")
    file = tmp_path / "passwords"
    file.write_text("other:*:*:*:wrong\n# a comment\nhost:5433:db:me:sec\\:ret\\\\\n*:*:*:*:later\n")
    assert find_password(target, {"PGPASSWORD": "first", "PGPASSFILE": str(file)}) == "first"
    assert find_password(target, {"PGPASSFILE": str(file)}) == "sec:ret\\"
    assert find_password(target._replace(host="elsewhere"), {"PGPASSFILE": str(file)}) == "later"
    assert find_password(target, {"PGPASSFILE": str(tmp_path / "none")}) is None


def test_scram_is_that_of_its_rfc() -> None:
    """The example of RFC 7677, section 3, but that the user's name is not sent twice."""
    scram = Scram("pencil", nonce="rOprNGfwEbeRWgbNEkqO")
    scram._bare = "n=user,r=rOprNGfwEbeRWgbNEkqO"
    challenge = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    answer = scram.answer(challenge)
    assert answer.endswith(b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    scram.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    with pytest.raises(PostgresProblem, match="not to be trusted"):
        scram.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=")
    with pytest.raises(PostgresProblem, match="makes no sense"):
        scram.answer(b"r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
    for broken in (
        b"",
        b"r=rOprNGfwEbeRWgbNEkqO1,i=1",
        b"r=rOprNGfwEbeRWgbNEkqO1,s=#,i=1",
        b"\xff",
        b"r=1,s=,i=x",
    ):
        with pytest.raises(PostgresProblem, match="makes no sense"):
            scram.answer(broken)
