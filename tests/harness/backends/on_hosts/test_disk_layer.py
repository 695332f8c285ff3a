"""The disk layer, mounted for real: files behave as files do, until the power is cut or the disk fails."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from layered import Layered


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layered]:
    layer = Layered(tmp_path_factory.mktemp("layer"))
    yield layer
    layer.close()


@pytest.fixture
def folder(layer: Layered, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder of the test's own on the layer, which is sound before and after."""
    folder = layer.mount / str(abs(hash(request.node.name)))
    folder.mkdir()
    yield folder
    layer.mend()


def save(path: Path, content: bytes, flags: int = 0) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o640)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)


def sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def errno_of(action: object, *arguments: object) -> int | None:
    assert callable(action)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is what is looked at
        action(*arguments)
    return caught.value.errno


def test_what_was_synced_stays_and_what_was_not_goes_with_the_power(layer: Layered, folder: Path) -> None:
    log, never = folder / "log", folder / "never"
    save(log, b"synced ")
    sync(log)
    save(log, b"not", os.O_APPEND)
    save(never, b"nothing of this")
    assert log.read_bytes() == b"synced not"
    layer.cut()
    assert log.read_bytes() == b"synced "
    assert never.read_bytes() == b""  # names are durable at once, contents are not


def test_names_stay_as_they_were_when_the_power_is_cut(layer: Layered, folder: Path) -> None:
    new, old, gone = folder / "new", folder / "old", folder / "gone"
    for path in (new, old, gone):
        save(path, path.name.encode())
        sync(path)
    new.rename(old)
    gone.unlink()
    layer.cut()
    assert sorted(os.listdir(folder)) == ["old"]  # noqa: PTH208
    assert old.read_bytes() == b"new"


def test_a_file_is_the_same_by_all_its_names_and_after_a_rename(layer: Layered, folder: Path) -> None:
    first, second, third = folder / "first", folder / "second", folder / "third"
    save(first, b"abc")
    second.hardlink_to(first)
    sync(second)
    save(first, b"def", os.O_APPEND)
    first.rename(third)
    assert os.stat(second).st_ino == os.stat(third).st_ino  # noqa: PTH116
    layer.cut()
    assert second.read_bytes() == third.read_bytes() == b"abc"


def test_a_file_that_was_cut_or_overwritten_comes_back_as_it_was(layer: Layered, folder: Path) -> None:
    path = folder / "file"
    save(path, b"0123456789")
    sync(path)
    os.truncate(path, 4)
    save(path, b"XY")
    assert path.read_bytes() == b"XY23"
    layer.cut()
    assert path.read_bytes() == b"0123456789"


@pytest.mark.parametrize("flag", [os.O_SYNC, os.O_DSYNC])
def test_a_descriptor_can_ask_for_every_write_to_be_synced(layer: Layered, folder: Path, flag: int) -> None:
    save(folder / "file", b"durable", flag)
    layer.cut()
    assert (folder / "file").read_bytes() == b"durable"


def test_memory_that_is_mapped_shared_reaches_the_disk_by_msync(layer: Layered, folder: Path) -> None:
    path = folder / "file"
    save(path, bytes(8192))
    sync(path)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 8192) as memory:
        memory[0:4] = b"kept"
        memory.flush()
        memory[4096:4100] = b"lost"
    layer.cut()
    content = path.read_bytes()
    assert (content[:4], content[4096:4100], len(content)) == (b"kept", bytes(4), 8192)


def test_reading_by_a_map_sees_what_was_written(folder: Path) -> None:
    path = folder / "file"
    save(path, bytes(4096))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 4096, access=mmap.ACCESS_READ) as memory:
        os.pwrite(file.fileno(), b"seen", 100)
        assert memory[100:104] == b"seen"


def test_a_removed_file_can_be_used_while_it_is_open(folder: Path) -> None:
    with (folder / "file").open("w+b", buffering=0) as file:
        (folder / "file").unlink()
        file.write(b"still")
        file.seek(0)
        assert file.read() == b"still"
    assert not list(folder.glob("*"))


def test_locks_and_room_and_times_work_as_anywhere(layer: Layered, folder: Path) -> None:
    path = folder / "file"
    with path.open("wb") as one, path.open("wb") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        assert errno_of(fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB) == errno.EWOULDBLOCK
        os.posix_fallocate(one.fileno(), 0, 10_000)
    os.utime(path, ns=(5 * 10**9, 7 * 10**9))
    path.chmod(0o600)
    status = path.stat()
    assert (status.st_size, status.st_mtime_ns, status.st_mode & 0o777) == (10_000, 7 * 10**9, 0o600)
    (folder / "link").symlink_to("file")
    assert (folder / "link").readlink() == Path("file")
    assert os.statvfs(folder).f_bavail > 0


