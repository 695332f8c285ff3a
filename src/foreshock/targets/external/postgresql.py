"""PostgreSQL, one server: a register a row, and advisory locks. ``docs/external/postgresql.md`` tells of it."""

# ruff: noqa: D102, ARG002 - what the methods do is said by foreshock.harness.services and foreshock.harness.target
from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, LiteralString

import psycopg
from msgspec import Meta, structs

from foreshock.harness import Client, ClientContext, Cluster, Endpoint, Grant, Node, Options, Runtime, Target
from foreshock.harness.errors import Definite, DeployError
from foreshock.harness.services import Key
from foreshock.targets.external.findings import POSTGRESQL_EXHIBITS, POSTGRESQL_PROMISES

_PROGRAMS: Final = "/usr/lib/postgresql/*/bin"
# PostgreSQL refuses to run as root: so it is the user postgres, in a namespace of its own where that is allowed.
_START: Final = """
cd {data}; PATH="$(ls -d {programs} | sort -V | tail -n 1):$PATH"
if [ "$(id -u)" != 0 ]; then as=""
elif as="unshare --map-user=$(id -u postgres)"; $as true 2>/dev/null; then :
else chown postgres . && as="setpriv --reuid=postgres --regid=postgres --clear-groups"; fi
if [ ! -e made ]; then rm -rf database
    $as initdb -D {data}/database -U foreshock -A trust -E UTF8 --locale=C --no-instructions
    echo "host all all all trust" >> database/pg_hba.conf; touch made; sync database/pg_hba.conf made .
fi
[ -s database/postmaster.pid ] || rm -f database/postmaster.pid  # empty: killed as it wrote it
exec $as postgres -D {data}/database {settings}
"""
_TABLES: Final = "CREATE TABLE register (key text PRIMARY KEY, value text); CREATE TABLE lock (token serial)"


class PostgresqlOptions(Options, frozen=True, kw_only=True):
    """What is on disk before a commit is answered."""

    fsync: Annotated[bool, Meta(description="whether data is ever synced to the disk")] = True
    synchronous_commit: Annotated[bool, Meta(description="whether a commit waits for the disk")] = True
    wal_writer_delay_ms: Annotated[int, Meta(description="else, how late it is (ms)", ge=1, le=10_000)] = 200


async def connect(place: Endpoint) -> psycopg.AsyncConnection[Any]:
    """A session in which each statement is a transaction."""
    where = f"host={place.host} port={place.port} user=foreshock dbname=postgres connect_timeout=5"
    return await psycopg.AsyncConnection.connect(where, autocommit=True)


class PostgresqlClient(Client):
    """One session; a statement is sent once."""

    session: Any = None
    rolls_back: ClassVar[bool] = True

    def __init__(self, context: ClientContext) -> None:
        self.runtime, self.endpoint = context.runtime, context.node.endpoint

    async def open(self) -> None:
        self.session = await connect(self.endpoint)

    async def close(self) -> None:
        if self.session:
            await self.session.close()

    async def run(self, statement: LiteralString, *values: Any) -> Any:
        try:
            return await self.session.execute(statement, values)
        except psycopg.Error as error:
            if error.diag.severity_nonlocalized != "ERROR" or not self.rolls_back:
                raise  # a FATAL or a PANIC, or no answer at all, may come after the commit
            raise Definite(f"{error.sqlstate} {error}") from error


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
        insert = "INSERT INTO register (value, key) VALUES (%s, %s) ON CONFLICT DO NOTHING"
        update = "UPDATE register SET value = %s WHERE key = %s AND value = %s"
        given = (json.dumps(new), str(key))
        made = self.run(insert, *given) if old is None else self.run(update, *given, json.dumps(old))
        if not (await made).rowcount:
            raise Definite(f"the value of {key} was not {old}")


class PostgresqlLock(PostgresqlClient):
    """Advisory locks of the session, each grant with the next number of a sequence, on disk by a row with it."""

    service: ClassVar[str] = "lock"
    rolls_back = False  # a lock stays when its statement is

    async def acquire(self, key: Key, wait_ms: int) -> Grant:
        until_ns = self.runtime.now() + wait_ms * 1_000_000
        ask = "INSERT INTO lock SELECT WHERE pg_try_advisory_lock(%s) RETURNING token"
        while True:
            row = await (await self.run(ask, key)).fetchone()
            if row:
                return Grant(token=row[0])
            if self.runtime.now() >= until_ns:
                raise Definite(f"the lock {key} is held")
            await self.runtime.sleep(50_000_000)

    async def renew(self, key: Key, token: int | None) -> Grant:
        return Grant(token=token)  # never asked for: a grant lasts as long as the session

    async def release(self, key: Key, token: int | None) -> None:
        row = await (await self.run("SELECT pg_advisory_unlock(%s)", key)).fetchone()
        if not row or not row[0]:
            raise Definite(f"the lock {key} is not held")


class Postgresql(Target[PostgresqlOptions]):
    """One server with a database of its own."""

    Options = PostgresqlOptions
    default_nodes, maximum_nodes, port = 1, 1, 5432
    packages, binaries = ("postgresql",), (f"{_PROGRAMS}/initdb",)
    services: ClassVar[Mapping[str, type[Any]]] = {"register": PostgresqlRegister, "lock": PostgresqlLock}
    promises, exhibits = POSTGRESQL_PROMISES, POSTGRESQL_EXHIBITS

    def command(self, node: Node) -> Sequence[str]:
        own, given = node.listen, structs.asdict(self.options).items()
        settings = " ".join(f"-c {name.removesuffix('_ms')}={value}" for name, value in given)
        where = {"programs": _PROGRAMS, "data": shlex.quote(node.data_directory)}
        return ["sh", "-ec", _START.format(settings=f"-h {own.host} -p {own.port} -k '' {settings}", **where)]

    async def ready(self, node: Node, runtime: Runtime) -> bool:
        with contextlib.suppress(psycopg.Error):
            await (await connect(node.endpoint)).close()
            return True
        return False

    async def set_up(self, cluster: Cluster, runtime: Runtime) -> None:
        try:
            async with await connect(cluster.nodes[0].endpoint) as session:
                await session.execute("SET synchronous_commit = on; " + _TABLES)
        except psycopg.Error as error:
            raise DeployError(f"the tables cannot be made: {error}") from error
