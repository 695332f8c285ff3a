"""The origin's table in SQLite, in the node's data directory: the embedded default.

A rollback journal with full synchronization: a commit is in the one file, on stable storage, when it returns. (With
write-ahead logging it would be in a second file, of which SQLite drops what it cannot read without a word.) Every row
carries a checksum, which is compared when the node starts, for SQLite itself looks no closer than at its pages. The
file is made under another name and then renamed, so one that is empty is damaged and not new.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from pathlib import Path
from typing import Any, Final, Protocol

from foreshock.targets.reference.node.cache.batches import BatchDatabase, SyncingFiles
from foreshock.targets.reference.node.cache.database import Begin, Begun, Done, Job, Read, Row
from foreshock.targets.reference.node.cache.messages import Key
from foreshock.targets.reference.node.effects import NodeFailure

FILE_NAME: Final = "origin.sqlite3"
APPLICATION_ID: Final = 0x466F7265
_SCHEMA: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE rows (key TEXT PRIMARY KEY, version INTEGER NOT NULL, value TEXT, crc INTEGER) WITHOUT ROWID",
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
        row = _encode(job.key), changes, value
        self._connection.execute("REPLACE INTO rows VALUES (?, ?, ?, ?)", (*row, _checksum(*row)))
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
        row = name, str(value)
        self._connection.execute("REPLACE INTO meta VALUES (?, ?, ?)", (*row, _checksum(*row)))

    def _open(self) -> sqlite3.Connection:
        try:
            if not self._path.exists():
                self._create()
            elif not self._path.stat().st_size:
                raise NodeFailure(f"the file {self._path} is damaged: at byte 0 it ends, for it is empty")
            self._connection = self._connect(self._path)
            application = self._connection.execute("PRAGMA application_id").fetchone()[0]
            if application != APPLICATION_ID:
                raise NodeFailure(
                    f"the file {self._path} is a database, but not one of an origin: move it away"
                )
            check = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if check != "ok":
                raise NodeFailure(f"the file {self._path} is damaged: {check}")
            self._compare_checksums()
            self._check_identity()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as problem:
            raise NodeFailure(
                f"the file {self._path} cannot be used as the origin's database: {problem}"
            ) from problem
        return self._connection

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _create(self) -> None:
        """Make a database without rows and put it in its place."""
        made = self._path.with_name(f"{FILE_NAME}.new")
        made.unlink(missing_ok=True)
        self._connection = self._connect(made)
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for statement in _SCHEMA:
            self._connection.execute(statement)
        for name, own in self._identity.items():
            self._set_meta(name, own)
        self._set_meta("changes", 0)
        self._connection.execute("COMMIT")
        self._connection.close()
        made.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _compare_checksums(self) -> None:
        for table, columns in (("meta", "name, value"), ("rows", "key, version, value")):
            for *row, checksum in self._connection.execute(f"SELECT {columns}, crc FROM {table}"):
                if checksum != _checksum(*row):
                    raise NodeFailure(
                        f"the file {self._path} is damaged: the row {str(row[0])[:100]!r} of the table {table!r} is "
                        "not as it was written"
                    )
        newest = self._connection.execute("SELECT max(version) FROM rows").fetchone()[0] or 0
        if int(self._meta("changes") or -1) < newest:
            raise NodeFailure(f"the file {self._path} is damaged: it lacks the number of its changes")

    def _check_identity(self) -> None:
        for name, own in self._identity.items():
            found = self._meta(name)
            if found != own:
                raise NodeFailure(
                    f"the file {self._path} belongs to the {name} {found!r}, and this is {own!r}"
                )


def _checksum(*values: str | int | None) -> int:
    return zlib.crc32(_encode(values).encode(errors="surrogatepass"))
