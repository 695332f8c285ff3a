"""Cells of the shared memory: what a writer who dies half way leaves, and what is not to be trusted."""

from __future__ import annotations

import pytest

from foreshock.targets.locks.simulated_memory import Attachment, SimulatedHost
from foreshock.targets.reference.node.effects import NodeFailure
from foreshock.targets.reference.node.shm_lock.cells import (
    MAGIC,
    RECORDS,
    Grant,
    cell_name,
    read_grant,
    write_grant,
)

NAME = cell_name("k")


def memory() -> Attachment:
    attached = SimulatedHost().attach("n1", lambda: True, cells_max=10)
    assert attached.try_lock(NAME)
    return attached


def test_a_new_cell_was_never_granted_and_the_last_grant_is_read_back() -> None:
    cell = memory()
    assert read_grant(cell, NAME) == Grant(0, held=False)
    for token in range(1, 6):
        for held in (True, False):
            write_grant(cell, NAME, Grant(token, held=held))
            assert read_grant(cell, NAME) == Grant(token, held=held)


def test_different_keys_have_different_cells_whose_names_are_file_names() -> None:
    names = [cell_name(key) for key in (1, "1", "", "a/b", "x" * 1024)]
    assert len(set(names)) == len(names)
    assert all(name.isalnum() and len(name) == 40 for name in names)


@pytest.mark.parametrize("writes", range(4))
def test_a_writer_who_dies_at_any_byte_leaves_the_grant_before_or_the_new_one(writes: int) -> None:
    class Dying(Attachment):
        left = 10_000

        def write(self, name: str, offset: int, data: bytes) -> None:
            super().write(name, offset, data[: self.left])
            self.left -= min(self.left, len(data))

    for bytes_written in range(40):
        cell = Dying(SimulatedHost(), "n1", lambda: True, 10)
        cell._host.attach("n1", lambda: True, cells_max=10)
        cell._host._attached["n1"] = cell
        assert cell.try_lock(NAME)
        for token in range(1, writes + 1):
            write_grant(cell, NAME, Grant(token, held=True))
        before = read_grant(cell, NAME)
        cell.left = bytes_written
        write_grant(cell, NAME, Grant(9, held=True))
        assert read_grant(cell, NAME) in (before, Grant(9, held=True))
        cell.left = 10_000
        write_grant(cell, NAME, Grant(10, held=False))
        assert read_grant(cell, NAME) == Grant(10, held=False)


def test_a_cell_that_is_somebody_elses_or_damaged_twice_is_refused_with_its_place() -> None:
    cell = memory()
    cell.write(NAME, 0, b"ELF!" * 4)
    with pytest.raises(NodeFailure, match=f"the cell {NAME} .* at byte 0 there is b'ELF!ELF!'"):
        read_grant(cell, NAME)
    cell = memory()
    for token in (1, 2):
        write_grant(cell, NAME, Grant(token, held=True))
    assert cell.read(NAME).startswith(MAGIC)
    for offset in RECORDS:
        cell.write(NAME, offset, b"\xff")
    with pytest.raises(NodeFailure, match="at byte 64 neither of the two records is whole"):
        read_grant(cell, NAME)
