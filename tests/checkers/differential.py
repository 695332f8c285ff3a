"""How often a decision procedure says something else than the oracle."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.checkers.oracle import is_linearizable
from tests.checkers.random_histories import columns_of_entries, limits, random_register_history

from foreshock.checkers.columns import OperationColumns
from foreshock.checkers.decision import Decision
from foreshock.checkers.entries import Entry
from foreshock.checkers.fast_paths import Finding
from foreshock.checkers.models.register import CasRegister, Register
from foreshock.checkers.search import SearchResult
from foreshock.harness.verdict import Verdict

Histories = Sequence[list[Entry]]


def small_histories(
    seed: int, count: int, *, cas: float, distinct: float = 0.95, crash: float = 0.15
) -> list[list[Entry]]:
    """Small register histories of every kind, by a seed."""
    rng = random.Random(seed)
    return [
        random_register_history(
            rng,
            updates=5,
            cas=cas,
            distinct=rng.random() < distinct,
            ties=rng.random() < 0.6,
            crash=rng.choice([0, 2 * crash]),
        )
        for _ in range(count)
    ]


def wrong_zones(decide: Callable[[OperationColumns], Any], histories: Histories) -> int:
    """How many decisions of the zones are wrong."""
    decisions = decide(columns_of_entries(dict(enumerate(histories)))).decisions
    return sum(
        decision != Decision.NOT_APPLICABLE
        and (decision == Decision.VALID) != is_linearizable(history, Register())
        for decision, history in zip(decisions, histories, strict=True)
    )


def wrong_clusters(decide: Callable[..., Mapping[int, Finding]], histories: Histories) -> int:
    """How many decisions of the clusters are wrong."""
    found = decide(columns_of_entries(dict(enumerate(histories))), range(len(histories)))
    return sum(
        (finding.decision == Decision.VALID) != is_linearizable(histories[key], CasRegister())
        for key, finding in found.items()
    )


def wrong_searches(search: Callable[..., SearchResult], histories: Histories) -> int:
    """How many verdicts of the search are wrong."""
    return sum(
        (search(history, CasRegister(), limits()).verdict == Verdict.VALID)
        != is_linearizable(history, CasRegister())
        for history in histories
    )
