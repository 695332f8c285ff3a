"""Fencing tokens that go on growing through restarts, with one write to the disk for many of them.

The file says up to which token any may have been given out. It is replaced, durably, before the first token above that
is used. A node that starts goes on above it, so tokens that were reserved and not used are skipped.

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
        self._reserved = 0 if self.is_first_life else self._read(files.read(FILE_NAME))
        self._last = self._reserved

    def take(self) -> int:
        """The next token, greater than all before, in this life of the node and in earlier ones."""
        if self._last >= self._reserved:
            reserved = self._last + self._at_once
            text = json.dumps({**self._identity, "reserved": reserved}).encode()
            self._files.replace(FILE_NAME, b"%08x %s\n" % (zlib.crc32(text), text))
            self._reserved = reserved
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
            raise _unusable(_CRC_LENGTH + 1, f"{whose}, not to {self._identity['node']!r}")
        if type(reserved) is not int or reserved < 1:
            raise _unusable(_CRC_LENGTH + 1, f"the count of tokens is {reserved!r:.40}")
        return reserved


def _unusable(offset: int, why: str) -> NodeFailure:
    return NodeFailure(f"the file {FILE_NAME} of this node cannot be used: at byte {offset} {why}")
