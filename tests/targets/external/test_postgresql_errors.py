"""Which errors of PostgreSQL are certain: what may have been done is never said to have failed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from foreshock.harness.errors import Definite
from foreshock.targets.external.postgresql import PostgresqlClient, PostgresqlLock, PostgresqlRegister


class Named(psycopg.OperationalError):
    """An error as the server sends it."""

    def __init__(self, severity: str | None, sqlstate: str | None) -> None:
        super().__init__("the text")
        self.severity, self.sqlstate = severity, sqlstate

    @property
    def diag(self) -> Any:
        return SimpleNamespace(severity_nonlocalized=self.severity)


def client_of(cls: type[PostgresqlClient], error: Named) -> Any:
    async def execute(*_: Any) -> None:
        raise error

    client = cls(SimpleNamespace(runtime=None, node=SimpleNamespace(endpoint=None)))  # type: ignore[arg-type]
    client.session = SimpleNamespace(execute=execute)
    return client


@pytest.mark.parametrize(
    ("severity", "sqlstate", "certain"),
    [
        ("ERROR", "40001", True),
        ("ERROR", "57014", True),
        ("PANIC", "53100", False),  # the disk was full when the log of the commit was written
        ("PANIC", "58030", False),
        ("FATAL", "57P01", False),
        (None, None, False),  # the connection is gone
    ],
)
def test_a_statement_failed_only_where_its_transaction_was_rolled_back(
    severity: str | None, sqlstate: str | None, certain: bool
) -> None:
    client = client_of(PostgresqlRegister, Named(severity, sqlstate))
    with pytest.raises(Definite if certain else Named):
        asyncio.run(client.write(1, 2))


def test_an_advisory_lock_outlives_the_roll_back_of_its_statement() -> None:
    client = client_of(PostgresqlLock, Named("ERROR", "57014"))
    with pytest.raises(Named):
        asyncio.run(client.run("SELECT pg_try_advisory_lock(1)"))
