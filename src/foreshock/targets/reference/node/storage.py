"""Durable state: one append-only file of records, each with its length and CRC-32, sans I/O.

The file is lines of ASCII::

    <length> <crc32> <json>\n

``length`` is that of the JSON text in bytes, ``crc32`` eight hexadecimal digits of it. The first line's JSON is the
header ``{"format": 1, "cluster": ..., "node": ..., "program": ..., "placed_bytes": n}``; every other one is
``[number, kind, data]`` (see ``consensus.Record``), with numbers that count up from 1 in the file.

Reading it back tells two kinds of damage apart. A *torn tail* is what a crash leaves of the last write: nothing
valid follows it, nobody was ever told that it is there, and it is cut. A broken record with a valid one behind it
was durable once: it is *corruption*, and a node that went on without it would break its promises (Alagappan et
al., "Protocol-Aware Recovery for Consensus-Based Storage", 2018), so it is refused with its place.

A snapshot record makes the file anew, in one atomic replacement: the state, the snapshot, what there is after it. No
crash can tear that part, which is as many bytes as the header says: where it is broken, that is corruption too.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from typing import Any, Final

from foreshock.targets.reference.node.consensus import Record
from foreshock.targets.reference.node.files import Files

FORMAT: Final = 1
"""The version of the file's format."""

FILE_NAME: Final = "log"
"""The name of the file among the node's files."""

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class CorruptStorage(Exception):
    """The file of a node is damaged, or is not this node's; the text names the file and the byte offset."""

    def __init__(self, file: str, offset: int, reason: str) -> None:
        super().__init__(f"the file {file} of this node cannot be used: at byte {offset} {reason}")
        self.file = file
        self.offset = offset


class Storage:
    """The records of one node. :meth:`load` comes first; ``append`` is durable when the shell has synced the file.

    ``cluster``, ``node`` and ``program`` are written into the file's header, and must be the same when it is read.
    """

    def __init__(
        self, files: Files, *, cluster: str = "", node: str = "", program: str = "", name: str = FILE_NAME
    ) -> None:
        self.name = name
        self._files = files
        self._header = {"format": FORMAT, "cluster": cluster, "node": node, "program": program}
        self._number = 0
        self._mirror = _Mirror()
        self.torn = ""
        """What was cut when the file was read, as a sentence; empty where nothing was."""

    def load(self) -> list[Record]:
        """What is durable, compacted: the last state, the last snapshot, entries and acceptances after it, in order.

        Cuts a torn tail; makes the file when there is none. Raises :class:`CorruptStorage` on anything else that
        is not as it was written, and ``OSError`` when the disk refuses.
        """
        self._mirror = _Mirror()
        self._number = 0
        if self.name not in self._files.names():
            self._rewrite()
            return []
        data = self._files.read(self.name)
        offset, placed_end = self._read_header(data)
        while offset < len(data):
            record, end = _parse(data, offset)
            if record is None:
                if offset < placed_end:
                    raise CorruptStorage(self.name, offset, "a record is broken that no crash can have torn")
                if _has_valid_record(data, offset):
                    raise CorruptStorage(self.name, offset, "a record is broken, and valid ones follow it")
                self._files.truncate(self.name, offset)
                self.torn = (
                    f"cuts {len(data) - offset} bytes of an unfinished write off its log, at byte {offset}"
                )
                break
            self._replay(record, offset)
            offset = end
        if offset < placed_end:
            raise CorruptStorage(self.name, offset, f"it ends, {placed_end - offset} bytes too early")
        return self._mirror.records()

    def append(self, records: Iterable[Record]) -> None:
        """Write records in their order; a snapshot among them makes the file anew. Raises ``OSError``."""
        lines: list[bytes] = []
        renew = False
        for record in records:
            self._number += 1
            self._mirror.take(record.kind, record.data)
            if record.kind == "snapshot":
                renew = True
            elif not renew:
                lines.append(_line((self._number, record.kind, record.data)))
        if renew:
            self._rewrite()
        elif lines:
            self._files.append(self.name, b"".join(lines))

    def _rewrite(self) -> None:
        lines = []
        self._number = 0
        for record in self._mirror.records():
            self._number += 1
            lines.append(_line((self._number, record.kind, record.data)))
        placed = b"".join(lines)
        self._files.replace(self.name, _line({**self._header, "placed_bytes": len(placed)}) + placed)

    def _read_header(self, data: bytes) -> tuple[int, int]:
        """The end of the header, and the end of what was put in place with it."""
        header, end = _parse(data, 0)
        if not isinstance(header, dict) or "format" not in header:
            raise CorruptStorage(self.name, 0, "it does not begin with the header of a node's log")
        if header["format"] != FORMAT:
            raise CorruptStorage(
                self.name, 0, f"its header says format {header['format']!r}, and this program reads {FORMAT}"
            )
        for field in ("cluster", "node", "program"):
            if header.get(field) != self._header[field]:
                raise CorruptStorage(
                    self.name,
                    0,
                    f"its header says that it belongs to {field} {header.get(field)!r}, "
                    f"and this is {field} {self._header[field]!r}",
                )
        placed_bytes = header.get("placed_bytes")
        if not isinstance(placed_bytes, int) or placed_bytes < 0:
            raise CorruptStorage(self.name, 0, "its header does not say how long the file was at first")
        return end, end + placed_bytes

    def _replay(self, record: Any, offset: int) -> None:
        self._number += 1
        try:
            number, kind, data = record
            if number != self._number:
                raise ValueError(f"record {number} stands where record {self._number} should")
            self._mirror.take(kind, data)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise CorruptStorage(self.name, offset, f"there is no record of a node: {error}") from error