def test_a_full_disk_lets_nothing_grow_and_everything_shrink(layer: Layered, folder: Path) -> None:
    path = folder / "file"
    save(path, b"before")
    layer.break_("full")
    assert errno_of(save, path, b"more", os.O_APPEND) == errno.ENOSPC
    assert errno_of(save, folder / "new", b"") == errno.ENOSPC
    assert errno_of((folder / "sub").mkdir) == errno.ENOSPC
    assert os.statvfs(folder).f_bavail == 0
    save(path, b"BEFORE")
    os.truncate(path, 3)
    layer.mend()
    assert path.read_bytes() == b"BEF"
    save(path, b"more", os.O_APPEND)


def test_a_read_only_disk_refuses_descriptors_that_were_open_before(layer: Layered, folder: Path) -> None:
    with (folder / "file").open("wb", buffering=0) as file:
        file.write(b"before")
        layer.break_("read-only")
        assert errno_of(file.write, b"after") == errno.EROFS
        assert errno_of((folder / "file").unlink) == errno.EROFS
        assert errno_of((folder / "file").rename, folder / "other") == errno.EROFS
    assert (folder / "file").read_bytes() == b"before"


def test_what_a_failing_sync_could_not_write_is_lost_even_when_the_next_one_says_ok(
    layer: Layered, folder: Path
) -> None:
    path = folder / "file"
    save(path, b"one ")
    sync(path)
    layer.break_("failing-sync")
    save(path, b"two", os.O_APPEND)
    assert errno_of(sync, path) == errno.EIO
    assert errno_of(sync, folder) == errno.EIO
    layer.mend()
    sync(path)
    layer.cut()
    assert path.read_bytes() == b"one "


def test_a_slow_sync_takes_its_time_and_holds_up_nobody_else(layer: Layered, folder: Path) -> None:
    path = folder / "file"
    save(path, b"x")
    layer.break_("slow-sync", delay_ms=700)
    program = "import os, sys; os.fsync(os.open(sys.argv[1], os.O_RDONLY)); print('synced')"
    began = time.monotonic()
    syncing = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
    assert path.read_bytes() == b"x"
    save(path, b"y")
    assert syncing.communicate(timeout=60)[0] == b"synced\n"
    assert time.monotonic() - began > 0.7


def test_flipped_bits_are_read_by_whoever_opens_a_file_and_are_gone_when_it_is_mended(
    layer: Layered, folder: Path
) -> None:
    path = folder / "file"
    content = bytes(range(256)) * 1024
    save(path, content)
    for _ in range(2):
        save(path, b"end", os.O_APPEND)
    content += b"endend"
    layer.break_("bit-flip", percent=25, seed=3)
    seen = path.read_bytes()
    wrong = [place for place in range(len(content)) if seen[place] != content[place]]
    assert seen == path.read_bytes()
    assert all((seen[place] ^ content[place]).bit_count() == 1 for place in wrong)
    assert 60 < len(wrong) < 200  # a quarter of 512 blocks
    assert max(wrong) < len(content) - len(b"endend")
    layer.mend()
    assert path.read_bytes() == content


def test_the_node_does_not_see_what_is_ours_and_the_probe_does(layer: Layered) -> None:
    sound = layer.probe()
    assert (sound["write"], sound["sync"], sound["intact"]) == ("ok", "ok", True)
    assert not [name for name in os.listdir(layer.mount) if name.startswith(".")]  # noqa: PTH208
    for kind, shown in {
        "full": {"write": "ENOSPC"},
        "read-only": {"write": "EROFS"},
        "failing-sync": {"sync": "EIO"},
        "bit-flip": {"intact": False},
    }.items():
        layer.break_(kind)
        found = layer.probe()
        del found["sync_ms"]
        assert found == {"write": "ok", "sync": "ok", "intact": True} | shown
        layer.mend()


@pytest.mark.parametrize("line", ["", "brake {}", "break", "break {", 'break {"kind": "rusty"}', "break 3"])
def test_a_command_that_is_none_is_refused_and_changes_nothing(layer: Layered, line: str) -> None:
    layer.break_("full")
    assert errno_of(layer.command, line or "\n") == errno.EINVAL
    assert layer.status()["fault"] == {"kind": "full"}
    layer.mend()
    assert layer.status()["fault"] == {}
