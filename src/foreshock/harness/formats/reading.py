"""Reading a history that any tool recorded: the format is found by the content, never by the name alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from foreshock.harness.errors import PlugInError, UsageError
from foreshock.harness.formats.streams import head_of
from foreshock.harness.registry import Kind, load, names

if TYPE_CHECKING:
    from foreshock.harness.history import History
    from foreshock.harness.history_format import HistoryFormat

HEAD_BYTES = 4096


def read_history(path: Path, format_name: str = "auto") -> History:
    """Read a history, compressed or not, in a registered format; ``auto`` asks each whether it knows the content.

    Raises :class:`UsageError` in one sentence: when the file cannot be read, when no format fits or several do, and
    for the first line that is broken.
    """
    if format_name == "auto":
        return detected(path).read(path)
    named: HistoryFormat = load(Kind.FORMATS, format_name)()
    return named.read(path)


def detected(path: Path) -> HistoryFormat:
    """The one format that knows the content of a file; raises :class:`UsageError` when none does, or several do."""
    head = head_of(path, HEAD_BYTES)
    fitting: list[HistoryFormat] = []
    broken: list[str] = []
    for name in names(Kind.FORMATS):
        try:
            known: HistoryFormat = load(Kind.FORMATS, name)()
        except PlugInError as error:
            broken.append(str(error))
            continue
        if known.detect(path, head):
            fitting.append(known)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        several = " and ".join(known.name for known in fitting)
        raise UsageError(f"{path} looks like {several}: say which with --format")
    if not head:
        raise UsageError(f"{path} is empty, so its format cannot be told: say --format")
    more = "".join(f"; besides, {reason}" for reason in broken)
    raise UsageError(
        f"{path} is in none of the known formats ({', '.join(names(Kind.FORMATS))}): say --format, and the first "
        f"line that does not fit is told{more}"
    )