class _Mirror:
    """What the records add up to: the last state, the last snapshot, and the entries and acceptances after it."""

    def __init__(self) -> None:
        self.state: Any = None
        self.snapshot: Any = None
        self.entries: list[Any] = []
        self.accepted: dict[int, Any] = {}

    def take(self, kind: str, data: Any) -> None:
        """Add one record; raises ``ValueError`` and its like when it does not go on from the ones before."""
        if kind == "state":
            self.state = data
        elif kind == "entries":
            self._cut(data[0][0] - 1)
            self.entries.extend(data)
        elif kind == "truncate":
            self._cut(data)
        elif kind == "accepted":
            self._take_accepted(data)
        elif kind == "snapshot":
            self._take_snapshot(data)
        else:
            raise ValueError(f"{kind!r} is no kind of record")

    @property
    def _base(self) -> int:
        base: int = self.snapshot[0] if self.snapshot is not None else 0
        return base

    def _cut(self, position: int) -> None:
        """Forget every entry after a position, which must be one that the log can end with."""
        kept = position - self._base
        if not 0 <= kept <= len(self.entries):
            raise ValueError(
                f"the log cannot go on from position {position}: it begins after {self._base} "
                f"and holds {len(self.entries)} entries"
            )
        del self.entries[kept:]

    def _take_accepted(self, data: Any) -> None:
        base, accepted = self._base, self.accepted
        for acceptance in data:
            slot = acceptance[0]
            if slot <= base:
                raise ValueError(f"slot {slot} is accepted, but the snapshot at {base} covers it")
            accepted[slot] = acceptance

    def _take_snapshot(self, data: Any) -> None:
        """Replace what it covers; later entries stay only if the log held the entry that it ends with.

        That is the rule of the replica in memory too (``log.py``, ``install``). Later acceptances always stay:
        the slots of Paxos are independent of each other.
        """
        base, base_term = (self.snapshot[0], self.snapshot[1]) if self.snapshot is not None else (0, 0)
        position, term = data[0], data[1]
        covered = position - base
        if 0 < covered <= len(self.entries):
            same = self.entries[covered - 1][1] == term
        else:
            same = covered == 0 and base_term == term
        self.entries = self.entries[covered:] if same else []
        self.accepted = {slot: kept for slot, kept in self.accepted.items() if slot > position}
        self.snapshot = data

    def records(self) -> list[Record]:
        """The same as records, the fewest there can be, numbered from 1."""
        parts = [
            ("state", self.state),
            ("snapshot", self.snapshot),
            ("entries", self.entries or None),
            ("accepted", [self.accepted[slot] for slot in sorted(self.accepted)] or None),
        ]
        present = [(kind, data) for kind, data in parts if data is not None]
        return [Record(sequence, kind, data) for sequence, (kind, data) in enumerate(present, start=1)]


def _line(value: Any) -> bytes:
    text = _encode(value).encode("ascii")
    return b"%d %08x %s\n" % (len(text), zlib.crc32(text), text)


_LENGTH_DIGITS_MAX = 10


def _parse(data: bytes, offset: int) -> tuple[Any, int]:
    """The value of the line at an offset and where the next one begins; ``(None, offset)`` when it is broken."""
    space = data.find(b" ", offset, offset + _LENGTH_DIGITS_MAX + 1)
    digits = data[offset:space] if space > offset else b""
    if not digits.isdigit():
        return None, offset
    start = space + 10
    end = start + int(digits)
    text = data[start:end]
    if data[end : end + 1] != b"\n" or data[space + 1 : start] != b"%08x " % zlib.crc32(text):
        return None, offset
    try:
        return json.loads(text), end + 1
    except ValueError:
        return None, offset


def _has_valid_record(data: bytes, offset: int) -> bool:
    """Whether a valid record stands anywhere behind the broken one at an offset.

    It may begin behind any line's end; and where the broken record would have ended, if only that line's end is
    what is broken.
    """
    space = data.find(b" ", offset, offset + _LENGTH_DIGITS_MAX + 1)
    digits = data[offset:space] if space > offset else b""
    if digits.isdigit() and _parse(data, space + 10 + int(digits) + 1)[0] is not None:
        return True
    while (line_end := data.find(b"\n", offset)) >= 0:
        offset = line_end + 1
        if _parse(data, offset)[0] is not None:
            return True
    return False
