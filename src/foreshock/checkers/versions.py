"""What is certain about the order of the updates of one register, whose written values are distinct.

An update takes effect at some moment between its call and its return. One that was read by somebody has taken effect
before that read returned, even if it never returned itself. So each update has a *span*, and an update whose span ends
before another's begins certainly comes before it. A ``delete`` writes ``None``, which others write, too, and which
every key holds at first: what a read of ``None`` saw may be any of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from foreshock.checkers.entries import NEVER, freeze
from foreshock.checkers.models.register import DELETES, READS, WRITES
from foreshock.harness.history import Row
from foreshock.harness.operation import OperationType

VERSIONS_COUNTED_MAX: Final = 1_000


class Span(NamedTuple):
    """When an update may have taken effect: by event index, and by the clock (ns)."""

    begins: int
    ends: int
    ends_ns: int


BEFORE_ALL: Final = Span(-1, -1, -1)
"""The span of the initial absence."""


class KeyVersions:
    """The updates of one key, from all of its operations."""

    def __init__(self, rows: Iterable[Row]) -> None:
        rows = list(rows)
        first_read: dict[Any, tuple[int, int]] = {}
        for row in rows:
            if row.f in READS and row.type is OperationType.OK and row.result is not None:
                seen = (row.complete_index, row.complete_ns)
                value = freeze(row.result)
                first_read[value] = min(first_read.get(value, seen), seen)
        self._of_value: dict[Any, Span] = {}
        self._deletes: list[Span] = []
        for row in rows:
            if row.type is OperationType.FAIL or row.f in READS:
                continue
            ends = (row.complete_index, row.complete_ns) if row.type is OperationType.OK else (NEVER, NEVER)
            if row.f in WRITES:
                value = freeze(row.value)
                self._of_value[value] = Span(row.invoke_index, *min(ends, first_read.get(value, ends)))
            elif row.f in DELETES:
                self._deletes.append(Span(row.invoke_index, *ends))
        certain = [span for span in (*self._of_value.values(), *self._deletes) if span.ends < NEVER]
        self._later = sorted(certain)
        self._begins = [span.begins for span in self._later]
        self._least_end_ns = _suffix_minima([span.ends_ns for span in self._later])

    def seen_by(self, read: Row) -> list[Span]:
        """The updates that a read may have seen: one, or none for a value that nobody wrote, or many for absence."""
        if read.result is not None:
            span = self._of_value.get(freeze(read.result))
            return [] if span is None else [span]
        return [BEFORE_ALL, *(span for span in self._deletes if span.begins < read.complete_index)]

    def own(self, update: Row) -> Span:
        """The span of an update that returned."""
        return Span(update.invoke_index, update.complete_index, update.complete_ns)

    def overwritten_ns(self, span: Span) -> int | None:
        """By when the update was certainly overwritten; ``None`` when it may never have been."""
        later = bisect_right(self._begins, span.ends)
        return self._least_end_ns[later] if later < len(self._later) else None

    def overwritten_times(self, span: Span, before: int) -> int:
        """How many updates certainly came after this one and before that event; ``VERSIONS_COUNTED_MAX`` at most."""
        later = bisect_right(self._begins, span.ends)
        count = 0
        for other in self._later[later : later + VERSIONS_COUNTED_MAX]:
            if other.begins > before:
                break
            count += other.ends < before
        return count


def _suffix_minima(values: Sequence[int]) -> list[int]:
    minima = list(values)
    for place in range(len(minima) - 2, -1, -1):
        minima[place] = min(minima[place], minima[place + 1])
    return minima
