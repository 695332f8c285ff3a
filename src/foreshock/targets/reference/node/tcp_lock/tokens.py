"""Fencing tokens that go on growing through restarts, with one write to the disk for many of them.

The file says up to which token any may have been given out. No token is given out that it does not cover durably: more
are reserved, in the background, when half of the last lot is used. A node that starts goes on above what the file says,
so tokens that were reserved and not used are skipped.

The file is one line: eight hexadecimal digits, the CRC-32 of the JSON text after them.
"""

from __future__ import annotations

import json
import zlib
from typing import Final

from foreshock.targets.reference.node.effects import NodeFailure
from foreshock.targets.reference.node.files import Files

FILE_NAME: Final = "tokens"
_CRC_LENGTH: Final = 8


class TokenCounter:
    """The tokens of one node. Raises ``OSError`` when the disk refuses, and :class:`NodeFailure` on a foreign file."""

    def __init__(self, files: Files, *, cluster: str, node: str, at_once: int) -> None:
        self._files = files
        self._identity = {"cluster": cluster, "node": node}
        self._at_once = at_once
        self.is_first_life = FILE_NAME not in files.names()
        """Whether no token was ever given out here before: the file comes before the first."""
        self._last = 0 if self.is_first_life else self._read(files.read(FILE_NAME))
        self._durable = self._last
        self._reserving = 0
        self.sync_up_to = 0
        """The number of the last reservation, to be reported by :meth:`synced` once it is on stable storage."""

    def reserve(self) -> bool:
        """Have the file cover more tokens, if few are left; says whether there is something to be synced."""
        if self._reserving or self._durable - self._last > self._at_once // 2:
            return False
        self._reserving = self._last + self._at_once
        text = json.dumps({**self._identity, "reserved": self._reserving}).encode()
        self._files.replace(FILE_NAME, b"%08x %s\n" % (zlib.crc32(text), text))
        self.sync_up_to += 1
        return True

    def synced(self, up_to: int) -> None:
        """What was reserved under this number is on stable storage."""
        if up_to >= self.sync_up_to and self._reserving:
            self._durable, self._reserving = self._reserving, 0

    def take(self) -> int | None:
        """The next token, greater than all before, in this life of the node and in earlier ones.

        ``None`` while none is covered durably.
        """
        if self._last >= self._durable:
            return None
        self._last += 1
        return self._last

    def _read(self, data: bytes) -> int:
        text = data[_CRC_LENGTH + 1 : -1]
        if data != b"%08x %s\n" % (zlib.crc32(text), text):
            raise _unusable(0, "its checksum is wrong: it is damaged, or cut short")
        try:
            held = json.loads(text)
            cluster, node, reserved = held["cluster"], held["node"], held["reserved"]
        except (ValueError, TypeError, LookupError):
            raise _unusable(_CRC_LENGTH + 1, "there is no count of tokens") from None
        if {"cluster": cluster, "node": node} != self._identity:
            whose = f"it belongs to node {node!r} of cluster {cluster!r}"
            mine = f"{self._identity['node']!r} of {self._identity['cluster']!r}"
            raise _unusable(_CRC_LENGTH + 1, f"{whose}, not to {mine}")
        if type(reserved) is not int or reserved < 1:
            raise _unusable(_CRC_LENGTH + 1, f"the count of tokens is {reserved!r:.40}")
        return reserved


def _unusable(offset: int, why: str) -> NodeFailure:
    return NodeFailure(f"the file {FILE_NAME} of this node cannot be used: at byte {offset} {why}")
