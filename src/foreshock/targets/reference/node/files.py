"""The files of a node as its storage sees them: the least that an append-only log needs.

The asyncio server keeps them in a directory, the simulator on a disk that loses what was not synced. Syncing is
the shell's affair and is not here: the shell knows which files were touched and when to sync them.
"""

from __future__ import annotations

from typing import Protocol


class Files(Protocol):
    """A flat directory of files. Every method raises ``OSError`` when the disk refuses."""

    def names(self) -> list[str]:
        """The names of the files there, sorted."""

    def read(self, name: str) -> bytes:
        """The whole file as the node sees it now; raises ``FileNotFoundError``."""

    def append(self, name: str, data: bytes) -> None:
        """Add to the end of the file, creating it; not durable until the shell has synced it."""

    def truncate(self, name: str, length: int) -> None:
        """Cut the file to ``length`` bytes; not durable until the shell has synced it."""

    def replace(self, name: str, data: bytes) -> None:
        """Put a whole new file in place of the old one, atomically: until the shell has synced it, a crash may leave
        either."""

    def remove(self, name: str) -> None:
        """Remove the file durably; a missing one is no error."""
