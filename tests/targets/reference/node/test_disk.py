"""The node's directory of files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from foreshock.targets.reference.node.disk import DirectoryFiles, sync_files
from foreshock.targets.reference.node.effects import NodeFailure
from foreshock.targets.reference.node.server import disk_sentence


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_is_appended_truncated_and_replaced_is_read_back(tmp_path: Path) -> None:
    files = DirectoryFiles(tmp_path / "deep" / "data")
    files.append("log", b"hello ")
    files.append("log", b"world")
    assert files.read("log") == b"hello world"
    files.truncate("log", 5)
    files.append("log", b"!")
    assert files.read("log") == b"hello!"
    files.replace("log", b"new")
    files.append("log", b"er")
    assert files.read("log") == b"newer"
    files.remove("log")
    files.remove("log")
    assert files.names() == []
    with pytest.raises(FileNotFoundError):
        files.read("log")
    files.close()


def test_a_sync_covers_what_was_touched_since_the_last_and_closes_what_it_opened(tmp_path: Path) -> None:
    files = DirectoryFiles(tmp_path)
    files.append("one", b"1")
    files.append("two", b"2")
    before = open_descriptors()
    batch = files.begin_sync()
    assert len(batch.files) == 3  # both files, and the directory that they are new in
    sync_files(batch)
    assert open_descriptors() <= before + 2  # the two files stay open
    files.append("one", b"1")
    batch = files.begin_sync()
    assert len(batch.files) == 1
    sync_files(batch)
    assert not any(files.begin_sync())
    files.close()


def test_a_sync_under_way_is_not_disturbed_by_a_replacement(tmp_path: Path) -> None:
    files = DirectoryFiles(tmp_path)
    files.append("log", b"1")
    batch = files.begin_sync()
    files.replace("log", b"2")
    sync_files(batch)
    assert files.read("log") == b"2"
    assert (tmp_path / "log").read_bytes() == b"1"
    batch = files.begin_sync()
    assert (len(batch.files), len(batch.replaced)) == (2, 1)
    before = open_descriptors()
    sync_files(batch)
    assert (
        open_descriptors() == before - 3
    )  # the copies of the file's and the directory's, and the old file's
    assert (tmp_path / "log").read_bytes() == b"2"
    files.close()


def test_a_replacement_takes_place_by_the_sync_and_a_crash_before_it_leaves_the_old_file(
    tmp_path: Path,
) -> None:
    files = DirectoryFiles(tmp_path)
    files.append("log", b"old")
    sync_files(files.begin_sync())
    files.replace("log", b"new ")
    files.append("log", b"and more")
    files.close()
    files = DirectoryFiles(tmp_path)
    assert files.names() == ["log"]
    assert files.read("log") == b"old"
    files.replace("log", b"new ")
    files.append("log", b"and more ")
    sync_files(files.begin_sync())
    files.append("log", b"and then some")
    sync_files(files.begin_sync())
    files.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert (tmp_path / "log").read_bytes() == b"new and more and then some"


def test_a_replacement_may_be_overtaken_before_and_while_it_is_synced(tmp_path: Path) -> None:
    files = DirectoryFiles(tmp_path)
    files.replace("log", b"first")
    files.replace("log", b"second")
    batch = files.begin_sync()
    files.replace("log", b"third")
    sync_files(batch)
    assert (tmp_path / "log").read_bytes() == b"second"
    files.append("log", b"!")
    sync_files(files.begin_sync())
    files.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert (tmp_path / "log").read_bytes() == b"third!"


def test_what_was_not_synced_is_lost_with_the_process(tmp_path: Path) -> None:
    files = DirectoryFiles(tmp_path)
    files.append("log", b"synced ")
    sync_files(files.begin_sync())
    files.append("log", b"not")
    assert files.read("log") == b"synced not"
    files.close()
    again = DirectoryFiles(tmp_path)
    assert again.read("log") == b"synced "
    again.close()


def test_what_is_found_is_synced_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log").write_bytes(b"written, and killed before the sync")
    synced: list[str] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", watched)
    DirectoryFiles(tmp_path).close()
    assert synced == ["log", tmp_path.name]


def test_a_replacement_that_was_never_finished_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"old")
    (tmp_path / "log.7.new").write_bytes(b"ha")
    files = DirectoryFiles(tmp_path)
    assert files.names() == ["log"]
    assert files.read("log") == b"old"
    files.close()


def test_two_nodes_cannot_share_a_directory(tmp_path: Path) -> None:
    first = DirectoryFiles(tmp_path)
    with pytest.raises(NodeFailure, match="in use by another node"):
        DirectoryFiles(tmp_path)
    first.close()
    DirectoryFiles(tmp_path).close()


def test_what_the_disk_refuses_is_said_with_the_mend() -> None:
    assert "free some space" in disk_sentence(OSError(errno.ENOSPC, "No space left on device"))
    assert "not writable (/data/log)" in disk_sentence(
        OSError(errno.EACCES, "Permission denied", "/data/log")
    )
    assert "Input/output error" in disk_sentence(OSError(errno.EIO, "Input/output error"))
