"""Append chains: one key of a key-value store that is put, appended to and got, decided in O(n log n).

Applies when each value that a get returned can be made in one way only: from one put, or from the absent key, by
appending one text after the other. Which texts these are is found by trying every text at every position, so one
may be the beginning of another as long as nothing can be read in two ways (``models/prefixes.py``).

**Why it is a register with compare-and-set.** Call the prefixes of returned values from which appends lead to a
returned value *useful*; each is made by one last update. Since texts are appended only, and the put at the head of a
value is the only one of that value, each useful prefix p + t is there once, for one stretch of time, and what begins
it is an append of t that found p. So this append acts as a compare-and-set from p to p + t, a get as a read, the put
of a useful value as a blind write. An update that makes no useful prefix leaves a value that nothing can return, nor
any append make so: from p + t a useful value would be reached in a second way. So it acts as a blind write of a value
that is never read. Both ways, a legal order of one is a legal order of the
other. The compare-and-sets are decided by their chains (``chains.py``).

**Texts that are appended several times.** Which operation made which useful prefix is then not known: every
assignment is tried (those left out that a get contradicts by itself), and one must be legal. Where there are more
than ``ASSIGNMENTS_MAX``, or the head of a value was put several times, the search decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any, Final

import numpy as np

from foreshock.checkers.columns import OperationColumns
from foreshock.checkers.decision import Decision
from foreshock.checkers.fast_paths.base import UNLIMITED, FastPath, Finding, in_time
from foreshock.checkers.fast_paths.chains import NOBODY, Values, conflicts_of
from foreshock.checkers.models.kv import work_max
from foreshock.checkers.models.kv_history import APPEND
from foreshock.checkers.models.prefixes import EMPTY, Prefixes, first_texts
from foreshock.checkers.models.register import READS, WRITES
from foreshock.checkers.models.work import GaveUp, Work
from foreshock.checkers.search import Limits

METHOD: Final = "append chains"
TRIES_MAX: Final = 2_000
"""So often at most it is tried, for each text, which of the appends of it is which."""
EQUAL_MAX: Final = 200
"""So many equal appends at most are told apart: each way to do so is as long, and found that deep in a recursion."""
ASSIGNMENTS_MAX: Final = 64
"""So many ways to say which of several equal appends made which value are tried for a key."""

Assignment = dict[int, int]
"""For each useful node that is appended to reach it, the row of the operation that does."""


@dataclass
class _Key:
    """The operations of one key, by what they did; rows of the columns."""

    gets: dict[str, list[int]] = field(default_factory=dict)
    puts: dict[str, list[int]] = field(default_factory=dict)
    appends: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Chains:
    """What is known of one key before it is said which operation made which value.

    ``readers`` holds for each node the get that first returned a value made over it.
    """

    operations: _Key
    prefixes: Prefixes
    readers: dict[int, int]
    assignments: list[Assignment]


def decide_by_appends(
    columns: OperationColumns, keys: Collection[int], limits: Limits = UNLIMITED
) -> dict[int, Finding]:
    """Decide the keys whose returned values can be made in one way only, as far as the limits allow."""
    findings: dict[int, Finding] = {}
    chains: dict[int, _Chains] = {}
    known = columns.f_in({*READS, *WRITES, APPEND})
    for key in in_time(columns, keys, limits):
        rows = columns.rows_by_key[key]
        operations = _operations(columns, rows.tolist()) if known[rows].all() else None
        if operations is None:
            continue
        try:
            found = _chains_of(columns, operations, Work(work_max(len(rows)), limits))
        except GaveUp:
            continue
        if isinstance(found, _Chains):
            chains[key] = found
        elif found is not None:
            findings[key] = Finding(Decision.INVALID, tuple(_with_firsts(columns, operations, found)))
    return findings | _decide_chains(columns, chains, limits)


def _operations(columns: OperationColumns, rows: Sequence[int]) -> _Key | None:
    """The operations by what they did; ``None`` where something is no text, or appends nothing."""
    found = _Key()
    kinds = [
        found.gets if name in READS else found.puts if name in WRITES else found.appends
        for name in columns.names
    ]
    for row, f in zip(rows, columns.f[rows].tolist(), strict=True):
        kind = kinds[f]
        value = columns.values[row]
        if kind is found.gets:
            if columns.crashed[row]:
                continue
            value = columns.results[row]
            # Where an empty text can be put, both can be made in two ways, and are left to the search.
            value = "" if value is None else value
        if not isinstance(value, str):
            return None
        kind.setdefault(value, []).append(row)
    return None if "" in found.appends else found


def _chains_of(columns: OperationColumns, operations: _Key, work: Work) -> _Chains | list[int] | None:
    """How each value was made; the rows that show it when one cannot be; ``None`` when there are several ways."""
    gets, puts, appends = operations.gets, operations.puts, operations.appends
    first = _first_texts(columns, operations)
    prefixes = Prefixes(dict.fromkeys(gets, 0), gets, puts, appends, first, work)
    for value, rows in operations.gets.items():
        if value not in prefixes.nodes:
            return rows[:1]
    in_ways = any(count > 1 for count in prefixes.ways().values())
    if in_ways or any(len(rows) > 1 and value in prefixes.nodes for value, rows in puts.items()):
        return None
    readers = {
        prefixes.nodes[value]: min(rows, key=columns.ret.__getitem__)
        for value, rows in operations.gets.items()
    }
    for step in prefixes.steps:
        both = {readers[step.target], readers.get(step.source, readers[step.target])}
        readers[step.source] = min(both, key=columns.ret.__getitem__)
    made: dict[str, list[int]] = {}
    for step in prefixes.steps:
        made.setdefault(step.text, []).append(step.target)
    choices = []
    for text, nodes in made.items():
        choice = _ways_of(columns, operations.appends[text], nodes, readers)
        if choice is None:
            return None
        if not choice:
            return sorted({*operations.appends[text], *(readers[node] for node in nodes)})
        choices.append(choice)
    if np.prod([len(choice) for choice in choices], dtype=np.float64) > ASSIGNMENTS_MAX:
        return None
    assignments = [{n: row for part in parts for n, row in part.items()} for parts in product(*choices)]
    return _Chains(operations, prefixes, readers, assignments)


def _ways_of(
    columns: OperationColumns, rows: Sequence[int], nodes: Sequence[int], readers: dict[int, int]
) -> list[Assignment] | None:
    """The ways to let equal appends make these nodes; ``None`` when they cannot be listed in few tries."""
    if len(nodes) > EQUAL_MAX:
        return None
    tries = _Tries()
    ways = list(islice(_choices(columns, rows, nodes, readers, tries), ASSIGNMENTS_MAX + 1))
    return None if tries.are_too_many else ways


def _first_texts(columns: OperationColumns, operations: _Key) -> set[str] | None:
    """Those that can be appended to the absent key; ``None`` for all of them."""
    if "" in operations.puts:
        return None
    updates = _filling(operations)
    appends = ((text, int(columns.call[row])) for text, rows in operations.appends.items() for row in rows)
    return first_texts(appends, columns.ret[updates].tolist())


def _filling(operations: _Key) -> list[int]:
    """The puts and the appends, but for those of nothing, which leave an absent key as good as absent."""
    texts = {text: rows for text, rows in operations.appends.items() if text}
    return [row for kind in (operations.puts, texts) for rows in kind.values() for row in rows]


class _Tries:
    """How often it was tried to let an append make a node: most ways may lead nowhere, and are no fewer for that."""

    def __init__(self) -> None:
        self._count = 0

    @property
    def are_too_many(self) -> bool:
        """Whether the search is to take over."""
        return self._count > TRIES_MAX

    def one_more(self) -> bool:
        """Count one; no when it is one too many."""
        self._count += 1
        return not self.are_too_many


def _choices(
    columns: OperationColumns,
    rows: Sequence[int],
    nodes: Sequence[int],
    readers: dict[int, int],
    tries: _Tries,
) -> Iterator[Assignment]:
    """The ways to let equal appends make these nodes, none of them called after a get that saw its node returned."""
    if not nodes:
        yield {}
        return
    node, others = nodes[0], nodes[1:]
    for row in rows:
        if columns.call[row] <= columns.ret[readers[node]] and tries.one_more():
            left = [other for other in rows if other != row]
            for rest in _choices(columns, left, others, readers, tries):
                yield {node: row, **rest}


def _decide_chains(
    columns: OperationColumns, chains: dict[int, _Chains], limits: Limits
) -> dict[int, Finding]:
    """Decide every assignment of every key as a register of its own, all of them at once."""
    registers = _Registers()
    owners: list[int] = []
    for key in in_time(columns, chains, limits):
        chain = chains[key]
        for assignment in chain.assignments:
            registers.add(chain, assignment, len(owners))
            owners.append(key)
    conflicts = conflicts_of(columns, registers.values()) if owners else {}
    legal = Counter(key for register, key in enumerate(owners) if register not in conflicts)
    findings = {key: Finding(Decision.VALID) for key in legal}
    told: dict[int, set[int]] = {}
    for register, rows in conflicts.items():
        key = owners[register]
        if key not in legal:
            told.setdefault(key, set()).update(rows)
    for key, suspects in told.items():
        chain = chains[key]
        shown = _with_firsts(columns, chain.operations, _with_readers(chain, suspects))
        findings[key] = Finding(Decision.INVALID, tuple(shown))
    return findings


def _with_firsts(columns: OperationColumns, operations: _Key, suspects: Collection[int]) -> list[int]:
    """The suspects with what shows that no value of their gets began with an append to the absent key.

    That is the update that returned first, and the appends that came too late for that.
    """
    rows = _filling(operations)
    told = set(suspects)
    if rows and "" not in operations.puts:
        told.add(min(rows, key=columns.ret.__getitem__))
        values = [columns.results[row] for row in suspects if isinstance(columns.results[row], str)]
        for text, same in operations.appends.items():
            if any(value.startswith(text) for value in values):
                told.update(same)
    return sorted(told)


def _with_readers(chain: _Chains, suspects: set[int]) -> set[int]:
    """The suspects with the gets that show where their appends and puts took effect.

    Equal appends can stand in for each other, so all of them are told, and the gets that leave them so few ways.
    """
    operations, prefixes = chain.operations, chain.prefixes
    told = set(suspects)
    made = {row: node for assignment in chain.assignments for node, row in assignment.items()}
    made |= {
        rows[0]: prefixes.nodes[value] for value, rows in operations.puts.items() if value in prefixes.nodes
    }
    told |= {chain.readers[made[row]] for row in suspects if row in made}
    for step in prefixes.steps:
        if len(operations.appends[step.text]) > 1:
            told |= {*operations.appends[step.text], chain.readers[step.target]}
    return told


@dataclass
class _Registers:
    """The values of registers that are put together one after the other."""

    key: list[int] = field(default_factory=list)
    initial: list[bool] = field(default_factory=list)
    update: list[int] = field(default_factory=list)
    before: list[int] = field(default_factory=list)
    read_row: list[int] = field(default_factory=list)
    read_value: list[int] = field(default_factory=list)

    def add(self, chain: _Chains, assignment: Assignment, key: int) -> None:
        """Add the register that a key is, given which operation made which value."""
        prefixes, operations = chain.prefixes, chain.operations
        place = {node: len(self.key) + offset for offset, node in enumerate(prefixes.until)}
        source = {step.target: step.source for step in prefixes.steps}
        head = {
            prefixes.nodes[value]: rows[0]
            for value, rows in operations.puts.items()
            if value in prefixes.nodes
        }
        made = head | assignment
        for node in place:
            self._add(key, node == EMPTY, made.get(node, NOBODY), place.get(source.get(node, NOBODY), NOBODY))
        used = set(made.values())
        for rows in (*operations.puts.values(), *operations.appends.values()):
            for row in rows:
                if row not in used:
                    self._add(key, False, row, NOBODY)
        for value, rows in operations.gets.items():
            self.read_row += rows
            self.read_value += [place[prefixes.nodes[value]]] * len(rows)

    def _add(self, key: int, initial: bool, update: int, before: int) -> None:
        self.key.append(key)
        self.initial.append(initial)
        self.update.append(update)
        self.before.append(before)

    def values(self) -> Values:
        """All of them."""

        def ints(numbers: Sequence[int]) -> Any:
            return np.array(numbers, dtype=np.int64)

        return Values(
            ints(self.key),
            np.array(self.initial, dtype=np.bool_),
            ints(self.update),
            ints(self.before),
            ints(self.read_row),
            ints(self.read_value),
        )


APPENDS: Final = FastPath(METHOD, decide_by_appends)
