"""Operations that were recorded one by one, with when they began and ended: their events put into one order.

Where there are only times, they say which operation precedes which, and equal times do not: at one time all
invocations come before all completions, so that operations that touch count as concurrent. (That holds for one
process too: its next operation may begin at the tick at which the last one ended.)
"""

from __future__ import annotations

from array import array

import numpy as np

from foreshock.harness.errors import UsageError
from foreshock.harness.formats.assembly import INDEX_MAX, Malformed
from foreshock.harness.history import History
from foreshock.harness.history_columns import Array, ColumnBuilder, Columns
from foreshock.harness.operation import OperationType

_INVOKED, _COMPLETED = 0, 1


class MalformedAt(Malformed):
    """An operation that cannot be in a history, in a line read earlier."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


class TimedOperations:
    """Collects operations in ``builder``, and the ``lines`` that they come from, one a row.

    ``by_index``: the indexes of their events are given, and rule. Otherwise times make them.
    """

    def __init__(self, *, by_index: bool) -> None:
        self.builder = ColumnBuilder()
        self.lines = array("q")
        self._by_index = by_index

    def check(self, kind: str, begin: list[int], end: list[int]) -> None:
        """Check an operation's index and time (ns) of either end; -1 is none. Raises :class:`Malformed`."""
        which = 0 if self._by_index else 1
        unit = "index" if self._by_index else "ns"
        if begin[which] < 0 or max(begin[which], end[which]) > INDEX_MAX:
            raise Malformed(f"invoke_{unit} is missing, negative or too great")
        if end[which] == -1:
            if kind != OperationType.INFO:
                raise Malformed(f"the operation is {kind}, but has no complete_{unit}")
        elif end[which] < begin[which] or (self._by_index and end[which] == begin[which]):
            raise Malformed(f"the operation completes at {end[which]}, but was invoked at {begin[which]}")

    def history(self) -> History:
        """The history; raises :class:`Malformed` for a process that does two things at once."""
        columns = self.builder.columns()
        if not len(columns):
            return History(columns)
        lines = np.frombuffer(self.lines, dtype=np.int64)
        arrays = dict(columns.arrays)
        if self._by_index:
            self._refuse_twice(arrays, lines)
        else:
            arrays["invoke_index"], arrays["complete_index"] = _positions(arrays)
        order = np.argsort(arrays["invoke_index"], kind="stable")
        ordered = Columns(arrays, columns.names, columns.values).take(order)
        _refuse_overlaps(ordered.arrays, lines[order])
        return History(ordered)

    @staticmethod
    def _refuse_twice(arrays: dict[str, Array], lines: Array) -> None:
        completed = arrays["complete_index"] >= 0
        indexes = np.concatenate([arrays["invoke_index"], arrays["complete_index"][completed]])
        order = np.argsort(indexes, kind="stable")
        twice = np.flatnonzero(np.diff(indexes[order]) == 0)
        if len(twice):
            both = order[twice[0] : twice[0] + 2]
            line = np.concatenate([lines, lines[completed]])[both].max()
            raise MalformedAt(int(line), f"the index {indexes[both[0]]} is there twice")


def _positions(arrays: dict[str, Array]) -> tuple[Array, Array]:
    """The positions of invocations and completions when all events are ordered by their times.

    An operation without an end, whose process goes on, is closed just before the process does: it is ``info``, so
    that may be anywhere.
    """
    begin, end = arrays["invoke_ns"].astype(np.int64), arrays["complete_ns"].astype(np.int64)
    count = len(begin)
    # What a process begins at one and the same time: first what takes no time, then what never ends, then the rest.
    takes = np.where(end == begin, 0, np.where(end < 0, 1, 2))
    by_process = np.lexsort((takes, begin, arrays["process"]))
    turn = np.empty(count, dtype=np.int64)
    turn[by_process] = np.arange(count)
    goes_on = np.flatnonzero(np.diff(arrays["process"][by_process]) == 0)
    closed = np.zeros(count, dtype=np.bool_)
    closed[by_process[goes_on]] = end[by_process[goes_on]] < 0
    next_of = np.zeros(count, dtype=np.int64)
    next_of[by_process[goes_on]] = by_process[goes_on + 1]
    completed = np.flatnonzero((end >= 0) | closed)
    shut = closed[completed]
    # An operation is closed right before the invocation that follows it: in that one's turn, but ahead of it.
    after = next_of[completed]
    times = np.concatenate([begin, np.where(shut, begin[after], end[completed])])
    kinds = np.concatenate([np.full(count, _INVOKED), np.where(shut, _INVOKED, _COMPLETED)])
    turns = np.concatenate([turn * 2 + 1, np.where(shut, turn[after] * 2, turn[completed] * 2)])
    order = np.lexsort((turns, kinds, times))
    position = np.empty(len(times), dtype=np.int64)
    position[order] = np.arange(len(times))
    complete = np.full(count, -1, dtype=np.int64)
    complete[completed] = position[count:]
    return position[:count], complete


def _refuse_overlaps(arrays: dict[str, Array], lines: Array) -> None:
    """Refuse a process that begins an operation before its last one has ended. (Ending at that very time is fine.)"""
    earlier, later = _overlapping(arrays["process"], arrays["invoke_index"], arrays["complete_index"])
    ended_ns = arrays["complete_ns"][earlier]
    found = np.flatnonzero((ended_ns != arrays["invoke_ns"][later]) | (ended_ns < 0))
    if len(found):
        first, second = earlier[found[0]], later[found[0]]
        raise MalformedAt(
            int(lines[second]),
            f"process {arrays['process'][second]} begins an operation while its last one (line {lines[first]}) "
            "is under way",
        )


def refuse_two_at_once(history: History) -> None:
    """Refuse a history that lines of events cannot hold, for one process has two operations under way.

    Operations that were recorded by coarse clocks may touch so. Raises :class:`UsageError`.
    """
    indexes = history.column("invoke_index")
    earlier, later = _overlapping(history.column("process"), indexes, history.column("complete_index"))
    if len(later):
        raise UsageError(
            f"operations {indexes[earlier[0]]} and {indexes[later[0]]} of process "
            f"{history.column('process')[later[0]]} overlap, which only csv and parquet can hold"
        )


def _overlapping(process: Array, invoked: Array, completed: Array) -> tuple[Array, Array]:
    """Rows, in the order of their invocations, that are followed by one of the same process too early; and those."""
    order = np.argsort(process, kind="stable")
    earlier, later = order[:-1], order[1:]
    too_early = (completed[earlier] < 0) | (completed[earlier] > invoked[later])
    found = (process[earlier] == process[later]) & too_early
    return earlier[found], later[found]
