"""What shows that a model is right: an object that does what it says, and the oracle. Each answers how often it is not.

Both take a count, so that a soak can ask for more than a test does.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from typing import Any

from tests.checkers.model_histories import THINGS, Refused, Thing, is_legal, random_history
from tests.checkers.random_histories import limits

from foreshock.checkers.entries import NEVER, Entry, relax
from foreshock.checkers.models.base import argument_of
from foreshock.checkers.search import search
from foreshock.harness.model import ILLEGAL, UNKNOWN, Model
from foreshock.harness.verdict import Verdict


def operation(
    number: int, process: int, call: int, ret: int | None, f: str, value: Any = None, result: Any = None
) -> Entry:
    """An operation in few words; without a return it crashed."""
    if ret is None:
        return Entry(number, call, NEVER, f, value, UNKNOWN, True, process)
    return Entry(number, call, ret, f, value, result, False, process)


def in_order(*operations: tuple[Any, ...]) -> list[Entry]:
    """Operations one after the other: (process, f, value, result), or (process, f, value, UNKNOWN) if it crashed."""
    entries = []
    for number, (process, f, value, result) in enumerate(operations):
        ret = None if result is UNKNOWN else 2 * number + 1
        entries.append(operation(number, process, 2 * number, ret, f, value, result))
    return entries


def is_valid(entries: Sequence[Entry], model: Model) -> bool:
    """What the search says; it has time enough for any small history."""
    verdict = search(entries, model, limits()).verdict
    assert verdict is not Verdict.UNKNOWN
    return verdict is Verdict.VALID


def disagreements(model: Model, name: str, count: int, seed: int = 3) -> int:
    """How often a model and the object of that name disagree, operation by operation, in ``count`` runs."""
    rng = random.Random(seed)
    return sum(_disagrees(model, name, THINGS[name](rng), rng) for _ in range(count))


def _disagrees(model: Model, name: str, thing: Thing, rng: random.Random) -> bool:
    state: Any = model.initial()
    for number in range(12):
        process = rng.randrange(3)
        f, value = thing.ask(process)
        argument = argument_of(model, operation(number, process, 0, 1, f, value))
        guess = thing.any_result(f, value)
        # A crashed read never comes to a model.
        for result in (guess,) if model.is_read(f) else (guess, UNKNOWN):
            told = model.step(state, f, argument, result) is not ILLEGAL
            if told != _would(copy.deepcopy(thing), process, f, value, result):
                return True
        try:
            result = thing.apply(process, f, value, 0)
        except Refused:
            continue
        after = model.step(state, f, argument, result)
        if after is ILLEGAL:
            return True
        same = name == "fenced-mutex" or model.is_read(f) or "fail" in repr(result).lower()
        if not same and model.step(state, f, argument, UNKNOWN) != after:
            return True
        state = after
    return False


def _would(thing: Thing, process: int, f: str, value: Any, result: Any) -> bool:
    """Whether the object, which is spoilt by this, could answer so."""
    try:
        answer = thing.apply(process, f, value, 0)
    except Refused:
        return False
    return thing.could_be(f, result, answer)


def trials(name: str, count: int, seed: int, operations: int = 6) -> Iterator[tuple[list[Entry], bool]]:
    """Random histories, each with whether some of its operations are to be made optional."""
    rng = random.Random(seed)
    for number in range(count):
        yield (
            random_history(rng, name, operations=operations, ties=rng.random() < 0.7),
            number % 3 == 2,
        )


def wrong_verdicts(model: Model, right: Model, name: str, count: int, seed: int = 4) -> int:
    """How often the search by a model differs from the oracle by the right one, also where operations are optional."""
    rng = random.Random(seed)
    wrong = 0
    for history, optional in trials(name, count, seed):
        entries = history
        if optional:
            kept = [i for i in range(len(history)) if rng.random() < 0.6]
            entries = relax(history, kept, [right.is_read(e.f) for e in history])
        wrong += is_valid(entries, model) != is_legal(entries, right)
    return wrong


def is_caught(
    model: Model,
    right: Model,
    name: str,
    golden: Sequence[tuple[Sequence[Entry], bool]] = (),
    rounds: int = 25,
) -> bool:
    """Whether a comparison finds a model wrong; an error, which no right model makes, finds it too."""
    try:
        return any(is_valid(history, model) != legal for history, legal in golden) or any(
            disagreements(model, name, 10, seed) or wrong_verdicts(model, right, name, 40, seed)
            for seed in range(rounds)
        )
    except (TypeError, ValueError, AttributeError, KeyError, IndexError):
        return True
