"""What a cell of the shared memory holds: the last fencing token of a lock, and whether that grant is still in force.

A cell has two records, and each change goes into the one that does not count: so a writer who dies half way leaves the
other as it was. The one that counts is whole (its CRC-32 is right) and has the greater number.

=========== ====================================================================
bytes       meaning
=========== ====================================================================
0 to 7      ``FSHLOCK1``; zeros in a cell that was never written
64 to 91    a record: number and token (8 bytes each), held (8 bytes, 0 or 1) and CRC-32 (4), little-endian
128 to 155  the other record
=========== ====================================================================
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from typing import Final, NamedTuple

from foreshock.targets.reference.node.effects import NodeFailure
from foreshock.targets.reference.node.shm_lock.memory import SharedMemory

MAGIC: Final = b"FSHLOCK1"
RECORDS: Final = (64, 128)
_RECORD: Final = struct.Struct("<QQQ")
_CHECKSUM: Final = struct.Struct("<I")
_LENGTH: Final = _RECORD.size + _CHECKSUM.size


class Grant(NamedTuple):
    """The last grant of a lock: its token (0: never granted), and whether it was given back."""

    token: int
    held: bool


def cell_name(key: int | str) -> str:
    """The name of a lock's cell; different keys have different names."""
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:40]


def read_grant(memory: SharedMemory, name: str) -> Grant:
    """What the cell tells, whose lock is held; raises :class:`NodeFailure` when it is damaged or somebody else's."""
    cell = memory.read(name)
    number, grant = _newest(cell)
    if number == 0 and any(cell):
        if not MAGIC.startswith(
            cell[: len(MAGIC)].rstrip(b"\0")
        ):  # a first writer may have died in the middle of it
            raise _unusable(name, 0, f"there is {cell[: len(MAGIC)]!r}, and not {MAGIC!r}")
        if cell[RECORDS[0] : RECORDS[0] + _LENGTH] != bytes(_LENGTH) and any(cell[RECORDS[1] :]):
            raise _unusable(name, RECORDS[0], "neither of the two records is whole")
    return grant


def write_grant(memory: SharedMemory, name: str, grant: Grant) -> None:
    """Make this the last grant; the cell's lock must be held."""
    cell = memory.read(name)
    number, _ = _newest(cell)
    if number == 0:
        memory.write(name, 0, MAGIC)
    body = _RECORD.pack(number + 1, grant.token, grant.held)
    memory.write(name, RECORDS[(number + 1) % 2], body + _CHECKSUM.pack(zlib.crc32(body)))


def _newest(cell: bytes) -> tuple[int, Grant]:
    newest = (0, Grant(0, held=False))
    for offset in RECORDS:
        body = cell[offset : offset + _RECORD.size]
        (checksum,) = _CHECKSUM.unpack_from(cell, offset + _RECORD.size)
        number, token, held = _RECORD.unpack(body)
        if zlib.crc32(body) == checksum and number > newest[0]:
            newest = (number, Grant(token, held=bool(held)))
    return newest


def _unusable(name: str, offset: int, why: str) -> NodeFailure:
    return NodeFailure(f"the cell {name} of the shared memory cannot be used: at byte {offset} {why}")
