"""Which bits of a file are read flipped, by a seed: the same ones each time, until the disk is mended.

Used by the simulated disk, and by the disk layer on the host of a node: standard library only.
"""

from __future__ import annotations

import hashlib
from typing import Final

BLOCK_BYTES: Final = 512


def flipped(data: bytes, offset: int, end: int, seed: str, percent: int) -> bytes:
    """What is read of a file at an offset: in so many percent of its blocks, one bit is not as it was written.

    Nothing is flipped from ``end`` on: what was written last is spared, since damage there cannot be told from a torn
    write, which a node may rightly cut off.
    """
    last = min(offset + len(data), end)
    result = bytearray(data)
    for block in range(offset // BLOCK_BYTES, -(-last // BLOCK_BYTES)):
        digest = hashlib.blake2b(f"{seed}/{block}".encode(), digest_size=8).digest()
        draw = int.from_bytes(digest, "big")
        start = block * BLOCK_BYTES
        place, bit = divmod((draw >> 8) % (8 * min(BLOCK_BYTES, end - start)), 8)
        place += start - offset
        if draw % 100 < percent and 0 <= place < len(data):
            result[place] ^= 1 << bit
    return bytes(result)
