"""Memory that the processes of one host share, as a lock agent sees it: the least that mutual exclusion needs."""

from __future__ import annotations

from typing import Final, Protocol

CELL_BYTES: Final = 256
"""How long a cell is. A new one is all zeros."""


class SharedMemory(Protocol):
    """Cells by name, each with a lock of the kernel's that is freed by its holder, or by its holder's death.

    Every method raises ``OSError`` when the system refuses.
    """

    def try_lock(self, name: str) -> bool:
        """Take the cell's lock unless another process has it; never waits. Not asked of one that is held here."""

    def unlock(self, name: str) -> None:
        """Free the cell's lock."""

    def read(self, name: str) -> bytes:
        """The cell; its lock must be held."""

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Change the cell from an offset on; its lock must be held. Others see it at once, a dying writer's in part."""

    def is_full(self, name: str) -> bool:
        """Whether there is no such cell yet, and no more may be made."""
