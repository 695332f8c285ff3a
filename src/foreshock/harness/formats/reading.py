"""Reading a history that any tool recorded: the format is found by the content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from foreshock.harness.errors import UsageError
from foreshock.harness.registry import Kind, load, names

if TYPE_CHECKING:
    from foreshock.harness.history import History

HEAD_BYTES = 4096


def read_history(path: Path, format_name: str = "auto") -> History:
    """Read a history in a registered format; ``auto`` asks each whether it knows the content."""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise UsageError(f"the history {str(path)!r} cannot be read: {error.strerror}") from None
    if format_name != "auto":
        history: History = load(Kind.FORMATS, format_name)().read(path)
        return history
    for name in names(Kind.FORMATS):
        known = load(Kind.FORMATS, name)()
        if known.detect(path, head):
            found: History = known.read(path)
            return found
    raise UsageError(
        f"{path} is in none of the known formats ({', '.join(names(Kind.FORMATS))}): say --format"
    )
