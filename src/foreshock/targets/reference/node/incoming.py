"""A snapshot that arrives in pieces of its JSON text, in their order."""

from __future__ import annotations

from typing import Any, Final

SNAPSHOT_TEXT_MAX: Final = 1 << 30
"""The longest JSON text of a snapshot that a replica gathers, in characters."""


class Incoming:
    """The pieces that are here. ``source`` is empty where pieces of one snapshot may come from several nodes."""

    __slots__ = ("_pieces", "position", "received", "source", "term", "total")

    def __init__(self, source: str, position: int, term: int, total: int) -> None:
        self.source = source
        self.position = position
        self.term = term
        self.total = total
        self.received = 0
        """How many characters are here, which is the offset of the next piece."""
        self._pieces: list[str] = []

    def is_of(self, source: str, position: int, term: int, total: int) -> bool:
        """Whether these are pieces of that snapshot."""
        return (self.source, self.position, self.term, self.total) == (source, position, term, total)

    def add(self, offset: int, piece: Any) -> bool:
        """Add a piece, if it is the next one; whether it was."""
        if offset != self.received or not isinstance(piece, str):
            return False
        self._pieces.append(piece)
        self.received += len(piece)
        return True

    def text(self) -> str | None:
        """The whole text, or ``None`` while a part of it is missing."""
        return "".join(self._pieces) if self.received >= self.total else None


def gathering(known: Incoming | None, source: str, position: int, term: int, total: int) -> Incoming:
    """What is known of that snapshot, or the beginning of it in place of what is known of another."""
    if known is not None and known.is_of(source, position, term, total):
        return known
    return Incoming(source, position, term, total)
