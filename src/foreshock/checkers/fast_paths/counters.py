"""Counters that only grow (or only shrink), by the same amount each time: decided by a lazy schedule, O(n log n) a
key.

A read of a number says how many updates had happened. The schedule lets updates happen only when they must, and
reads as soon as they can:

* an update takes effect at its return, unless it has already; a read as soon as the count is its own;
* at the return of a read that has not taken effect, and whose count has not been reached, updates take effect until
  it is: of those that were called, the ones with the earliest returns.

Why that is exact: at every moment the schedule has let as few updates happen as any legal one has. For those that
have returned have happened in all of them; a read that returned needs as many as it saw; and the ones chosen for it
are those that have to happen first anyway. So when a read with the count v is called, the count is at most v if
there is any legal order at all. It grows one by one, so it passes v while the read is open, or is raised to v at
its return, or there are not v updates yet that were called: then no order is legal. Crashed updates never return,
so they are chosen last.

Updates that add nothing never happen. A key with updates of different amounts is left to the search: which of them
add up to a number is the subset sum problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final

import numpy as np

from foreshock.checkers.columns import ABSENT, Bools, Ints, OperationColumns
from foreshock.checkers.decision import Decision
from foreshock.checkers.fast_paths.balance import events_of
from foreshock.checkers.fast_paths.base import FastPath, Finding, in_time
from foreshock.checkers.fast_paths.holds import suspects_before
from foreshock.checkers.fast_paths.lines import COMPILED_FROM, Line, line_of, wanted_rows
from foreshock.checkers.models.counter import ADD, DECREMENT, INCREMENT, READ
from foreshock.checkers.search import Limits

METHOD: Final = "counts"
_LARGEST: Final = 1 << 60


def first_wrong_count(
    owners: Sequence[int],
    is_return: Sequence[bool],
    is_read: Sequence[bool],
    counts: Sequence[int],
    deadline: Sequence[int],
) -> int:
    """The first read that cannot have seen what it saw; -1 if there is none.

    ``owners`` and ``is_return`` say of each event, in their order, whose it is and of which kind; of events that share
    a position the calls come first. By operation: whether it ``is_read``, the number of updates that it saw (anything
    for an update), and the rank of its return (crashed operations last). Compiled as it is for large keys, with arrays.
    """
    waiting = [deadline[0]]
    waiting.pop()
    by_deadline = [0] * len(deadline)
    for operation in range(len(deadline)):
        by_deadline[deadline[operation]] = operation
    done = [False] * len(deadline)
    # When a read is called, it is at the count then or waits for it; ``reached`` is the greatest count so far.
    reached = 0
    for event in range(len(owners)):
        operation = owners[event]
        if not is_return[event]:
            if not is_read[operation]:
                heappush(waiting, deadline[operation])
            elif counts[operation] < reached:
                return int(operation)
        elif is_read[operation]:
            while reached < counts[operation]:
                if len(waiting) == 0:
                    return int(operation)
                done[by_deadline[heappop(waiting)]] = True
                reached += 1
        elif not done[operation]:
            # It is the one with the earliest return: all with an earlier one are done.
            heappop(waiting)
            reached += 1
    return -1


def _decide(columns: OperationColumns, keys: Sequence[int], limits: Limits) -> dict[int, Finding]:
    asked, rows = wanted_rows(columns, keys)
    is_read = columns.f_in((READ,))
    strange = ~columns.f_in((READ, ADD, INCREMENT, DECREMENT)) | columns.failed
    asked[columns.key[rows[strange[rows]]]] = False
    rows = rows[asked[columns.key[rows]]]
    numbers, known = _numbers(columns, rows, is_read)
    asked[columns.key[rows[~known[rows]]]] = False
    line = line_of(columns)
    findings = {}
    for key in in_time(columns, [key for key in keys if asked[key]], limits):
        mine = columns.rows_by_key[key]
        used = mine[~(is_read[mine] & columns.crashed[mine]) & (is_read[mine] | (numbers[mine] != 0))]
        finding = _decide_key(columns, line, key, used, is_read[used], numbers[used])
        if finding is not None:
            findings[key] = finding
    return findings


def _decide_key(
    columns: OperationColumns, line: Line, key: int, rows: Ints, is_read: Bools, numbers: Ints
) -> Finding | None:
    amounts = np.unique(numbers[~is_read])
    if len(amounts) > 1:
        return None
    if not len(rows):
        return Finding(Decision.VALID)
    amount = int(amounts[0]) if len(amounts) else 1
    counts = numbers // amount
    wrong = np.flatnonzero(is_read & ((counts * amount != numbers) | (counts < 0)))
    if len(wrong):
        return Finding(Decision.INVALID, suspects_before(columns, key, int(rows[wrong[0]])))
    owners, is_return, deadline = events_of(line.call[rows], line.ret[rows], columns.crashed[rows])
    if len(rows) > COMPILED_FROM:
        from foreshock.checkers.kernels import monitors

        found = int(monitors.first_wrong_count(owners, is_return, is_read, counts, deadline))
    else:
        found = first_wrong_count(
            owners.tolist(), is_return.tolist(), is_read.tolist(), counts.tolist(), deadline.tolist()
        )
    if found < 0:
        return Finding(Decision.VALID)
    return Finding(Decision.INVALID, suspects_before(columns, key, int(rows[found])))


def _numbers(columns: OperationColumns, rows: Ints, is_read: Bools) -> tuple[Ints, Bools]:
    """By row what a read saw or what an update adds, and whether that is a whole number that is not huge."""
    numbers = np.zeros(len(columns), dtype=np.int64)
    known = np.zeros(len(columns), dtype=np.bool_)
    reads, updates = rows[is_read[rows] & ~columns.crashed[rows]], rows[~is_read[rows]]
    # Tokens rather than payloads: 2.0 is a whole number too.
    numbers[reads], numbers[updates] = columns.tokens("result", reads), columns.tokens("value", updates)
    alone = updates[(numbers[updates] == ABSENT) & ~columns.f_in((ADD,))[updates]]
    numbers[alone] = 1
    known[reads], known[updates] = True, True
    known &= np.abs(numbers) < _LARGEST
    known[rows[is_read[rows] & columns.crashed[rows]]] = True
    falling = rows[columns.f_in((DECREMENT,))[rows] & known[rows]]
    numbers[falling] = -numbers[falling]
    return numbers, known


COUNTS: Final = FastPath(METHOD, _decide)
