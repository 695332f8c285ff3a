"""Tries a disk on files that are not the node's own, and says what came of it. Runs on the host of a node.

With ``MOUNT`` as its argument it prints one line of JSON, as ``capabilities.DiskReading``. The layer makes the files
before it is mounted. Standard library only.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

PATTERN: Final = bytes(range(256)) * 4096
"""What the file holds that should read as it was written."""
WAITING: Final = b"." * 64
"""What the file holds that is overwritten, and not synced, before a power cut."""
SYNCS: Final = 8
"""How often a sync is tried: where not all fail, one of many does."""


def _attempt(action: Callable[[], object]) -> str:
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return "ok"


def make_files(medium: str) -> None:
    """Put the files there that are to be read, and overwritten, later."""
    _make(f"{medium}/.foreshock-pattern", PATTERN)
    _make(f"{medium}/.foreshock-unsynced", WAITING)


def _make(path: str, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def _write(path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(fd, WAITING)
    finally:
        os.close(fd)


def _read(mount: str) -> dict[str, object]:
    written = _attempt(lambda: _write(f"{mount}/.foreshock-trial"))
    fd = os.open(f"{mount}/.foreshock-pattern", os.O_RDONLY)
    try:
        content = b""
        while part := os.read(fd, 1 << 20):
            content += part
        began = time.monotonic()
        synced, tries = _attempt(lambda: os.fsync(fd)), 1
        took_s = time.monotonic() - began
        while synced == "ok" and took_s < 0.1 and tries < SYNCS:
            synced, tries = _attempt(lambda: os.fsync(fd)), tries + 1
    finally:
        os.close(fd)
    return {
        "write": written,
        "sync": synced,
        "sync_ms": round(took_s * 1000),
        "intact": content == PATTERN,
    }


def main(arguments: Sequence[str]) -> None:
    """Try, and say."""
    sys.stdout.write(json.dumps(_read(arguments[0])) + "\n")
