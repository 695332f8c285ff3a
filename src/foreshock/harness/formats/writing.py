"""Writing a history in any format that can be written, whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from foreshock.harness.errors import HarnessError, PlugInError, UsageError
from foreshock.harness.formats.streams import packed
from foreshock.harness.registry import Kind, load, names

if TYPE_CHECKING:
    from foreshock.harness.history import History
    from foreshock.harness.history_format import WritableFormat

COMPRESSED: Final = (".gz", ".zst")
"""The suffixes of compressed files."""


def format_to_write(path: Path, format_name: str | None = None) -> WritableFormat:
    """The format of a file that is to be written: the one named, or the one whose suffix it has.

    Raises :class:`UsageError` when there is none, or the one named can only be read.
    """
    writable = _writable()
    if format_name is not None:
        if format_name not in writable:
            load(Kind.FORMATS, format_name)  # complains about a name that nobody knows
            raise UsageError(f"the format {format_name!r} can only be read: write {', '.join(writable)}")
        return writable[format_name]
    suffix = path.with_suffix("").suffix if path.suffix in COMPRESSED else path.suffix
    for known in writable.values():
        if known.suffix == suffix:
            return known
    suffixes = ", ".join(known.suffix for known in writable.values())
    raise UsageError(f"the name {str(path)!r} tells no format ({suffixes}, and with .gz or .zst): say --to")


def _writable() -> dict[str, WritableFormat]:
    from foreshock.harness.history_format import WritableFormat

    found = {}
    for name in names(Kind.FORMATS):
        with contextlib.suppress(PlugInError):  # fatal only for whoever names it
            known = load(Kind.FORMATS, name)()
            if isinstance(known, WritableFormat):
                found[name] = known
    return found


def write_history(history: History, path: Path, format_name: str | None = None) -> None:
    """Write a history in a named format, or in the one that the suffix of ``path`` says.

    ``.gz`` or ``.zst`` at the end compress. An existing file (of a link: what it leads to) is replaced once the new
    one is whole. Raises
    :class:`UsageError` when there is no such format or it cannot hold the history, and :class:`HarnessError` when the
    file cannot be written.
    """
    known = format_to_write(path, format_name)
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    plain = target.with_name(f".{target.name}.{os.getpid()}")
    compressed = target.with_name(f".{target.name}.{os.getpid()}.packed")
    try:
        known.write(history, plain)
        if path.suffix in COMPRESSED:
            packed(compressed, plain, path.suffix)
            compressed.replace(target)
        else:
            plain.replace(target)
    except PlugInError as error:
        raise UsageError(f"{path} cannot be written as {known.name}: {error}") from None
    except OSError as error:
        raise HarnessError(
            f"the history {str(path)!r} cannot be written: {error.strerror or error}"
        ) from None
    finally:
        for temporary in (plain, compressed):
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
