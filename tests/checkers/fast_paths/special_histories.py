"""Small histories that fast paths mostly take on: nearly legal, with the odd crash, shared positions, and a lie."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tests.checkers.model_histories import random_history
from tests.checkers.oracle import is_linearizable
from tests.checkers.random_histories import columns_of_entries, random_positions

from foreshock.checkers.decision import Decision
from foreshock.checkers.entries import NEVER, Entry
from foreshock.checkers.fast_paths import fast_paths_of
from foreshock.harness.model import UNKNOWN, Model

Histories = Sequence[list[Entry]]


def _entries(
    rng: random.Random, next_operation: Callable[[bool], tuple[str, Any, Any]], operations: int
) -> list[Entry]:
    """Operations that take effect nearly in the order of their middles; ``next_operation`` is told if one does."""
    spread = rng.choice([0, 2, 5])
    positions = random_positions(rng, rng.randint(1, operations), ties=rng.random() < 0.5)
    positions.sort(key=lambda place: place[0] + place[1] + rng.random() * spread)
    crash = rng.choice([0, 0, 0.2])
    entries = []
    for number, (call, ret) in enumerate(positions):
        crashed = rng.random() < crash
        f, value, result = next_operation(not crashed or rng.random() < 0.5)
        end = (NEVER, UNKNOWN) if crashed else (ret, result)
        entries.append(Entry(number, call, end[0], f, value, end[1], crashed, number))
    return entries


def container_history(rng: random.Random, put: str, take: str, end: int) -> list[Entry]:
    """A queue (``end`` 0) or a stack (-1), mostly of distinct elements."""
    elements: list[int] = []
    count = 0

    def operation(happens: bool) -> tuple[str, Any, Any]:
        nonlocal count
        if rng.random() < 0.5:
            count += 1
            value = count if rng.random() < 0.98 else rng.randint(1, 3)
            elements.extend([value] * happens)
            return put, value, None
        taken = elements.pop(end) if elements and happens else None
        return take, None, taken if rng.random() < 0.93 else rng.choice([None, 1, 2, count])

    entries = _entries(rng, operation, 8)
    takes = [place for place, entry in enumerate(entries) if entry.f == take and not entry.crashed]
    if rng.random() < 0.3 and len(takes) > 1:
        one, other = rng.sample(takes, 2)
        results = entries[one].result, entries[other].result
        entries[one] = entries[one]._replace(result=results[1])
        entries[other] = entries[other]._replace(result=results[0])
    return entries


def counter_history(rng: random.Random) -> list[Entry]:
    amount, number = rng.choice([1, 1, 2, -1]), 0

    def operation(happens: bool) -> tuple[str, Any, Any]:
        nonlocal number
        if rng.random() < 0.45:
            return "read", None, number if rng.random() < 0.85 else number + rng.choice([-1, 1, 2])
        added = amount if rng.random() < 0.97 else rng.choice([0, 3])
        number += added * happens
        if added == 1 and rng.random() < 0.5:
            return "increment", rng.choice([None, 1]), None
        return ("decrement", -added, None) if rng.random() < 0.3 else ("add", added, None)

    return _entries(rng, operation, 8)


def set_history(rng: random.Random) -> list[Entry]:
    names = rng.choice(
        [("add", "contains"), ("add", "contains", "read", "read"), ("add", "remove", "contains")]
    )
    values, there = rng.choice([1, 2, 4]), set[int]()

    def operation(happens: bool) -> tuple[str, Any, Any]:
        f, value = rng.choice(("add", *names)), rng.randint(1, values)
        honest = rng.random() < 0.88
        if f == "read":
            seen = [e for e in range(values, 0, -1) if (e in there if honest else rng.random() < 0.5)]
            return f, None, seen + seen[:1] * (rng.random() < 0.02)
        if f == "contains":
            return f, value, value in there if honest else rng.random() < 0.5
        if happens:
            (there.add if f == "add" else there.discard)(value)
        return f, value, None

    return _entries(rng, operation, 8)


def fenced_history(rng: random.Random) -> list[Entry]:
    token, held, named, sense = rng.choice([-1, 0]), False, rng.choice([0, 1, 1, 0.8]), rng.random() < 0.8

    def operation(happens: bool) -> tuple[str, Any, Any]:
        nonlocal token, held
        f = "release" if held else "acquire"
        if not sense or rng.random() < 0.1:
            f = rng.choice(["acquire", "release"])
        held = f == "acquire"
        if held:
            token += rng.choice([1, 1, 2])
            shown = token if rng.random() < 0.93 else rng.randint(-1, 4)
            return f, None, rng.choice([{"token": shown}, shown])
        shown = token if rng.random() < 0.9 else rng.randint(0, 4)
        return f, shown if rng.random() < named else None, None

    return _entries(rng, operation, 7)


def lock_history(rng: random.Random) -> list[Entry]:
    """Processes that mostly alternate between acquire and release, more or less independently of each other."""
    entries: list[Entry] = []
    gap = rng.choice([0, 1])
    for process in range(rng.randint(1, 3)):
        position, held = rng.randint(0, rng.choice([4, 20])), False
        for _ in range(rng.randint(1, 4)):
            if len(entries) == 8:
                break
            f = "release" if held else "acquire"
            if rng.random() < 0.1:
                f = rng.choice(["acquire", "release"])
            call = position + rng.randint(gap, 3)
            ret = call + rng.randint(gap, 3)
            crashed = rng.random() < 0.12
            mode = rng.choice(["read", "read", "write", {"mode": "write"}]) if f == "acquire" else None
            end = (NEVER, UNKNOWN) if crashed else (ret, None)
            entries.append(Entry(len(entries), call, end[0], f, mode, end[1], crashed, process))
            position, held = ret, f == "acquire"
            if crashed and rng.random() < 0.7:
                break
    return entries


SPECIAL: Final[Mapping[str, Callable[[random.Random], list[Entry]]]] = {
    "mutex": lock_history,
    "semaphore": lock_history,
    "owner-mutex": lock_history,
    "reentrant-mutex": lock_history,
    "read-write-lock": lock_history,
    "fenced-mutex": fenced_history,
    "fifo-queue": lambda rng: container_history(rng, "enqueue", "dequeue", 0),
    "stack": lambda rng: container_history(rng, "push", "pop", -1),
    "set": set_history,
    "counter": counter_history,
}
"""For each model its histories."""


def histories_of(name: str, seed: int, count: int) -> list[list[Entry]]:
    """Histories of a model: three in four of this module, the others as all models have them."""
    rng = random.Random(f"{name} {seed}")
    special = SPECIAL[name]
    return [special(rng) if rng.random() < 0.75 else random_history(rng, name) for _ in range(count)]


def decisions_of(model: Model, histories: Histories) -> list[bool | None]:
    """What the fast paths of a model say of each history; ``None`` where they say nothing."""
    columns = columns_of_entries(dict(enumerate(histories)))
    found: dict[int, bool] = {}
    for path in fast_paths_of(model):
        rest = [key for key in range(len(histories)) if key not in found]
        for key, finding in path.decide(columns, rest).items():
            found[key] = finding.decision is Decision.VALID
    return [found.get(key) for key in range(len(histories))]


def wrong_decisions(model: Model, histories: Histories) -> list[list[Entry]]:
    """The histories of which a fast path says something else than the oracle."""
    return [
        history
        for history, said in zip(histories, decisions_of(model, histories), strict=True)
        if said is not None and said is not is_linearizable(history, model)
    ]
