"""A history that grows, read as it grows: each line once, a bounded amount at a time, and a summary kept of it.

It is for looking on, so it forgives: a line that cannot be read is counted and passed over. Who decides is the
checker, which reads the whole file strictly when the test has ended.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from foreshock.harness.blame import without_numbers
from foreshock.harness.server.bounds import TEXT_MAX, clipped
from foreshock.harness.server.live_timeline import OUTCOMES, Timeline

STEP_BYTES: Final = 1 << 20
"""How much is read at a time, so that nobody else waits for it long."""
LINE_BYTES_MAX: Final = 4 << 20
UNDER_WAY_MAX: Final = 20_000
LAST_KEPT: Final = 12
PROBLEMS_KEPT: Final = 40
TIME_MAX_NS: Final = 1 << 62
NOTHING: Final = msgspec.Raw(b"null")


class _Line(msgspec.Struct, gc=False):
    index: int
    type: str
    process: int
    f: str
    time_ns: int = 0
    key: msgspec.Raw = NOTHING
    value: msgspec.Raw = NOTHING
    result: msgspec.Raw = NOTHING
    error: str | None = None
    node: str | None = None


_decode = msgspec.json.Decoder(_Line).decode


class LiveHistory:
    """What is known of a growing ``history.jsonl`` so far; :meth:`advance` reads on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin()

    def _begin(self) -> None:
        self._offset = 0
        self._inode = 0
        self._rest = b""
        self._skipping = False
        self._under_way: dict[int, _Line] = {}
        self.counts = dict.fromkeys(OUTCOMES, 0)
        self.unreadable = 0
        self.last_ns = 0
        self.waiting_bytes = 0
        self.timeline = Timeline()
        self._completions: deque[tuple[_Line, _Line | None, int | None]] = deque(maxlen=LAST_KEPT)
        self.problems: dict[tuple[str, str], dict[str, Any]] = {}

    @property
    def under_way(self) -> int:
        """How many operations of clients have been invoked and have not ended."""
        return len(self._under_way)

    def advance(self) -> bool:
        """Read on, a step at most; true when there is more. A file that was replaced or cut is begun anew."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False  # not there yet
        try:
            found = os.fstat(fd)
            if found.st_ino != self._inode or found.st_size < self._offset:
                self._begin()
                self._inode = found.st_ino
            data = os.pread(fd, STEP_BYTES, self._offset)
        except OSError:
            return False
        finally:
            os.close(fd)
        self._offset += len(data)
        self.waiting_bytes = max(found.st_size - self._offset, 0)
        self._take(data)
        return self.waiting_bytes > 0

    def _take(self, data: bytes) -> None:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if self._skipping and not lines:
            self._rest = b""  # still the same line
        elif self._skipping:
            lines, self._skipping = lines[1:], False
        if len(self._rest) > LINE_BYTES_MAX:  # no event is so long: pass over it to where it ends
            self._rest, self._skipping = b"", True
            self.unreadable += 1
        for text in lines:
            try:
                line = _decode(text)
            except (msgspec.MsgspecError, RecursionError):
                self.unreadable += bool(text.strip())
            else:
                self._add(line)

    def _add(self, line: _Line) -> None:
        if line.process < 0 or not 0 <= line.time_ns <= TIME_MAX_NS:
            return  # the nemesis' own operations are told by the ledger
        self.last_ns = max(self.last_ns, line.time_ns)
        if line.type == "invoke":
            if len(self._under_way) < UNDER_WAY_MAX:
                self._under_way[line.process] = line
            return
        if line.type not in self.counts:
            self.unreadable += 1
            return
        invoked = self._under_way.pop(line.process, None)
        latency_ns = line.time_ns - invoked.time_ns if invoked is not None else None
        self.counts[line.type] += 1
        self.timeline.add(line.time_ns, line.type, latency_ns)
        self._completions.append((line, invoked, latency_ns))
        if line.type != "ok":
            self._note(line)

    def _note(self, line: _Line) -> None:
        """Count an operation that was not ok with those that ended for the same reason, whatever its numbers."""
        text = without_numbers(clipped(line.error or "no reason was given"))
        known = self.problems.pop((line.type, text), None)
        count = known["count"] + 1 if known else 1
        if known is None and len(self.problems) >= PROBLEMS_KEPT:
            del self.problems[
                next(iter(self.problems))
            ]  # the one that has not been seen for the longest time
        self.problems[line.type, text] = {
            "type": line.type,
            "error": text,
            "count": count,
            "last_s": round(line.time_ns / 1e9, 3),
        }

    def latest_completions(self) -> list[dict[str, Any]]:
        """The operations that ended last, the last one first."""
        return [_completion(*known) for known in reversed(self._completions)]

    def latest_problems(self) -> list[dict[str, Any]]:
        """Why operations failed or are unknown, those seen last first."""
        return list(self.problems.values())[::-1][:LAST_KEPT]


def _completion(line: _Line, invoked: _Line | None, latency_ns: int | None) -> dict[str, Any]:
    told: Mapping[str, msgspec.Raw] = {
        "key": invoked.key if invoked is not None else NOTHING,
        "value": invoked.value if invoked is not None else NOTHING,
        "result": line.result,
    }
    return {
        "at_s": round(line.time_ns / 1e9, 3),
        "process": line.process,
        "node": clipped((invoked.node if invoked is not None else None) or ""),
        "f": clipped(line.f),
        "type": line.type,
        **{name: clipped(bytes(raw)[: 4 * TEXT_MAX].decode(errors="replace")) for name, raw in told.items()},
        "error": clipped(line.error or ""),
        "ms": None if latency_ns is None else round(latency_ns / 1e6, 3),
    }
