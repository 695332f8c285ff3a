"""What is taken back when the power is cut, against a model that keeps every state."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.harness.backends.on_hosts.unsynced_writes import (
    FALLOCATE_KEEP_SIZE,
    FALLOCATE_ZERO_RANGE,
    UnsyncedWrites,
    write_all,
)

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 60), st.binary(min_size=1, max_size=20)),
        st.tuples(st.just("truncate"), st.integers(0, 80), st.just(b"")),
        st.tuples(st.just("sync"), st.just(0), st.just(b"")),
    ),
    max_size=20,
)


def written(content: bytes, offset: int, data: bytes) -> bytes:
    padded = content.ljust(offset, b"\0")
    return padded[:offset] + data + padded[offset + len(data) :]


def cut_to(content: bytes, length: int) -> bytes:
    return content[:length].ljust(length, b"\0")


@given(STEPS, st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_a_power_cut_leaves_a_prefix_of_what_was_not_synced_the_last_write_perhaps_torn(
    steps: list[tuple[str, int, bytes]], seed: int
) -> None:
    unsynced = UnsyncedWrites(1 << 20)
    content, possible = b"", {b""}
    with tempfile.TemporaryFile() as file:
        fd = file.fileno()
        for what, number, data in steps:
            if what == "write":
                unsynced.write(fd, data, number)
                possible |= {written(content, number, data[:size]) for size in range(1, len(data) + 1)}
                content = written(content, number, data)
            elif what == "truncate":
                unsynced.truncate(fd, number)
                content = cut_to(content, number)
                possible.add(content)
            else:
                unsynced.synced(fd)
                possible = {content}
            assert os.pread(fd, 1000, 0) == content
        unsynced.lose(str(seed))
        assert os.pread(fd, 1000, 0) in possible
        assert (unsynced.bytes, unsynced.files) == (0, 0)


def test_some_power_cuts_keep_nothing_some_a_prefix_and_some_tear(tmp_path: Path) -> None:
    left = set()
    for seed in range(60):
        unsynced = UnsyncedWrites(1 << 20)
        with (tmp_path / f"file{seed}").open("w+b") as file:
            for number in range(4):
                unsynced.write(file.fileno(), bytes([65 + number]) * 5, number * 5)
            unsynced.lose(str(seed))
            left.add(os.fstat(file.fileno()).st_size)
    assert 0 in left
    assert {size for size in left if size and size % 5 == 0}
    assert {size for size in left if size % 5}


def test_the_same_seed_loses_the_same(tmp_path: Path) -> None:
    contents = []
    for run in range(2):
        unsynced = UnsyncedWrites(1 << 20)
        with (tmp_path / f"file{run}").open("w+b") as file:
            for number in range(30):
                unsynced.write(file.fileno(), random.Random(number).randbytes(9), number * 7)
            lost = unsynced.lose("7/n1/3")
            contents.append((lost, os.pread(file.fileno(), 1000, 0)))
    assert contents[0] == contents[1]


def test_a_sync_covers_only_what_was_written_before_it_began(tmp_path: Path) -> None:
    unsynced = UnsyncedWrites(1 << 20)
    with (tmp_path / "file").open("w+b") as file:
        fd = file.fileno()
        unsynced.write(fd, b"before", 0)
        began = unsynced.changes
        unsynced.write(fd, b"meanwhile", 6)
        unsynced.synced(fd, began)
        unsynced.sync_failed(fd)
        assert os.pread(fd, 100, 0) == b"before"


def test_what_failed_to_sync_is_gone_and_the_next_sync_does_not_bring_it_back(tmp_path: Path) -> None:
    unsynced = UnsyncedWrites(1 << 20)
    with (tmp_path / "file").open("w+b") as file:
        fd = file.fileno()
        unsynced.write(fd, b"kept", 0)
        unsynced.synced(fd)
        unsynced.write(fd, b"lost", 0)
        unsynced.sync_failed(fd)
        unsynced.synced(fd)
        unsynced.lose("1")
        assert os.pread(fd, 100, 0) == b"kept"


def test_beyond_its_memory_the_file_that_waited_longest_counts_as_written_back(tmp_path: Path) -> None:
    unsynced = UnsyncedWrites(1000)
    with (tmp_path / "old").open("w+b") as old, (tmp_path / "new").open("w+b") as new:
        write_all(new.fileno(), b"x" * 900, 0)
        unsynced.write(old.fileno(), b"stays", 0)
        unsynced.write(new.fileno(), b"y" * 900, 0)  # to take it back needs what stood there
        assert (unsynced.written_back, unsynced.files) == (2, 0)
        unsynced.lose("1")
        assert os.pread(old.fileno(), 10, 0) == b"stays"


@pytest.mark.parametrize(
    ("mode", "after"),
    [
        (0, b"abcdef\0\0\0\0"),
        (FALLOCATE_KEEP_SIZE, b"abcdef"),
        (FALLOCATE_ZERO_RANGE, b"abcd\0\0\0\0\0\0"),
        (FALLOCATE_ZERO_RANGE | FALLOCATE_KEEP_SIZE, b"abcd\0\0"),
    ],
)
def test_room_that_is_reserved_is_taken_back_as_well(tmp_path: Path, mode: int, after: bytes) -> None:
    unsynced = UnsyncedWrites(1 << 20)
    with (tmp_path / "file").open("w+b") as file:
        fd = file.fileno()
        write_all(fd, b"abcdef", 0)
        unsynced.allocate(fd, mode, 4, 6)
        assert os.pread(fd, 100, 0) == after
        unsynced.sync_failed(fd)
        assert os.pread(fd, 100, 0) == b"abcdef"
        with pytest.raises(ValueError, match="fallocate mode 8"):
            unsynced.allocate(fd, 8, 0, 1)
