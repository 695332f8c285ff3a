"""Histories built by code, as the interpreter would have recorded them while faults were in force."""

from __future__ import annotations

import random
from typing import Any

from foreshock.harness.history import History, Row
from foreshock.harness.operation import OperationType

NODES = ("n1", "n2", "n3", "n4", "n5")
SECOND = 1_000_000_000
MS = 1_000_000
OK, FAIL, INFO = OperationType.OK, OperationType.FAIL, OperationType.INFO
PARTITIONS = (
    ("partition", ("n1", "n2"), 6.0, 14.0),
    ("kill", ("n3",), 18.0, 23.0),
    ("partition", ("n4",), 26.0, 33.5),
    ("kill", ("n1", "n5"), 38.0, 41.0),
    ("partition", ("n2", "n3"), 44.0, 52.0),
)


class Tape:
    """Writes rows in the order of their events, as the interpreter would have recorded them."""

    def __init__(self) -> None:
        self._events: list[tuple[int, int, Row]] = []

    def add(
        self, process: int, f: str, start_ns: int, end_ns: int | None, kind: OperationType = OK, **fields: Any
    ) -> None:
        row = Row(process, f, type=kind, invoke_ns=start_ns, complete_ns=-1 if end_ns is None else end_ns)
        self._events.append((start_ns, len(self._events), row._replace(**fields)))

    def history(self) -> History:
        moments = []
        for number, (_, _, row) in enumerate(self._events):
            moments.append((row.invoke_ns, 0, number))
            if row.complete_ns >= 0:
                moments.append((max(row.complete_ns, row.invoke_ns), 1, number))
        places: dict[tuple[int, int], int] = {}
        for index, (_, side, number) in enumerate(sorted(moments)):
            places[number, side] = index
        return History.of(
            row._replace(invoke_index=places[number, 0], complete_index=places.get((number, 1), -1))
            for number, (_, _, row) in enumerate(self._events)
        )


def register_tape(count: int = 6000, seconds: float = 60.0, seed: int = 1) -> Tape:
    """Reads, writes and compare-and-sets with slow, failing and lost operations while faults are in force."""
    rng, tape, free = random.Random(seed), Tape(), [0] * 10
    process, last = list(range(10)), {}
    for number in range(count):
        thread = min(range(10), key=lambda thread: free[thread])
        start = max(int(number * seconds / count * SECOND), free[thread])
        key, node = number % 5, NODES[thread % 5]
        bad = any(
            node in nodes and at * SECOND <= start <= (end or 99) * SECOND for _, nodes, at, end in PARTITIONS
        )
        f = rng.choice(("read", "read", "write", "cas"))
        value = {"read": None, "write": number + 1, "cas": [last.get(key), number + 1]}[f]
        took = int(rng.lognormvariate(1.1, 0.5) * MS)
        kind, error = OK, None
        if bad and rng.random() < 0.25:
            kind, error, took = INFO, "TimeoutExpired: no answer in 1 s", SECOND
        elif f == "cas" and rng.random() < 0.3:
            kind, error = FAIL, "Definite: the value was not the old one"
        elif bad:
            took *= rng.choice((1, 5, 40))
        if f != "read" and kind is OK:
            last[key] = number + 1
        outcome = last.get(key) if f == "read" and kind is OK else None
        tape.add(
            process[thread],
            f,
            start,
            start + took,
            kind,
            key=key,
            value=value,
            result=outcome,
            node=node,
            error=error,
        )
        if kind is INFO:
            process[thread] += 10
        free[thread] = start + took + 1
    return tape


def stale_read_tape(base: Tape, at: int, key: int = 9) -> None:
    """Two writes, then a read that still answers the older one, while a third write never answers."""
    base.add(100, "write", at, at + 6 * MS, key=key, value=901, node="n1")
    base.add(101, "read", at + 7 * MS, at + 12 * MS, key=key, result=901, node="n2")
    base.add(103, "write", at + 9 * MS, at + 1009 * MS, INFO, key=key, value=903, node="n4", error="timeout")
    base.add(102, "write", at + 14 * MS, at + 22 * MS, key=key, value=902, node="n3")
    base.add(101, "read", at + 20 * MS, at + 28 * MS, key=key, result=902, node="n2")
    base.add(104, "read", at + 32 * MS, at + 41 * MS, key=key, result=901, node="n1")


def lock_tape(base: int) -> Tape:
    """Two processes that both believed to hold the lock."""
    tape = Tape()
    for number in range(60):
        at = number * SECOND // 2
        tape.add(number % 3, "acquire", at, at + 4 * MS, key="jobs", result=number + 1, node="n1")
        tape.add(number % 3, "release", at + 200 * MS, at + 203 * MS, key="jobs", value=number + 1, node="n1")
    tape.add(7, "acquire", base, base + 5 * MS, key="ledger", result={"token": 33, "ttl_ms": 400}, node="n2")
    tape.add(
        8,
        "acquire",
        base + 40 * MS,
        base + 47 * MS,
        key="ledger",
        result={"token": 34, "ttl_ms": 400},
        node="n4",
    )
    tape.add(7, "release", base + 90 * MS, base + 95 * MS, key="ledger", value=33, node="n2")
    tape.add(8, "release", base + 140 * MS, base + 143 * MS, key="ledger", value=34, node="n4")
    return tape
