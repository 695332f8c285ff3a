"""A disk that can fail and lose its power, as a FUSE file system over a folder. Runs on the host of a node.

``MEDIUM MOUNT NAME SEED`` are its arguments: it shows the folder MEDIUM at MOUNT. It needs libfuse, and the module
``mfusepy``, which is sent along. A command is a line written to ``MOUNT/.foreshock-disk``, whose write fails when
the command did::

    break {"kind": "full"}      as capabilities.DiskFault; in place of what was wrong before
    mend                        nothing is wrong any more
    cut SEED                    the power is cut: what was not synced is lost, by the seed

and reading that file says how the disk is. What is in a file is durable when it was synced; names (create, rename,
unlink) are durable at once and in order, as on a journalling file system.
"""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

import mfusepy

from foreshock.harness.backends.on_hosts.bit_flips import flipped
from foreshock.harness.backends.on_hosts.disk_probe import make_files
from foreshock.harness.backends.on_hosts.unsynced_writes import UnsyncedWrites

CONTROL: Final = "/.foreshock-disk"
CONTROL_HANDLE: Final = 0
OURS: Final = ".foreshock-"
"""How the names of files begin that are not the node's."""
UNSYNCED: Final = "/.foreshock-unsynced"
"""What is written to this file and not synced never survives a power cut: so the cut can be seen."""
SYNC_S: Final = 0.002
"""How long a sync takes at least, as on a good disk without a battery; real cuts fall into that time."""
UNKNOWN_BYTES: Final = 4096
"""How much of the end of a file is spared by flipped bits when nobody has seen it written."""
UNSYNCED_BYTES_MAX: Final = 64 << 20
LAST_WRITES_MAX: Final = 10_000
COMMAND_BYTES_MAX: Final = 4096
KINDS: Final = ("full", "slow-sync", "failing-sync", "read-only", "bit-flip")
_STAT: Final = (
    "st_atime_ns",
    "st_ctime_ns",
    "st_mtime_ns",
    "st_gid",
    "st_uid",
    "st_mode",
    "st_nlink",
    "st_size",
    "st_ino",
    "st_blocks",
)
_STATFS: Final = (
    "f_bavail",
    "f_bfree",
    "f_blocks",
    "f_bsize",
    "f_favail",
    "f_ffree",
    "f_files",
    "f_flag",
    "f_frsize",
    "f_namemax",
)

Entry = tuple[str, dict[str, int], int]
"""A name in a folder, what is known of the file, and 0."""


