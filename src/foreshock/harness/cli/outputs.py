"""Where a command may write a file: never over what is no file, and never over what it reads."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from foreshock.harness.errors import UsageError


def file_to_write(given: str, who: str, sources: Iterable[Path] = ()) -> Path:
    """The path under which a new or an existing regular file is written whole; a link's is that of its target.

    Writing ends with a rename, which replaces whatever has the name. So this raises :class:`UsageError` for an empty
    path, for a folder, a device, a pipe or a socket, for one of the ``sources``, for the file that stdout goes to,
    and where there is no folder. ``who`` is what the path was given as, such as ``--html``.
    """
    if not given:
        raise UsageError(f"{who} is empty: name the file to write")
    what = f"{who} {given!r}"
    try:
        found = Path(given).stat()
    except FileNotFoundError:
        found = None
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{what} cannot be written to: {getattr(error, 'strerror', None) or error}"
        ) from None
    if found is not None:
        _refuse_what_would_be_lost(who, given, found, sources)
    path = Path(given)
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if found is None and (given.endswith(os.sep) or not target.parent.is_dir()):
        folder = given if given.endswith(os.sep) else str(target.parent)
        raise UsageError(f"{what}: there is no folder {folder!r} to write it to")
    return target


def _refuse_what_would_be_lost(who: str, given: str, found: os.stat_result, sources: Iterable[Path]) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{given} is a folder: give {who} the name of a file")
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{given} is no regular file, and would be lost: give {who} another name")
    for source in sources:
        if _is_same(source, found):
            raise UsageError(f"{given} is the file that is read: give {who} another name")
    try:
        shown = os.fstat(1)
    except OSError:  # stdout is closed
        return
    if os.path.samestat(shown, found):
        raise UsageError(f"{given} is where stdout goes: give {who} another name")


def _is_same(source: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(source.stat(), found)
    except OSError:  # reading it will say what is wrong with it
        return False
