"""The shared memory of a simulated host: the cells outlive its nodes, and the locks on them die with their holders."""

from __future__ import annotations

from collections.abc import Callable

from foreshock.targets.reference.node.shm_lock.memory import CELL_BYTES


class SimulatedHost:
    """The memory that all simulated nodes of one test share."""

    def __init__(self) -> None:
        self.cells: dict[str, bytearray] = {}
        self.holders: dict[str, Attachment] = {}
        self._attached: dict[str, Attachment] = {}

    def attach(self, node: str, alive: Callable[[], bool], *, cells_max: int) -> Attachment:
        """The memory as one life of a node sees it; ``alive`` says whether that node lives now.

        What an earlier life of the node held is free: it must have died for this one to begin.
        """
        attachment = self._attached[node] = Attachment(self, node, alive, cells_max)
        return attachment

    def is_alive(self, attachment: Attachment) -> bool:
        """Whether it is the life that its node leads now."""
        return self._attached[attachment.node] is attachment and attachment.alive()


class Attachment:
    """A :class:`foreshock.targets.reference.node.shm_lock.memory.SharedMemory` for one life of one node."""

    def __init__(self, host: SimulatedHost, node: str, alive: Callable[[], bool], cells_max: int) -> None:
        self.node = node
        self.alive = alive
        self._host = host
        self._cells_max = cells_max

    def try_lock(self, name: str) -> bool:
        """Take the cell's lock unless somebody alive has it."""
        holder = self._host.holders.get(name)
        if holder is not None and self._host.is_alive(holder):
            return False
        self._host.holders[name] = self
        self._host.cells.setdefault(name, bytearray(CELL_BYTES))
        return True

    def unlock(self, name: str) -> None:
        """Free the cell's lock."""
        del self._host.holders[name]

    def read(self, name: str) -> bytes:
        """The cell as it is."""
        return bytes(self._host.cells[name])

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Change the cell from an offset on."""
        self._host.cells[name][offset : offset + len(data)] = data

    def is_full(self, name: str) -> bool:
        """Count the cells, unless it is there."""
        return name not in self._host.cells and len(self._host.cells) >= self._cells_max
