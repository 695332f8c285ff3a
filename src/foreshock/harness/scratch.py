"""Folders for what is needed for a while only, such as the runs of a hunt that nobody will look at.

Each is held by a lock that the system gives back when its process is gone, however it went; who makes a folder, and
``foreshock clean``, remove those that nobody holds any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "foreshock-scratch-"
OWNER = "owner"


@contextlib.contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """A folder of one's own below the system's temporary one, which is gone after the block."""
    remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-"))
    descriptor = os.open(folder / f".{OWNER}", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        (folder / f".{OWNER}").rename(folder / OWNER)  # it is seen by others once it is held, and not before
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def abandoned() -> Iterator[Path]:
    """The folders of this user that nobody holds any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            descriptor = os.open(folder / OWNER, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield folder
            finally:
                os.close(descriptor)


def remove_abandoned() -> list[Path]:
    """Remove what processes left that were killed; returns what was removed. Idempotent."""
    removed = []
    for folder in abandoned():
        shutil.rmtree(folder, ignore_errors=True)
        removed.append(folder)
    return removed
