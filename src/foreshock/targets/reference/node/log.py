"""The log in memory: the entries after a base, which is the last position that a snapshot has taken over."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from foreshock.targets.reference.node.consensus import Entry

_term_of = attrgetter("term")

NO_TERM = -1
"""The term of a position that the log does not know: before its base or after its end."""


def weight_bytes(value: Any) -> int:
    """About how long the JSON text of a value is, without making it; never recurses, however deep the value."""
    total = 0
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            total += len(item) + 3
        elif isinstance(item, dict):
            total += 2
            for key, inner in item.items():
                total += len(key) + 4 if isinstance(key, str) else 8
                stack.append(inner)
        elif isinstance(item, list | tuple):
            total += 2
            stack.extend(item)
        else:
            total += 8
    return total


class Log:
    """Entries ``base + 1 .. last``, each found in constant time; positions count from 1."""

    __slots__ = ("_before_bytes", "_entries", "_through_bytes", "base", "base_term", "last")

    def __init__(self, base: int = 0, base_term: int = 0) -> None:
        self.base = base
        self.base_term = base_term
        self.last = base
        self._entries: list[Entry] = []
        # Weights are summed when a leader first cuts a batch there, so that followers never pay for them.
        self._through_bytes: list[int] = []
        self._before_bytes = 0

    @property
    def last_term(self) -> int:
        """The term of the last entry, or of the base when there is no entry."""
        return self._entries[-1].term if self._entries else self.base_term

    def term(self, position: int) -> int:
        """The term of the entry there, or ``NO_TERM``."""
        offset = position - self.base - 1
        if 0 <= offset < len(self._entries):
            return self._entries[offset].term
        return self.base_term if offset == -1 else NO_TERM

    def entry(self, position: int) -> Entry:
        """The entry there; raises ``IndexError`` when there is none."""
        offset = position - self.base - 1
        if offset < 0:
            raise IndexError(f"position {position} is not after the base {self.base} of the log")
        return self._entries[offset]

    def append(self, entries: Iterable[Entry]) -> None:
        """Add entries whose positions go on from ``last``."""
        self._entries.extend(entries)
        self.last = self.base + len(self._entries)

    def truncate(self, position: int) -> None:
        """Forget the entries at and after a position that is after the base."""
        offset = position - self.base - 1
        del self._entries[offset:]
        del self._through_bytes[offset:]
        self.last = self.base + len(self._entries)

    def batch(self, first: int, entries_max: int, bytes_max: int) -> tuple[Entry, ...]:
        """Entries from ``first`` on, within both limits, but at least one if there is any."""
        start = first - self.base - 1
        stop = min(start + entries_max, len(self._entries))
        if stop - start > 1:
            sums = self._through_bytes
            self._weigh(stop)
            before = sums[start - 1] if start else self._before_bytes
            stop = max(start + 1, bisect_right(sums, before + bytes_max, start, stop))
        return tuple(self._entries[start:stop])

    def _weigh(self, stop: int) -> None:
        sums = self._through_bytes
        total = sums[-1] if sums else self._before_bytes
        for entry in self._entries[len(sums) : stop]:
            total += 24 + weight_bytes(entry.data)
            sums.append(total)

    def first_of_term_at(self, position: int) -> int:
        """The first position of the run of entries that have the term of the entry at ``position``."""
        offset = position - self.base - 1
        term = self._entries[offset].term
        return self.base + 1 + bisect_left(self._entries, term, 0, offset, key=_term_of)

    def last_of_term(self, term: int) -> int:
        """The last position whose entry has exactly this term, or 0 when none has."""
        offset = bisect_right(self._entries, term, key=_term_of) - 1
        if offset < 0:
            return self.base if self.base_term == term else 0
        return self.base + 1 + offset if self._entries[offset].term == term else 0

    def compact(self, through: int) -> None:
        """Make ``through``, which the log holds, the new base."""
        cut = through - self.base
        if cut <= 0:
            return
        self.base_term = self.term(through)
        self.base = through
        del self._entries[:cut]
        if len(self._through_bytes) >= cut:
            self._before_bytes = self._through_bytes[cut - 1]
            del self._through_bytes[:cut]
        else:
            self._through_bytes.clear()
            self._before_bytes = 0

    def install(self, position: int, term: int) -> bool:
        """Make a snapshot's last position the base; whether the entries after it could stay.

        They stay only if the log holds the entry that the snapshot ends with, else they are of another history
        (section 7 of Raft's extended paper). Storage keeps the same rule, so that what is read back is what was in
        memory.
        """
        if self.term(position) == term:
            self.compact(position)
            return True
        self._entries.clear()
        self._through_bytes.clear()
        self._before_bytes = 0
        self.base = self.last = position
        self.base_term = term
        return False
