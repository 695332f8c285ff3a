"""The quick judges of mutants: every procedure on a few hundred small histories of each model, against the oracle."""

from __future__ import annotations

import random
from functools import cache

import pytest
from tests.checkers.model_histories import is_legal
from tests.checkers.soak import MODELS, deciders_of, histories_of

from foreshock.checkers.entries import Entry
from foreshock.harness.model import Model
from foreshock.harness.registry import Kind, load

COUNT = 150


@cache
def model_of(name: str) -> Model:
    made: Model = load(Kind.MODELS, name)()
    return made


@cache
def judged_histories(name: str) -> list[tuple[list[Entry], bool]]:
    histories = histories_of(random.Random(f"judge {name}"), name, COUNT)
    return [(history, is_legal(history, model_of(name))) for history in histories]


@pytest.mark.parametrize(
    ("name", "decider"), [(name, decider) for name in MODELS for decider in deciders_of(model_of(name))]
)
def test_it_says_what_the_oracle_says(name: str, decider: str) -> None:
    judged = judged_histories(name)
    said = deciders_of(model_of(name))[decider]([history for history, _ in judged], model_of(name))
    assert [
        (history, legal)
        for (history, legal), answer in zip(judged, said, strict=True)
        if answer is not None and answer is not legal
    ] == []
    assert any(answer is not None for answer in said)
