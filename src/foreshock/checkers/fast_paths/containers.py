"""What queues and stacks of distinct elements have in common: the stay of each element, and when it was empty.

The *stay* of an element spans the operation that puts it in and the one that takes it out: ``put_call``,
``put_ret``, ``take_call``, ``take_ret``. Both can be trimmed, since it is put in before it is taken out:
``put_ret`` is at most ``take_ret``, ``take_call`` at least ``put_call``. An element that nobody took is taken at
the very end. The *core* of a stay is the open stretch from ``put_ret`` to ``take_call``: the element was certainly
in there.

An operation that found nothing must have a moment between its call and its return at which no core lies. That is
enough (for queues see Bouajjani, Emmi, Enea & Hamza, On Reducing Linearizability to State Reachability, 2015, whose
bad pattern for them this is). For let t be such a moment. Every element was put in at t or later, or could be taken
at t or earlier; let A be the elements of the former kind and B the rest. Given any legal order of the elements of
B, in which every operation has a moment, let those moments that are after t be t instead: all of B's windows begin
by t, so that is still a legal order, and it leaves nothing behind. Likewise for A, from t on. So B, the operation
that found nothing, and A can follow each other, whenever the history without that operation is legal; and one t
does not take away another one's, for these windows become no core that was not there.

What crashed: an element whose putting crashed, and which nobody took, is left out. Taking that crashed may have
taken any element that is still there; see ``queues.py`` and ``stacks.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from foreshock.checkers.columns import ABSENT, Bools, Ints, OperationColumns
from foreshock.checkers.decision import Decision
from foreshock.checkers.fast_paths.base import FastPath, Finding, in_time
from foreshock.checkers.fast_paths.lines import Line, line_of, wanted_rows
from foreshock.checkers.search import Limits

NOBODY = -1
"""In place of the row of an operation that there was not."""


@dataclass(frozen=True)
class Stays:
    """Of one key: an array item an element, trimmed as the module's text says, and what else there was.

    ``end`` is the position of what never happened. ``nothing`` are the rows that found nothing, ``crashed`` those that
    may have taken something; ``put_row`` and ``take_row`` say whose stay it is (``NOBODY``: not taken).
    """

    put_call: Ints
    put_ret: Ints
    take_call: Ints
    take_ret: Ints
    put_row: Ints
    take_row: Ints
    nothing: Ints
    crashed: Ints
    line: Line

    def __len__(self) -> int:
        return len(self.put_row)

    @property
    def end(self) -> int:
        """The position of what never happened."""
        return self.line.end

    def rows(self, *places: int) -> tuple[int, ...]:
        """The rows of some elements, and all that may have taken them."""
        rows = {int(column[place]) for place in places for column in (self.put_row, self.take_row)}
        return tuple(sorted((rows | set(self.crashed[:8].tolist())) - {NOBODY}))


Decide = Callable[[Stays], Finding]


def path_of(name: str, put: str, take: str, decide: Decide) -> FastPath:
    """The fast path of a container by the names of its two operations."""

    def decide_keys(columns: OperationColumns, keys: Sequence[int], limits: Limits) -> dict[int, Finding]:
        asked, rows = wanted_rows(columns, keys)
        is_put = columns.f_in((put,))
        strange = (~is_put & ~columns.f_in((take,))) | columns.failed
        asked[columns.key[rows[strange[rows]]]] = False
        rows = rows[asked[columns.key[rows]]]
        element = np.full(len(columns), ABSENT, dtype=np.int64)
        puts = rows[is_put[rows]]
        takes = rows[~is_put[rows] & ~columns.crashed[rows]]
        element[puts] = columns.tokens("value", puts)
        element[takes] = columns.tokens("result", takes)
        # None is no element.
        asked[columns.key[puts[element[puts] == ABSENT]]] = False
        line = line_of(columns)
        findings = {}
        for key in in_time(columns, [key for key in keys if asked[key]], limits):
            mine = columns.rows_by_key[key]
            finding = _decide_key(columns, line, mine, is_put[mine], element[mine], decide)
            if finding.decision is not Decision.NOT_APPLICABLE:
                findings[key] = finding
        return findings

    return FastPath(name, decide_keys)


def _decide_key(
    columns: OperationColumns, line: Line, rows: Ints, is_put: Bools, element: Ints, decide: Decide
) -> Finding:
    puts, names = rows[is_put], element[is_put]
    order = np.argsort(names, kind="stable")
    puts, names = puts[order], names[order]
    if (names[1:] == names[:-1]).any():
        return Finding(Decision.NOT_APPLICABLE)
    crashed = columns.crashed[rows]
    takes, taken = (
        rows[~is_put & ~crashed & (element != ABSENT)],
        element[~is_put & ~crashed & (element != ABSENT)],
    )
    places = np.searchsorted(names, taken)
    unknown = places == len(names)
    unknown[~unknown] = names[places[~unknown]] != taken[~unknown]
    if unknown.any():
        return Finding(Decision.INVALID, (int(takes[unknown][0]),))
    take_row = np.full(len(puts), NOBODY, dtype=np.int64)
    take_row[places] = takes
    twice = np.flatnonzero(take_row[places] != takes)
    if len(twice):
        place = int(places[twice[0]])
        return Finding(Decision.INVALID, _ordered(takes[twice[0]], take_row[place], puts[place]))
    early = np.flatnonzero((take_row != NOBODY) & (line.ret[take_row] < line.call[puts]))
    if len(early):
        return Finding(Decision.INVALID, _ordered(puts[early[0]], take_row[early[0]]))
    stays = _stays(line, puts, take_row, columns.crashed[puts])
    nothing = rows[~is_put & ~crashed & (element == ABSENT)]
    return decide(replace(stays, nothing=nothing, crashed=rows[~is_put & crashed]))


def _stays(line: Line, puts: Ints, take_row: Ints, put_crashed: Bools) -> Stays:
    there = (take_row != NOBODY) | ~put_crashed
    puts, take_row = puts[there], take_row[there]
    put_call = line.call[puts]
    take_call = np.where(take_row == NOBODY, line.end, np.maximum(line.call[take_row], put_call))
    take_ret = np.where(take_row == NOBODY, line.end, line.ret[take_row])
    put_ret = np.minimum(line.ret[puts], take_ret)
    none = np.zeros(0, dtype=np.int64)
    return Stays(put_call, put_ret, take_call, take_ret, puts, take_row, none, none, line)


def never_empty(stays: Stays) -> tuple[int, ...] | None:
    """The rows of an operation that found nothing though something was certainly there all the time; or ``None``."""
    if not len(stays.nothing):
        return None
    core = np.flatnonzero(stays.put_ret < stays.take_call)
    core = core[np.argsort(stays.put_ret[core], kind="stable")]
    low, high = stays.put_ret[core], np.maximum.accumulate(stays.take_call[core])
    if not len(core):
        return None
    # Cores that merely touch leave the moment at which they do.
    first = np.concatenate(([0], np.flatnonzero(low[1:] >= high[:-1]) + 1))
    bottom, top = low[first], high[np.append(first[1:], len(core)) - 1]
    call, ret = stays.line.call[stays.nothing], stays.line.ret[stays.nothing]
    around = np.searchsorted(bottom, call, side="left") - 1
    covered = np.flatnonzero((around >= 0) & (ret < top[around]))
    if not len(covered):
        return None
    number = int(covered[0])
    return _covering(stays, core, int(stays.nothing[number]), int(call[number]), int(ret[number]))


def _covering(stays: Stays, core: Ints, row: int, call: int, ret: int) -> tuple[int, ...]:
    """An operation that found nothing, and a chain of elements whose cores cover it."""
    moment, chain = call, list[int]()
    # Each goes on where the one before it ends, so none comes twice.
    while moment <= ret and len(chain) < len(core):
        over = core[stays.put_ret[core] < moment]
        best = int(over[np.argmax(stays.take_call[over])])
        chain.append(best)
        moment = int(stays.take_call[best])
    return _ordered(row, *stays.rows(*chain))


def _ordered(*rows: int) -> tuple[int, ...]:
    return tuple(sorted({int(row) for row in rows}))
