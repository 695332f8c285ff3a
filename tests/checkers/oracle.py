"""The oracle: legal or not by trying every order, with no idea in it that could be wrong in the same way as ours."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from foreshock.checkers.columns import OperationColumns
from foreshock.checkers.entries import NEVER, Entry
from foreshock.harness.history_values import ValueTable
from foreshock.harness.model import ILLEGAL, UNKNOWN, Model


def is_linearizable(entries: Sequence[Entry], model: Model) -> bool:
    """Try all orders of all subsets of crashed operations that keep the order of events."""

    def extend(remaining: frozenset[int], state: Any) -> bool:
        if all(entries[i].crashed for i in remaining):
            return True
        for i in remaining:
            if any(not entries[j].crashed and entries[j].ret < entries[i].call for j in remaining if j != i):
                continue
            after = apply(model, state, entries[i])
            if after is not ILLEGAL and extend(remaining - {i}, after):
                return True
        return False

    return extend(frozenset(range(len(entries))), model.initial())


def is_legal_order(entries: Sequence[Entry], order: Sequence[int], model: Model) -> bool:
    """Replay an order: each operation legal, none before one that it must follow, all completed ones in it."""
    state = model.initial()
    for i in order:
        state = apply(model, state, entries[i])
        if state is ILLEGAL:
            return False
    placed = {operation: position for position, operation in enumerate(order)}
    reads = {i for i, entry in enumerate(entries) if model.is_read(entry.f)}
    if len(placed) != len(order) or any(not e.crashed and i not in placed for i, e in enumerate(entries)):
        return False
    del reads
    return all(
        placed[i] < placed[j]
        for i in placed
        for j in placed
        if not entries[i].crashed and entries[i].ret < entries[j].call
    )


def apply(model: Model, state: Any, entry: Entry) -> Any:
    """One step of a model, with what it wants to know of the operation."""
    value = (entry.process, entry.value) if getattr(model, "by_process", False) else entry.value
    result = UNKNOWN if entry.crashed and entry.result is None else entry.result
    if entry.crashed and model.is_read(entry.f):
        return state
    return model.step(state, entry.f, value, result)


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


def legal_register_history(
    rng: random.Random, *, count: int, processes: int, cas: float = 0.3
) -> list[Entry]:
    """A register history that is legal by construction: every operation takes effect at one moment between its events."""
    state: Any = None
    pending: dict[int, dict[str, Any]] = {}
    entries: list[Entry] = []
    position = next_value = called = next_process = 0
    threads = list(range(processes))
    next_process = processes
    while called < count or pending:
        thread = rng.randrange(processes)
        operation = pending.get(thread)
        position += 1
        if operation is None:
            if called == count:
                continue
            next_value += 1
            f = "read" if rng.random() < 0.4 else "cas" if rng.random() < cas else "write"
            value = {"read": None, "write": next_value, "cas": [state, next_value]}[f]
            pending[thread] = {
                "f": f,
                "value": value,
                "call": position,
                "done": False,
                "result": None,
                "index": called,
            }
            called += 1
            continue
        if not operation["done"] and rng.random() < 0.7:
            operation["done"] = True
            if operation["f"] == "read":
                operation["result"] = state
            elif operation["f"] == "write":
                state = operation["value"]
            elif operation["value"][0] == state:
                state = operation["value"][1]
            else:
                operation["failed"] = True
            continue
        crashed = rng.random() < 0.08
        if not operation["done"] and not crashed:
            continue
        del pending[thread]
        if operation.get("failed"):
            continue
        entries.append(
            Entry(
                operation["index"],
                operation["call"],
                NEVER if crashed else position,
                operation["f"],
                operation["value"],
                UNKNOWN if crashed else operation["result"],
                crashed,
                threads[thread],
            )
        )
        if crashed:
            threads[thread] = next_process
            next_process += 1
    return entries


def columns_of_entries(entries_by_key: Mapping[Any, Sequence[Entry]]) -> OperationColumns:
    """Columns of plain entries, which may share positions as the events of a real history never do."""
    table = ValueTable()
    rows = [
        (
            entry,
            k,
            table.payload(entry.value),
            table.payload(None if entry.result is UNKNOWN else entry.result),
        )
        for k, entries in enumerate(entries_by_key.values())
        for entry in entries
    ]
    rows.sort(key=lambda row: row[0].call)
    names = sorted({row[0].f for row in rows})
    entries = [row[0] for row in rows]

    def ints(values: Iterable[int]) -> Any:
        return np.array(list(values), dtype=np.int64)

    return OperationColumns(
        index=ints(e.number for e in entries),
        call=ints(e.call for e in entries),
        ret=ints(e.ret for e in entries),
        process=ints(e.process for e in entries),
        key=ints(row[1] for row in rows),
        f=ints(names.index(e.f) for e in entries),
        crashed=np.array([e.crashed for e in entries], dtype=np.bool_),
        value=ints(row[2] for row in rows),
        result=ints(row[3] for row in rows),
        keys=list(entries_by_key),
        names=names,
        values_of=lambda column: [table.value(row[2 if column == "value" else 3]) for row in rows],
    )
