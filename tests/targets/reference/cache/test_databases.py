"""The origin's databases: the same answers from each, through restarts; and files that cannot be trusted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.node.cache import database as databases
from foreshock.targets.reference.node.cache.database import Begin, Begun, Done, LogDatabase, Read, Row, Write
from foreshock.targets.reference.node.cache.sqlite import FILE_NAME, SqliteDatabase
from foreshock.targets.reference.node.disk import DirectoryFiles, sync_files
from foreshock.targets.reference.node.effects import NodeFailure

KEYS = (1, "1", "key", "schlüssel", -5)


class Opened:
    """A database over a directory, which is synced after every batch of jobs."""

    def __init__(self, kind: Callable[..., Any], directory: Path, **identity: str) -> None:
        self.files = DirectoryFiles(directory)
        named = {"cluster": "test", "node": "n1", **identity}
        try:
            self.database = kind(self.files, **named)
        except NodeFailure:
            self.files.close()
            raise
        self._number = 0
        self._sync = 0

    def do(self, *jobs: Any) -> list[Any]:
        """Carry out a batch; returns the results in the order of the jobs."""
        self._sync += 1
        first = self._number + 1
        for job in jobs:
            self._number += 1
            self.database.submit(self._number, job, self._sync)
        sync_files(self.files.begin_sync())
        done: list[Done] = sorted(self.database.take(self._sync))
        assert [one.number for one in done] == list(range(first, self._number + 1))
        assert not any(one.problem for one in done)
        return [one.result for one in done]

    def close(self) -> None:
        self.files.close()


@pytest.mark.parametrize("seed", range(3))
def test_sqlite_and_the_log_give_the_same_answers_through_restarts(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "COMPACT_AFTER_CHANGES", 20)
    rng = RandomStream(seed, "jobs")
    kinds = {"log": LogDatabase, "sqlite": SqliteDatabase}
    opened = {name: Opened(kind, tmp_path / name) for name, kind in kinds.items()}
    for _ in range(60):
        if rng.chance(1, 10):
            for name, kind in kinds.items():
                opened[name].close()
                opened[name] = Opened(kind, tmp_path / name)
        batch: list[Any] = [Begin(rng.between(0, 5_000))] if rng.chance(1, 5) else []
        batch += [
            Write(rng.choice(KEYS), rng.choice((None, 1, "text", [1, {"a": None}], 2.5, "ü")))
            for _ in range(rng.below(6))
        ]
        results = [one.do(*batch) for one in opened.values()]
        assert results[0] == results[1]
        reads = [[row[:1] + row[2:] for row in one.do(*map(Read, KEYS))] for one in opened.values()]
        assert reads[0] == reads[1]
    for one in opened.values():
        one.close()


@pytest.mark.parametrize("kind", [LogDatabase, SqliteDatabase])
def test_an_origin_s_starts_are_counted_and_its_longest_lease_is_kept(
    tmp_path: Path, kind: Callable[..., Any]
) -> None:
    for epoch, lease_ms, before in ((1, 500, 0), (2, 100, 500), (3, 900, 500), (4, 100, 900)):
        opened = Opened(kind, tmp_path / "data")
        assert opened.do(Begin(lease_ms)) == [Begun(epoch, before)]
        opened.close()


def test_a_read_of_the_log_sees_only_what_is_durable(tmp_path: Path) -> None:
    files = DirectoryFiles(tmp_path)
    database = LogDatabase(files, cluster="c", node="n1")
    assert database.submit(1, Write("k", "v"), 1) is True
    assert database.submit(2, Read("k"), 1) is False
    assert database.take(0) == [Done(2, Row(0, 0, None))]
    assert database.take(1) == [Done(1, Row(1, 1, "v"))]
    files.close()


@pytest.mark.parametrize("kind", [LogDatabase, SqliteDatabase])
@pytest.mark.parametrize("identity", [{"cluster": "other"}, {"node": "n9"}])
def test_another_origin_s_file_is_refused(
    tmp_path: Path, kind: Callable[..., Any], identity: dict[str, str]
) -> None:
    opened = Opened(kind, tmp_path)
    opened.do(Write("k", 1))
    opened.close()
    with pytest.raises(NodeFailure, match=r"n9|other"):
        Opened(kind, tmp_path, **identity)


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database at all, but long enough to look" * 50)
    with pytest.raises(NodeFailure, match=FILE_NAME):
        Opened(SqliteDatabase, tmp_path)


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as foreign:
        foreign.execute("CREATE TABLE photos (name TEXT)")
    foreign.close()
    with pytest.raises(NodeFailure, match="not one of an origin"):
        Opened(SqliteDatabase, tmp_path)


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    opened = Opened(SqliteDatabase, tmp_path)
    opened.do(*(Write(number, "x" * 200) for number in range(300)))
    opened.database._connection.close()
    opened.close()
    path = tmp_path / FILE_NAME
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 6_000] = b"\xff" * 6_000
    path.write_bytes(bytes(data))
    with pytest.raises(NodeFailure, match=FILE_NAME):
        Opened(SqliteDatabase, tmp_path)


def test_a_disk_that_refuses_is_an_error_of_the_system(tmp_path: Path) -> None:
    opened = Opened(SqliteDatabase, tmp_path)
    opened.database._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(OSError, match="SQLite says"):
        opened.do(Write("k", 1))
    opened.close()


def test_a_bit_that_flips_in_the_database_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    """Acknowledged writes never go without a word, wherever in the file the bit is."""
    opened = Opened(SqliteDatabase, tmp_path)
    opened.do(Begin(500), *(Write(f"key {number}", f"value {number} " * 5) for number in range(60)))
    kept = opened.do(*(Read(f"key {number}") for number in range(60)))
    opened.close()
    opened.database._connection.close()
    path = tmp_path / FILE_NAME
    assert [file.name for file in tmp_path.iterdir() if "sqlite" in file.name and file.stat().st_size] == [
        FILE_NAME
    ]
    whole = path.read_bytes()
    rng = RandomStream(1, "flips")
    noticed = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.below(len(whole))] ^= 1 << rng.below(8)
        path.write_bytes(bytes(damaged))
        try:
            again = Opened(SqliteDatabase, tmp_path)
        except NodeFailure:
            noticed += 1
            continue
        assert again.do(*(Read(f"key {number}") for number in range(60))) == kept
        assert again.do(Write("new", 1))[0].version == 61
        again.close()
        again.database._connection.close()
    assert noticed > 100


@pytest.mark.parametrize("left", [0, 1, 100, 5_000])
def test_a_database_that_was_cut_is_refused(tmp_path: Path, left: int) -> None:
    opened = Opened(SqliteDatabase, tmp_path)
    opened.do(*(Write(number, "value " * 10) for number in range(200)))
    opened.close()
    opened.database._connection.close()
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(NodeFailure, match=FILE_NAME):
        Opened(SqliteDatabase, tmp_path)
