"""Histories to try checkers on: random small ones with no regard to legality, and long ones that are legal."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foreshock.checkers.columns import OperationColumns
from foreshock.checkers.entries import NEVER, Entry
from foreshock.checkers.models.base import FAILED
from foreshock.checkers.search import Limits
from foreshock.harness.checker import CheckContext
from foreshock.harness.history import History, Row
from foreshock.harness.history_values import ValueTable
from foreshock.harness.model import UNKNOWN
from foreshock.harness.operation import OperationType


def limits(seconds: float = 60.0, memory_bytes: int = 1 << 30) -> Limits:
    return Limits(time.monotonic_ns() + round(seconds * 1e9), memory_bytes)


def context(seconds: float = 60.0, memory_bytes: int = 1 << 30, **more: Any) -> CheckContext:
    deadline_ns = time.monotonic_ns() + round(seconds * 1e9)
    return CheckContext(deadline_ns=deadline_ns, memory_limit_bytes=memory_bytes, **more)


def random_positions(rng: random.Random, count: int, *, ties: bool) -> list[tuple[int, int]]:
    """Random (call, ret) pairs; with ``ties`` several events share a position."""
    if ties:
        width = rng.choice([4, 8, 14])
        return [tuple(sorted((rng.randint(0, width), rng.randint(0, width)))) for _ in range(count)]  # type: ignore[misc]
    spots = list(range(2 * count))
    # Mostly short operations: an interval between spots that are near each other.
    spots.sort(key=lambda spot: spot + rng.random() * rng.choice([2, 6, 20]))
    pairs = [(spots[2 * i], spots[2 * i + 1]) for i in range(count)]
    return [(min(pair), max(pair)) for pair in pairs]


def random_register_history(
    rng: random.Random,
    *,
    updates: int = 4,
    reads: int = 4,
    cas: float = 0.0,
    distinct: bool = True,
    crash: float = 0.25,
    ties: bool = True,
) -> list[Entry]:
    """A small register history with no regard to legality: about a third of them are legal."""
    update_count, read_count = rng.randint(1, updates), rng.randint(0, reads)
    values: list[Any] = [None, *range(1, update_count + 1)]
    entries = []
    positions = random_positions(rng, update_count + read_count, ties=ties)
    for number, (call, ret) in enumerate(positions):
        crashed = rng.random() < crash
        f, value, result = "read", None, None
        if number < update_count:
            written = number + 1 if distinct else rng.randint(1, 2)
            if rng.random() < cas:
                olds = [v for v in values if v != written] if distinct else [None, 1, 2]
                f, value = "cas", [rng.choice(olds), written]
            else:
                f, value = "write", written
        else:
            result = rng.choice(values if distinct else [None, 1, 2])
        entries.append(
            Entry(
                number,
                call,
                NEVER if crashed else ret,
                f,
                value,
                UNKNOWN if crashed else result,
                crashed,
                number,
            )
        )
    rng.shuffle(entries)
    return entries


@dataclass
class _Thread:
    """A client that has one operation under way at most."""

    process: int
    entry: Entry | None = None
    took_effect: bool = False
    refused: bool = False
    result: Any = None


@dataclass
class LegalRegister:
    """A register that really is one: each operation takes effect at one moment between its call and its return."""

    rng: random.Random
    processes: int
    cas: float = 0.3
    crash: float = 0.08
    entries: list[Entry] = field(default_factory=list)
    state: Any = None
    position: int = 0
    called: int = 0

    def run(self, count: int) -> list[Entry]:
        """The history of ``count`` operations, in the order of their ends; refused ones are left out."""
        threads = [_Thread(process) for process in range(self.processes)]
        while self.called < count or any(thread.entry for thread in threads):
            thread = self.rng.choice(threads)
            self.position += 1
            if thread.entry is None:
                if self.called < count:
                    self.call(thread)
            elif not thread.took_effect and self.rng.random() < 0.7:
                self.take_effect(thread)
            elif thread.took_effect or self.rng.random() < self.crash:
                self.end(thread, crashed=not thread.took_effect or self.rng.random() < self.crash)
        return self.entries

    def call(self, thread: _Thread) -> None:
        self.called += 1
        f = "read" if self.rng.random() < 0.4 else "cas" if self.rng.random() < self.cas else "write"
        value = {"read": None, "write": self.called, "cas": [self.state, self.called]}[f]
        thread.entry = Entry(self.called, self.position, NEVER, f, value, process=thread.process)
        thread.took_effect = thread.refused = False

    def take_effect(self, thread: _Thread) -> None:
        entry = thread.entry
        assert entry is not None
        thread.took_effect = True
        thread.result = self.state if entry.f == "read" else None
        if entry.f == "write":
            self.state = entry.value
        elif entry.f == "cas":
            thread.refused = entry.value[0] != self.state
            self.state = self.state if thread.refused else entry.value[1]

    def end(self, thread: _Thread, *, crashed: bool) -> None:
        entry = thread.entry
        assert entry is not None
        thread.entry = None
        if crashed:
            self.entries.append(entry._replace(result=UNKNOWN, crashed=True))
            thread.process += self.processes
        elif not thread.refused:
            self.entries.append(entry._replace(ret=self.position, result=thread.result))


def legal_register_history(
    rng: random.Random, count: int, *, processes: int = 5, cas: float = 0.3
) -> list[Entry]:
    return LegalRegister(rng, processes, cas).run(count)


def mutated(rng: random.Random, entries: Sequence[Entry]) -> list[Entry]:
    """The same history with one read that returns something else; mostly illegal then."""
    changed = list(entries)
    reads = [i for i, entry in enumerate(changed) if entry.f == "read" and not entry.crashed]
    values = [entry.value for entry in changed if entry.f == "write"]
    if reads and values:
        place = rng.choice(reads)
        changed[place] = changed[place]._replace(result=rng.choice(values))
    return changed


def columns_of_entries(entries_by_key: Mapping[Any, Sequence[Entry]]) -> OperationColumns:
    """Columns of plain entries, which may share positions as the events of a real history never do."""
    table = ValueTable()
    rows = [
        (
            entry,
            k,
            table.payload(entry.value),
            table.payload(None if entry.result in (UNKNOWN, FAILED) else entry.result),
        )
        for k, entries in enumerate(entries_by_key.values())
        for entry in entries
    ]
    rows.sort(key=lambda row: row[0].call)
    names = sorted({row[0].f for row in rows})
    entries = [row[0] for row in rows]

    def ints(values: Iterable[int]) -> Any:
        return np.array(list(values), dtype=np.int64)

    def values_of(column: str, some: Any) -> list[Any]:
        place = 2 if column == "value" else 3
        chosen = rows if some is None else [rows[row] for row in some.tolist()]
        return table.values([row[place] for row in chosen])

    return OperationColumns(
        index=ints(e.number for e in entries),
        call=ints(e.call for e in entries),
        ret=ints(e.ret for e in entries),
        process=ints(e.process for e in entries),
        key=ints(row[1] for row in rows),
        f=ints(names.index(e.f) for e in entries),
        crashed=np.array([e.crashed for e in entries], dtype=np.bool_),
        failed=np.array([e.result is FAILED for e in entries], dtype=np.bool_),
        value=ints(row[2] for row in rows),
        result=ints(row[3] for row in rows),
        call_ns=ints(e.times[0] for e in entries),
        ret_ns=ints(e.times[1] for e in entries),
        keys=list(entries_by_key),
        names=names,
        values_of=values_of,
    )


def history_of(entries_by_key: Mapping[Any, Sequence[Entry]], *, failed: Iterable[Row] = ()) -> History:
    """A real history of entries: each event gets an index of its own, calls first where positions are shared."""
    keyed = [(key, entry) for key, entries in entries_by_key.items() for entry in entries]
    events = sorted(
        (position, kind, number)
        for number, (_, entry) in enumerate(keyed)
        for kind, position in enumerate((entry.call, entry.ret))
        if position != NEVER
    )
    index = {(number, kind): place for place, (_, kind, number) in enumerate(events)}
    rows = []
    for number, (key, entry) in enumerate(keyed):
        call, ret = index[number, 0], index.get((number, 1), -1)
        rows.append(
            Row(
                process=entry.process,
                f=entry.f,
                key=key,
                value=entry.value,
                result=None if entry.crashed else entry.result,
                type=OperationType.INFO if entry.crashed else OperationType.OK,
                invoke_index=call,
                complete_index=ret,
                invoke_ns=1000 * call,
                complete_ns=1000 * ret if ret >= 0 else -1,
                node=f"n{entry.process % 3 + 1}",
            )
        )
    return History.of([*rows, *failed])
