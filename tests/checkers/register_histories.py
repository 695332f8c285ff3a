"""Histories of registers put down by hand in ms, and small random ones of processes that do one thing at a time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from foreshock.harness.history import History, Row
from foreshock.harness.operation import OperationType

MS = 1_000_000


class Op(NamedTuple):
    """An operation from ``begin`` to ``end`` (ms; ``None``: it never returned); ``value`` is written, or was read."""

    f: str
    begin: int
    end: int | None
    value: Any = None
    process: int = 0
    key: str = "x"


def history_of(*operations: Op) -> History:
    """A history in which no two events have the same time."""
    times = sorted(t for o in operations for t in (o.begin, o.end) if t is not None)
    assert len(set(times)) == len(times)
    index = {time: place for place, time in enumerate(times)}
    return History.of(
        Row(
            process=o.process,
            f=o.f,
            key=o.key,
            value=None if o.f == "get" else o.value,
            result=o.value if o.f == "get" and o.end is not None else None,
            type=OperationType.INFO if o.end is None else OperationType.OK,
            invoke_index=index[o.begin],
            complete_index=-1 if o.end is None else index[o.end],
            invoke_ns=o.begin * MS,
            complete_ns=-1 if o.end is None else o.end * MS,
        )
        for o in operations
    )


def in_turn(*steps: tuple[int, str, str, Any]) -> list[Op]:
    """Operations (process, what, key, value) one after the other, each of them 1 ms long, with 1 ms between them."""
    return [Op(f, 2 * n, 2 * n + 1, value, process, key) for n, (process, f, key, value) in enumerate(steps)]


def random_operations(rng: random.Random, *, distinct: bool = True, most: int = 8) -> list[Op]:
    """A small history with no regard to any consistency."""
    count = rng.randint(3, most)
    keys = ["x", "y"][: rng.randint(1, 2)]
    spots = list(range(2 * count))
    spots.sort(key=lambda spot: spot + rng.random() * rng.choice([1, 4]))
    pairs = sorted(tuple(sorted(spots[2 * n : 2 * n + 2])) for n in range(count))
    free_at = dict.fromkeys(range(2), -1)
    operations: list[Op] = []
    written: list[Any] = [None]
    for number, (begin, end) in enumerate(pairs):
        free = [process for process, at in free_at.items() if at < begin]
        process = rng.choice(free) if free else len(free_at)
        crashed = rng.random() < 0.1
        free_at[process] = 1_000 if crashed else end
        f = rng.choice(["put", "put", "get", "get", "get", "delete"])
        if f == "put":
            written.append(number + 1 if distinct else rng.randint(1, 2))
        value = written[-1] if f == "put" else rng.choice(written[-4:]) if f == "get" else None
        operations.append(Op(f, begin, None if crashed else end, value, process, rng.choice(keys)))
    return operations


def writers(operations: Sequence[Op], read: Op) -> list[Op | None]:
    """The updates that a read may have seen; ``None`` is the initial absence."""
    found: list[Op | None] = [
        o
        for o in operations
        if o.f != "get" and o.key == read.key and o.value == read.value and o.begin < (read.end or 0)
    ]
    return [None, *found] if read.value is None else found
