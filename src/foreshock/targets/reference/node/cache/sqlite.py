"""The origin's table in SQLite, in the node's data directory: the embedded default.

Write-ahead logging with full synchronization: a commit is on stable storage when it returns.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any, Final, Protocol

from foreshock.targets.reference.node.cache.batches import BatchDatabase, SyncingFiles
from foreshock.targets.reference.node.cache.database import Begin, Begun, Done, Job, Read, Row
from foreshock.targets.reference.node.cache.messages import Key
from foreshock.targets.reference.node.effects import NodeFailure

FILE_NAME: Final = "origin.sqlite3"
APPLICATION_ID: Final = 0x466F7265
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, version INTEGER NOT NULL, value TEXT) WITHOUT ROWID",
)
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class FilesInDirectory(SyncingFiles, Protocol):
    """Files that are in a directory which others may use as well."""

    @property
    def directory(self) -> Path:
        """Where the node keeps its files."""


class SqliteDatabase(BatchDatabase):
    """A table in one file. What is broken, or another node's, is a ``NodeFailure`` that names it."""

    def __init__(self, files: FilesInDirectory, *, cluster: str, node: str) -> None:
        super().__init__(files)
        self._path = files.directory / FILE_NAME
        self._identity = {"cluster": cluster, "node": node}
        self._connection = self._open()

    def carry_out(self, batch: list[tuple[int, Job]]) -> list[Done]:
        """One transaction; the commit returns when it is on stable storage."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [Done(number, self._do(job)) for number, job in batch]
            self._connection.execute("COMMIT")
        except sqlite3.DatabaseError as problem:
            raise OSError(5, f"SQLite says: {problem}", str(self._path)) from problem
        return results

    def _do(self, job: Job) -> Begun | Row:
        if isinstance(job, Begin):
            return self._begin(job)
        changes = int(self._meta("changes") or 0)
        if isinstance(job, Read):
            return self._row(job.key, changes)
        changes += 1
        self._set_meta("changes", changes)
        value = None if job.value is None else _encode(job.value)
        self._connection.execute("REPLACE INTO rows VALUES (?, ?, ?)", (_encode(job.key), changes, value))
        return Row(changes, changes, job.value)

    def _begin(self, job: Begin) -> Begun:
        epoch, before = int(self._meta("epoch") or 0) + 1, int(self._meta("lease_ms_max") or 0)
        self._set_meta("epoch", epoch)
        self._set_meta("lease_ms_max", max(before, job.lease_ms_max))
        return Begun(epoch, before)

    def _row(self, key: Key, changes: int) -> Row:
        found = self._connection.execute("SELECT version, value FROM rows WHERE key = ?", (_encode(key),))
        version, text = found.fetchone() or (0, None)
        return Row(version, changes, None if text is None else json.loads(text))

    def _meta(self, name: str) -> str | None:
        found = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def _set_meta(self, name: str, value: Any) -> None:
        self._connection.execute("REPLACE INTO meta VALUES (?, ?)", (name, str(value)))

    def _open(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._connection = connection
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if tables and application != APPLICATION_ID:
                raise NodeFailure(
                    f"the file {self._path} is a database, but not one of an origin: move it away"
                )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            check = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if check != "ok":
                raise NodeFailure(f"the file {self._path} is damaged: {check}")
            for statement in _SCHEMA:
                connection.execute(statement)
            self._check_identity()
        except sqlite3.DatabaseError as problem:
            raise NodeFailure(
                f"the file {self._path} cannot be used as the origin's database: {problem}"
            ) from problem
        return connection

    def _check_identity(self) -> None:
        for name, own in self._identity.items():
            found = self._meta(name)
            if found is None:
                self._set_meta(name, own)
            elif found != own:
                raise NodeFailure(
                    f"the file {self._path} belongs to the {name} {found!r}, and this is {own!r}"
                )
