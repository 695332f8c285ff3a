"""From the path of a request to a file of the store, and never to any other file.

A path is split where it was sent with ``/`` and decoded after that, so no encoded separator is one. Each part is
opened below the folder before it, and no link is followed on the way: whatever a store holds, what is reached lies in
it. The one link that means something, ``latest``, is read and turned into a redirection.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from foreshock.harness.errors import ForeshockError

PARTS_MAX: Final = 32
PART_BYTES_MAX: Final = 255
ENTRIES_MAX: Final = 2_000
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


class RequestError(ForeshockError):
    """A request that gets another answer than the one it asked for: its HTTP status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Entry(NamedTuple):
    """A file or folder of a folder."""

    name: str
    is_folder: bool
    size: int
    modified_s: float


def parts_of(path: str) -> tuple[str, ...]:
    """The parts of a path as it was sent, decoded; raises :class:`RequestError` for one that is not plain."""
    if not path.startswith("/") or _BAD_ESCAPE.search(path):
        raise RequestError(400, "the address is not a path that can be read")
    sent = path[1:].split("/")
    if sent[-1] == "":
        sent.pop()
    if len(sent) > PARTS_MAX:
        raise RequestError(404, "no path of a store is so deep")
    return tuple(map(_plain_part, sent))


def _plain_part(sent: str) -> str:
    try:
        raw = unquote_to_bytes(sent)
    except UnicodeEncodeError:
        raise RequestError(400, "the address holds characters that no address can hold") from None
    if raw in (b"", b".", b"..") or b"/" in raw or b"\0" in raw:
        raise RequestError(403, "the path does not stay inside the store")
    if len(raw) > PART_BYTES_MAX:
        raise RequestError(404, "no name in a store is so long")
    return os.fsdecode(raw)


def path_text(parts: Sequence[str], *, folder: bool = False) -> str:
    """The parts as a path of an address."""
    return "/".join(quote(os.fsencode(part), safe="") for part in parts) + ("/" if folder and parts else "")


def shown(name: str) -> str:
    """A name as text that can be written in a page, whatever bytes it is made of."""
    return os.fsencode(name).decode("utf-8", "replace")


def open_in_store(root: Path, parts: Sequence[str]) -> tuple[int, os.stat_result]:
    """Open an ordinary file or a folder of the store for reading; the caller closes it.

    Raises :class:`RequestError` for what is not there, is a link, or is neither file nor folder.
    """
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise RequestError(404, f"the store cannot be read: {error.strerror}") from None
    try:
        for part in parts:
            inner = _open_below(fd, part)
            os.close(fd)
            fd = inner
        return fd, os.fstat(fd)
    except BaseException:
        os.close(fd)
        raise


def _open_below(folder: int, name: str) -> int:
    """Open what has that name in a folder. A pipe or a device is not even opened: that alone can have effects."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            raise RequestError(403, "a link in the store is not followed")
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise RequestError(403, "that is neither a file nor a folder")
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        raise RequestError(404, "there is no such file or folder in the store") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise RequestError(403, "a link in the store is not followed") from None
        if error.errno == errno.ENOTDIR:
            raise RequestError(404, "there is no such file or folder in the store") from None
        raise RequestError(403, f"it cannot be read: {error.strerror}") from None


def folder_in_store(root: Path, parts: Sequence[str]) -> Path:
    """The path of a folder of the store, reached without a link; raises :class:`RequestError` for what is none."""
    fd, found = open_in_store(root, parts)
    os.close(fd)
    if not stat.S_ISDIR(found.st_mode):
        raise RequestError(404, "that is not a folder")
    return root.joinpath(*parts)


def entries_of(fd: int) -> tuple[list[Entry], bool]:
    """What is in an open folder, folders first, and whether that is all of it. Links and pipes are left out."""
    found: list[Entry] = []
    for entry in _entries(fd):
        if len(found) >= ENTRIES_MAX:
            return sorted(found, key=lambda e: (not e.is_folder, e.name)), False
        found.append(entry)
    return sorted(found, key=lambda entry: (not entry.is_folder, entry.name)), True


def _entries(fd: int) -> Iterator[Entry]:
    with os.scandir(fd) as entries:
        for entry in entries:
            try:
                about = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # removed at this moment
            if stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode):
                yield Entry(entry.name, stat.S_ISDIR(about.st_mode), about.st_size, about.st_mtime)


def target_of_latest(root: Path) -> tuple[str, ...]:
    """The run that ``latest`` points at, as parts; raises :class:`RequestError` when it points anywhere else."""
    try:
        target = os.readlink(root / "latest")  # noqa: PTH115 - a path would tidy up what must be looked at as it is
    except OSError:
        raise RequestError(404, "there is no latest run in this store") from None
    parts = tuple(target.split("/"))
    if len(parts) != 2 or any(part in ("", ".", "..", "latest") for part in parts):
        raise RequestError(403, "'latest' does not point at a run of this store")
    return parts