class DiskLayer(mfusepy.Operations):  # type: ignore[misc] # it says nothing of its types
    """The operations of the file system. One lock: what takes long (a sync) waits outside of it."""

    use_ns = True

    def __init__(self, medium: str, seed: str) -> None:
        self._medium = medium
        self._lock = threading.Lock()
        self._unsynced = UnsyncedWrites(UNSYNCED_BYTES_MAX)
        self._last_writes: OrderedDict[int, tuple[int, ...]] = OrderedDict()
        """Where the last two writes to each file began, by inode: flipped bits spare them. The last one may be lost
        with the power, and then what came before it is the end."""
        self._synchronous: set[int] = set()
        """The descriptors whose every write is synced (``O_SYNC``, ``O_DSYNC``)."""
        self._seed = seed
        self._break({})
        self._counts = {"syncs": 0, "failed_syncs": 0, "cuts": 0, "lost": 0}

    # --- what is wrong ------------------------------------------------------------------------------------

    def _break(self, fault: dict[str, Any]) -> None:
        self._fault = fault
        self._kind = str(fault.get("kind", ""))
        self._percent = int(fault.get("percent", 100))
        self._delay_s = int(fault.get("delay_ms", 0)) / 1000
        self._draws = random.Random(f"{self._seed}/{fault.get('seed', 0)}")

    def _command(self, line: str) -> None:
        word, _, rest = line.strip().partition(" ")
        with self._lock:
            if word == "break" and rest:
                fault = json.loads(rest)
                if fault.get("kind") not in KINDS:
                    raise ValueError(f"there is no fault {fault.get('kind')!r}")
                self._break(fault)
            elif word == "mend":
                self._break({})
            elif word == "cut":
                self._counts["cuts"] += 1
                self._counts["lost"] += self._unsynced.lose(f"{self._seed}/{rest}", self._telling())
            else:
                raise ValueError(f"there is no command {word!r}")

    def _telling(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._real(UNSYNCED))
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _status(self) -> bytes:
        with self._lock:
            status = {
                "fault": self._fault,
                "unsynced_bytes": self._unsynced.bytes,
                "unsynced_files": self._unsynced.files,
                "written_back": self._unsynced.written_back,
                **self._counts,
            }
        return json.dumps(status).encode() + b"\n"

    def _may_change(self) -> None:
        if self._kind == "read-only":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def _may_grow(self) -> None:
        self._may_change()
        if self._kind == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # --- files --------------------------------------------------------------------------------------------

    def _real(self, path: str) -> str:
        return self._medium + path

    def create(self, path: str, mode: int, fi: int | None = None) -> int:
        """Make a file and open it."""
        self._may_grow()
        fd = os.open(self._real(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)
        return self._opened(fd, fi or 0)

    def open(self, path: str, flags: int) -> int:
        """Open a file; what is to be written is always readable here, to know what stood there."""
        if path == CONTROL:
            return CONTROL_HANDLE
        writes = flags & os.O_ACCMODE != os.O_RDONLY
        if writes:
            self._may_change()
        fd = os.open(self._real(path), os.O_RDWR if writes else os.O_RDONLY)
        if writes and flags & os.O_TRUNC:
            self.truncate(path, 0, fd)
        return self._opened(fd, flags)

    def _opened(self, fd: int, flags: int) -> int:
        if flags & (os.O_SYNC | os.O_DSYNC):
            with self._lock:
                self._synchronous.add(fd)
        return fd

    def release(self, path: str, fh: int) -> int:
        """Close a descriptor."""
        if fh != CONTROL_HANDLE:
            with self._lock:
                self._synchronous.discard(fh)
            os.close(fh)
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """What is there, with flipped bits where that is what is wrong."""
        if fh == CONTROL_HANDLE:
            return self._status()[offset : offset + size]
        data = os.pread(fh, size, offset)
        return self._flipped(data, offset, fh) if self._kind == "bit-flip" and data else data

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        """Write; durable at once only where the descriptor says so."""
        if fh == CONTROL_HANDLE:
            return self._commanded(data)
        with self._lock:
            status = os.fstat(fh)
            (self._may_grow if offset + len(data) > status.st_size else self._may_change)()
            self._unsynced.write(fh, data, offset)
            before = self._last_writes.pop(status.st_ino, (offset,))[-1]
            self._last_writes[status.st_ino] = (before, offset)
            if len(self._last_writes) > LAST_WRITES_MAX:
                self._last_writes.popitem(last=False)
            synchronous = fh in self._synchronous
        if synchronous:
            self._sync(fh)
        return len(data)

    def _commanded(self, data: bytes) -> int:
        try:
            if len(data) > COMMAND_BYTES_MAX:
                raise ValueError("the command is too long")
            self._command(data.decode())
        except (ValueError, TypeError, AttributeError) as error:
            sys.stderr.write(f"{data[:200]!r} is no command: {error}\n")  # its log
            sys.stderr.flush()
            raise OSError(errno.EINVAL, "no command") from error
        return len(data)

    def _flipped(self, data: bytes, offset: int, fh: int) -> bytes:
        status = os.fstat(fh)
        end = min(self._last_writes.get(status.st_ino, (status.st_size - UNKNOWN_BYTES,)))
        seed = f"{self._seed}/{self._fault.get('seed', 0)}/{status.st_ino}"
        return flipped(data, offset, end, seed, self._percent)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        """Make a file durable."""
        if fh != CONTROL_HANDLE:
            self._sync(fh)
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        """Names are durable already, but the disk may fail, or take its time."""
        self._sync(None)
        return 0

    def _sync(self, fd: int | None) -> None:
        with self._lock:
            self._counts["syncs"] += 1
            fails = self._kind == "failing-sync" and self._draws.randrange(100) < self._percent
            wait_s = SYNC_S + (self._delay_s if self._kind == "slow-sync" else 0)
            before = self._unsynced.changes
        time.sleep(wait_s)
        with self._lock:
            if fails:
                self._counts["failed_syncs"] += 1
                if fd is not None:
                    self._unsynced.sync_failed(fd)
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if fd is not None:
                self._unsynced.synced(fd, before)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        """Cut or lengthen a file."""
        if path == CONTROL or fh == CONTROL_HANDLE:
            return 0
        fd = fh if fh is not None else os.open(self._real(path), os.O_RDWR)
        try:
            with self._lock:
                (self._may_grow if length > os.fstat(fd).st_size else self._may_change)()
                self._unsynced.truncate(fd, length)
        finally:
            if fh is None:
                os.close(fd)
        return 0

    def fallocate(self, path: str, mode: int, offset: int, size: int, fh: int) -> int:
        """Reserve room, or fill with zeros."""
        try:
            with self._lock:
                self._may_grow()
                self._unsynced.allocate(fh, mode, offset, size)
        except ValueError as error:
            raise OSError(errno.EOPNOTSUPP, str(error)) from error
        return 0

    # --- names --------------------------------------------------------------------------------------------

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """What ``stat`` says."""
        if path == CONTROL:
            size = len(self._status())
            return {"st_mode": 0o100600, "st_nlink": 1, "st_size": size, "st_uid": os.geteuid()}
        status = os.lstat(self._real(path)) if fh is None else os.fstat(fh)
        return {name.removesuffix("_ns"): getattr(status, name) for name in _STAT}

    def readdir(self, path: str, fh: int) -> list[Entry]:
        """The names in a folder, with their inodes and modes; the node does not see what is ours."""
        here = os.stat(self._real(path))
        found = [(name, {"st_mode": here.st_mode, "st_ino": here.st_ino}, 0) for name in (".", "..")]
        with os.scandir(self._real(path)) as entries:
            for entry in entries:
                if path != "/" or not entry.name.startswith(OURS):
                    mode = entry.stat(follow_symlinks=False).st_mode
                    found.append((entry.name, {"st_mode": mode, "st_ino": entry.inode()}, 0))
        return found

    def unlink(self, path: str) -> None:
        """Remove a name; a full disk is no hindrance."""
        self._may_change()
        self._forgetting(path, lambda: os.unlink(self._real(path)))

    def rename(self, old: str, new: str, flags: int = 0) -> None:
        """Give a file another name, in place of whatever had that."""
        self._may_change()
        if flags:
            raise OSError(errno.EINVAL, "only the plain rename is carried out here")
        self._forgetting(new, lambda: os.rename(self._real(old), self._real(new)))

    def _forgetting(self, path: str, change: Callable[[], object]) -> None:
        """Carry out a change of names by which the file at a path loses one, perhaps its last."""
        with self._lock:
            try:
                before = os.lstat(self._real(path))
            except FileNotFoundError:
                before = None
            change()
            if before is not None and before.st_nlink == 1:
                self._unsynced.removed((before.st_dev, before.st_ino))
                self._last_writes.pop(before.st_ino, None)

    def link(self, target: str, source: str) -> None:
        """Give a file one more name."""
        self._may_grow()
        os.link(self._real(source), self._real(target))

    def symlink(self, target: str, source: str) -> None:
        """Make a symbolic link."""
        self._may_grow()
        os.symlink(source, self._real(target))

    def readlink(self, path: str) -> str:
        """Where a symbolic link leads."""
        return os.readlink(self._real(path))

    def mkdir(self, path: str, mode: int) -> None:
        """Make a folder."""
        self._may_grow()
        os.mkdir(self._real(path), mode)

    def rmdir(self, path: str) -> None:
        """Remove a folder."""
        self._may_change()
        os.rmdir(self._real(path))

    def mknod(self, path: str, mode: int, dev: int) -> None:
        """Make a socket, a pipe or an empty file."""
        self._may_grow()
        os.mknod(self._real(path), mode, dev)

    def chmod(self, path: str, mode: int) -> None:
        """Change the mode."""
        self._may_change()
        os.chmod(self._real(path), mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Change the owner."""
        self._may_change()
        os.lchown(self._real(path), uid, gid)

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        """Change the times."""
        self._may_change()
        if times is None:
            os.utime(self._real(path), follow_symlinks=False)
        else:
            os.utime(self._real(path), ns=times, follow_symlinks=False)

    def statfs(self, path: str) -> dict[str, int]:
        """How much room there is."""
        status = os.statvfs(self._medium)
        found = {name: getattr(status, name) for name in _STATFS}
        return {**found, "f_bavail": 0, "f_bfree": 0} if self._kind == "full" else found


def main(arguments: Sequence[str]) -> None:
    """Serve until told to end (SIGTERM), or until somebody unmounts."""
    medium, mount, name, seed = arguments
    os.closerange(3, 1 << 16)  # whoever started this waits until all that it left open is closed
    make_files(medium)
    os.umask(0)  # the kernel has applied the umask of whoever makes a file
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    options: dict[str, Any] = {"attr_timeout": 0, "entry_timeout": 0, "negative_timeout": 0, "use_ino": True}
    if mfusepy.fuse_version_major == 2:
        options |= {"big_writes": True, "max_write": 131_072}
    if os.geteuid() == 0:
        options |= {"allow_other": True}
    mfusepy.FUSE(
        DiskLayer(medium, seed),
        mount,
        foreground=True,
        fsname=name,
        subtype="foreshock",
        default_permissions=True,
        **options,
    )
