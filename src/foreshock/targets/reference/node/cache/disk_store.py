"""Copies on disk: they survive a restart of the node, and a broken one is a copy that is not there.

Copies are appended to *segments*, files of a bounded length; when there are too many of them the oldest goes, with all
that is in it. Every record has a checksum, which is looked at whenever the record is read. What is not durable yet is
kept in memory as well; nothing waits for it to become so.

How long a copy may be used is not on disk. The node's clock means nothing to its next life, and invalidations that
came while it was down have passed it by. So a copy that was found at the start is *suspect* until the origin has
confirmed its version, as AFS had it (Howard et al., "Scale and Performance in a Distributed File System", 1988).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections import OrderedDict
from typing import Any, Final, NamedTuple

from foreshock.targets.reference.node.cache.messages import Key
from foreshock.targets.reference.node.cache.store import SUSPECT, Copy
from foreshock.targets.reference.node.files import Files

SEGMENT_BYTES_MAX: Final = 64 << 10
SEGMENTS_MIN: Final = 4
_PREFIX: Final = "copies-"
_HEADER: Final = struct.Struct(">II")
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Place(NamedTuple):
    """Where a copy is on disk, and what is known of it without looking."""

    segment: int
    offset: int
    length: int
    version: int
    as_of: int
    until_ns: int


class DiskStore:
    """A bounded store of copies in segments. Raises ``OSError`` when the disk refuses."""

    def __init__(self, files: Files, *, entries_max: int, bytes_max: int) -> None:
        self.broken = 0
        """How many records were found broken."""
        self._files = files
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._segment_bytes = max(min(SEGMENT_BYTES_MAX, bytes_max // SEGMENTS_MIN), 1)
        self._places: OrderedDict[Key, Place] = OrderedDict()
        self._sizes: OrderedDict[int, int] = OrderedDict()
        self._buffers: dict[int, bytearray] = {}
        """The segments of which something may not be durable yet, and the one that is written."""
        self._dirty = False
        self._active = 1
        self._load()
        self._make_room()

    def get(self, key: Key) -> Copy | None:
        """The copy, if its record is whole."""
        place = self._places.get(key)
        if place is None:
            return None
        buffer = self._buffers.get(place.segment)
        record = _record(buffer if buffer is not None else self._read(place.segment), place.offset)
        if record is None or record[0] != key or record[1] != place.version:
            self.broken += 1
            del self._places[key]
            return None
        self._places.move_to_end(key)
        return Copy(place.version, place.as_of, record[3], place.until_ns)

    def put(self, key: Key, copy: Copy) -> None:
        """Keep a copy; one that is longer than a segment is not kept."""
        present = self._places.get(key)
        if present is not None and present.version == copy.version:  # the same value, confirmed
            self._places[key] = present._replace(as_of=copy.as_of, until_ns=copy.until_ns)
            return
        self.remove(key)
        data = _line(key, copy)
        if len(data) > self._segment_bytes:
            return
        if self._sizes.get(self._active, 0) + len(data) > self._segment_bytes:
            self._active += 1
        segment = self._active
        offset = self._sizes.setdefault(segment, 0)
        self._files.append(_name(segment), data)
        self._buffers.setdefault(segment, bytearray()).extend(data)
        self._sizes[segment] = offset + len(data)
        self._places[key] = Place(segment, offset, len(data), copy.version, copy.as_of, copy.until_ns)
        self._dirty = True
        self._make_room()

    def remove(self, key: Key) -> None:
        """Forget the copy. Its record stays, to be found suspect at the next start."""
        self._places.pop(key, None)

    def wants_sync(self) -> bool:
        """Whether something was written since this was last asked."""
        dirty, self._dirty = self._dirty, False
        return dirty

    def synced(self) -> None:
        """Everything is durable, and need not be kept in memory any longer."""
        for segment in [segment for segment in self._buffers if segment != self._active]:
            del self._buffers[segment]

    def __len__(self) -> int:
        return len(self._places)

    def trusted_until_ns(self) -> int:
        """Until when a copy that was found at the start may be used: not at all, before it is confirmed."""
        return SUSPECT

    def _make_room(self) -> None:
        while len(self._places) > self._entries_max:
            self._places.popitem(last=False)
        while sum(self._sizes.values()) > self._bytes_max and len(self._sizes) > 1:
            oldest, _ = self._sizes.popitem(last=False)
            self._buffers.pop(oldest, None)
            for key in [key for key, place in self._places.items() if place.segment == oldest]:
                del self._places[key]
            self._files.remove(_name(oldest))

    def _load(self) -> None:
        """Find the copies that the last life left; what follows a broken record of a segment is lost with it."""
        numbers = sorted(number for name in self._files.names() if (number := _number(name)) is not None)
        for segment in numbers:
            data = self._read(segment)
            offset = 0
            while offset < len(data):
                record = _record(data, offset)
                if record is None:
                    self.broken += 1
                    break
                key, version, as_of, _ = record
                length = _HEADER.size + _HEADER.unpack_from(data, offset)[0]
                self._places.pop(key, None)
                self._places[key] = Place(segment, offset, length, version, as_of, self.trusted_until_ns())
                offset += length
            self._sizes[segment] = len(data)
            self._active = segment + 1

    def _read(self, segment: int) -> bytes:
        try:
            return self._files.read(_name(segment))
        except FileNotFoundError:
            return b""


def _name(segment: int) -> str:
    return f"{_PREFIX}{segment:08d}"


def _number(name: str) -> int | None:
    digits = name.removeprefix(_PREFIX)
    return int(digits) if name.startswith(_PREFIX) and digits.isascii() and digits.isdigit() else None


def _line(key: Key, copy: Copy) -> bytes:
    text = _encode([key, copy.version, copy.as_of, copy.value]).encode("ascii")
    return _HEADER.pack(len(text), zlib.crc32(text)) + text


def _record(data: bytes | bytearray, offset: int) -> Any:
    """The key, version, ``as_of`` and value of the record at an offset; ``None`` when it is broken."""
    if offset + _HEADER.size > len(data):
        return None
    length, checksum = _HEADER.unpack_from(data, offset)
    start = offset + _HEADER.size
    text = bytes(data[start : start + length])
    if len(text) != length or zlib.crc32(text) != checksum:
        return None
    try:
        record = json.loads(text)
    except ValueError:
        return None
    well_formed = isinstance(record, list) and len(record) == 4 and type(record[0]) in (int, str)
    return record if well_formed else None
