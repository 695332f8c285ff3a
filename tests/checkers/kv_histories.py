"""Small histories of one key of a key-value store: of texts that are told apart, and of texts that are not."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.checkers.oracle import is_linearizable
from tests.checkers.random_histories import columns_of_entries, limits, random_positions

from foreshock.checkers.decision import Decision
from foreshock.checkers.entries import NEVER, Entry
from foreshock.checkers.fast_paths import Finding
from foreshock.checkers.models.kv import Kv
from foreshock.checkers.models.register import READS
from foreshock.checkers.search import SearchResult
from foreshock.harness.model import ILLEGAL, UNKNOWN
from foreshock.harness.verdict import Verdict

DISTINCT = ("a.", "b.", "c.", "d.", "e.", "f.", "g.", "h.")
ALIKE = ("a", "b", "ab", "aa", "ba")
"""Texts that are the beginnings of each other, so that a value can be made in several ways."""
EMPTY_TOO = ("", "", "a", "b")
"""With appends and puts of nothing."""
PLAIN = ("get", "put", "append")
EVERY = (*PLAIN, "read", "write", "cas", "delete")


def random_kv_history(
    rng: random.Random, operations: int = 8, *, texts: Sequence[str], names: Sequence[str], again: float
) -> list[Entry]:
    """Random operations that took effect in a legal order near that of their positions, of which some are changed.

    ``again`` is how probably a text is drawn anew instead of taken from those that are left.
    """
    model = Kv()
    count = rng.randint(2, operations)
    positions = random_positions(rng, count, ties=rng.random() < 0.4)
    crash = rng.choice([0, 0, 0.3])
    left = rng.sample(texts, len(texts))
    moments = [rng.uniform(call, ret) for call, ret in positions]
    state: Any = model.initial()
    states: list[Any] = [state, ""]
    entries = []
    for number in sorted(range(count), key=moments.__getitem__):
        f = rng.choice([*names, "get", "append"])
        text = rng.choice(texts) if rng.random() < again or not left else left.pop()
        value = {"get": None, "read": None, "delete": None, "cas": [state, text]}.get(f, text)
        result = (
            (state or rng.choice([None, ""] if state is None else [state])) if f in ("get", "read") else None
        )
        crashed = rng.random() < crash
        call, ret = positions[number]
        if f == "cas" and rng.random() < 0.3:
            value = [rng.choice(states), text]
        if f in ("get", "read") and rng.random() < 0.15:
            result = rng.choice(states)
        entry = Entry(
            number, call, NEVER if crashed else ret, f, value, UNKNOWN if crashed else result, crashed
        )
        after = model.step(state, f, value, state if f in ("get", "read") else result)
        if after is not ILLEGAL and not (crashed and rng.random() < 0.5):
            state = after
            states.append(state)
        entries.append(entry._replace(process=number))
    if rng.random() < 0.6:
        _spoil(rng, entries, states)
    rng.shuffle(entries)
    return entries


def _spoil(rng: random.Random, entries: list[Entry], states: Sequence[Any]) -> None:
    """Let two operations change places, and a get return what was there at some other time."""
    one, other = rng.randrange(len(entries)), rng.randrange(len(entries))
    first, second = entries[one], entries[other]
    if not first.crashed and not second.crashed:
        entries[one] = first._replace(call=second.call, ret=second.ret)
        entries[other] = second._replace(call=first.call, ret=first.ret)
    gets = [place for place, entry in enumerate(entries) if entry.f in READS and not entry.crashed]
    if gets:
        place = rng.choice(gets)
        entries[place] = entries[place]._replace(result=rng.choice(states))


def kv_histories(seed: int, count: int) -> list[list[Entry]]:
    """Small histories of every kind, by a seed."""
    rng = random.Random(seed)
    return [
        random_kv_history(
            rng,
            texts=rng.choice([DISTINCT, DISTINCT, DISTINCT[:3], ALIKE, EMPTY_TOO]),
            names=rng.choice([PLAIN, EVERY]),
            again=rng.choice([0, 0, 0.1, 0.5]),
        )
        for _ in range(count)
    ]


def wrong_kv_searches(search: Callable[..., SearchResult], histories: Sequence[list[Entry]]) -> int:
    """How many verdicts of the search with the specialized model are wrong."""
    return sum(
        (search(history, Kv(), limits()).verdict == Verdict.VALID) != is_linearizable(history, Kv())
        for history in histories
    )


def wrong_appends(decide: Callable[..., Mapping[int, Finding]], histories: Sequence[list[Entry]]) -> int:
    """How many decisions of the append chains are wrong."""
    found = decide(columns_of_entries(dict(enumerate(histories))), range(len(histories)))
    return sum(
        (finding.decision == Decision.VALID) != is_linearizable(histories[key], Kv())
        for key, finding in found.items()
    )
