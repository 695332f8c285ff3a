"""Files that a user wrote and named: read within bounds, and what is wrong with one said in a sentence."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Any, Final

from foreshock.harness.errors import UsageError

FILE_BYTES_MAX: Final = 32 << 20


def read_text(path: Path, what: str) -> str:
    """The text of a file. ``what``: what it is to the user (``the schedule``). Raises :class:`UsageError`.

    Only a regular file is read: a device has no end, and a pipe can be read only once.
    """
    try:
        if path.exists() and not path.is_dir() and not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{what} {str(path)!r} is no regular file: write it to one, and name that")
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"{what} {str(path)!r} cannot be read: {error.strerror}") from None
    except ValueError as error:  # a path that no file can have
        raise UsageError(f"{what} {str(path)!r} cannot be read: {error}") from None
    if len(content) > FILE_BYTES_MAX:
        raise UsageError(f"{what} {str(path)!r} is larger than {FILE_BYTES_MAX >> 20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{what} {str(path)!r} is no UTF-8 text: {error.reason} at byte {error.start}"
        ) from None


def parse_toml(text: str, path: Path, what: str) -> dict[str, Any]:
    """The content of a TOML file that has been read; raises :class:`UsageError`."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise UsageError(f"{what} {str(path)!r} cannot be understood: it is nested too deep") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{what} {str(path)!r} is not TOML: {error}") from None
    except ValueError:  # of Python's, for whole numbers beyond 4,300 digits and dates that no calendar has
        raise UsageError(f"{what} {str(path)!r} has a number or a date in it that is out of bounds") from None
