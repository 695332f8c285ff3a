"""PostgreSQL, one server: a register a row of a table, and advisory locks.

A lock lives in the memory of the server and ends with the session that has it: who holds it is not told.
``docs/external/postgresql.md`` shows what comes of that, and of settings that answer before the disk has.
"""

# ruff: noqa: D102, ARG002 - what the methods do is said by foreshock.harness.services and foreshock.harness.target
from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, LiteralString

import psycopg
from msgspec import Meta

from foreshock.harness import Client, ClientContext, Cluster, Endpoint, Grant, Node, Options, Runtime, Target
from foreshock.harness.errors import Definite, DeployError
from foreshock.harness.services import Key
from foreshock.targets.external.findings import POSTGRESQL_EXHIBITS, POSTGRESQL_PROMISES

_PROGRAMS: Final = "/usr/lib/postgresql/*/bin"
_POLL_NS: Final = 50_000_000
_WAIT_S: Final = 5
_IN_DOUBT: Final = (
    "08",
    "57P",
    "XX",
)  # connections, shutdowns, internal errors: what was asked for may have been done
# PostgreSQL refuses to run as root: so it is somebody else in a namespace of its own, or else the user postgres.
_START: Final = """
PATH="$(ls -d {programs} | sort -V | tail -n 1):$PATH"
mkdir -p {data} && cd {data}
as=""
if [ "$(id -u)" = 0 ]; then
    if unshare --map-user=1000 true 2>/dev/null; then as="unshare --map-user=1000"
    else chown postgres . && as="setpriv --reuid=postgres --regid=postgres --clear-groups"; fi
fi
if [ ! -e made ]; then
    rm -rf database
    $as initdb -D {data}/database -U foreshock -A trust -E UTF8 --locale=C --no-instructions
    echo "host all all all trust" >> database/pg_hba.conf
    touch made && sync made .
fi
exec $as postgres -D {data}/database {settings}
"""
_TABLES: Final = """
CREATE TABLE register (key text PRIMARY KEY, value text NOT NULL);
CREATE SEQUENCE tokens;
"""


class PostgresqlOptions(Options, frozen=True, kw_only=True):
    """What is on disk before a commit is answered."""

    fsync: Annotated[bool, Meta(description="whether it is ever made sure that data is on disk")] = True
    synchronous_commit: Annotated[bool, Meta(description="whether a commit waits until its log is")] = True


async def connect(place: Endpoint, timeout_s: int = _WAIT_S) -> psycopg.AsyncConnection[Any]:
    """A session in which each statement is a transaction."""
    return await psycopg.AsyncConnection.connect(
        host=place.host,
        port=place.port,
        user="foreshock",
        dbname="postgres",
        connect_timeout=timeout_s,
        autocommit=True,
    )


class PostgresqlClient(Client):
    """One session; a statement is sent once."""

    def __init__(self, context: ClientContext) -> None:
        self.context = context
        self.session: psycopg.AsyncConnection[Any]

    async def open(self) -> None:
        self.session = await connect(self.context.node.endpoint)

    async def close(self) -> None:
        if hasattr(self, "session"):
            await self.session.close()

    async def run(self, statement: LiteralString, *values: Any) -> psycopg.AsyncCursor[Any]:
        try:
            return await self.session.execute(statement, values)
        except psycopg.Error as error:
            if error.sqlstate is None or error.sqlstate.startswith(_IN_DOUBT):
                raise
            raise Definite(f"{error.sqlstate} {error}") from error  # it was rolled back


class PostgresqlRegister(PostgresqlClient):
    """SELECT, INSERT or UPDATE, and an UPDATE of what is as it was expected."""

    service: ClassVar[str] = "register"

    async def read(self, key: Key) -> Any:
        row = await (await self.run("SELECT value FROM register WHERE key = %s", str(key))).fetchone()
        return None if row is None else json.loads(row[0])

    async def write(self, key: Key, value: Any) -> None:
        insert = "INSERT INTO register VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value"
        await self.run(insert, str(key), json.dumps(value))

    async def cas(self, key: Key, old: Any, new: Any) -> None:
        if old is None:
            insert = "INSERT INTO register VALUES (%s, %s) ON CONFLICT DO NOTHING"
            done = await self.run(insert, str(key), json.dumps(new))
        else:
            update = "UPDATE register SET value = %s WHERE key = %s AND value = %s"
            done = await self.run(update, json.dumps(new), str(key), json.dumps(old))
        if not done.rowcount:
            raise Definite(f"the value of {key} was not {old}")


class PostgresqlLock(PostgresqlClient):
    """Advisory locks of the session, each grant with the next number of a sequence."""

    service: ClassVar[str] = "lock"

    async def acquire(self, key: Key, wait_ms: int) -> Grant:
        until_ns = self.context.runtime.now() + wait_ms * 1_000_000
        ask = "SELECT CASE WHEN pg_try_advisory_lock(%s) THEN nextval('tokens') END"
        while True:
            row = await (await self.run(ask, key)).fetchone()
            if row is not None and row[0] is not None:
                return Grant(token=row[0])
            if self.context.runtime.now() >= until_ns:
                raise Definite(f"the lock {key} is held")
            await self.context.runtime.sleep(_POLL_NS)

    async def renew(self, key: Key, token: int | None) -> Grant:
        await self.run("SELECT 1")  # the lock lasts as long as the session
        return Grant(token=token)

    async def release(self, key: Key, token: int | None) -> None:
        row = await (await self.run("SELECT pg_advisory_unlock(%s)", key)).fetchone()
        if row is None or not row[0]:
            raise Definite(f"the lock {key} is not held")


class Postgresql(Target[PostgresqlOptions]):
    """One server with a database of its own."""

    Options = PostgresqlOptions
    default_nodes, port = 1, 5432
    packages, binaries = ("postgresql",), (f"{_PROGRAMS}/initdb",)
    services: ClassVar[Mapping[str, type[Any]]] = {"register": PostgresqlRegister, "lock": PostgresqlLock}
    promises, exhibits = POSTGRESQL_PROMISES, POSTGRESQL_EXHIBITS

    def command(self, node: Node) -> Sequence[str]:
        settings = {
            "listen_addresses": node.listen.host,
            "port": node.listen.port,
            "unix_socket_directories": "",
            "fsync": self.options.fsync,
            "synchronous_commit": self.options.synchronous_commit,
        }
        words = shlex.join(f"--{name}={value}" for name, value in settings.items())
        data = shlex.quote(node.data_directory)
        return ["sh", "-ec", _START.format(programs=_PROGRAMS, data=data, settings=words)]

    async def ready(self, node: Node, runtime: Runtime) -> bool:
        try:
            await (await connect(node.endpoint, 2)).close()
        except psycopg.Error:
            return False
        return True

    async def set_up(self, cluster: Cluster, runtime: Runtime) -> None:
        try:
            async with await connect(cluster.nodes[0].endpoint) as session:
                await session.execute(_TABLES)
        except psycopg.Error as error:
            raise DeployError(f"the tables cannot be made: {error}") from error
