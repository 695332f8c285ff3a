"""How old what gets returned was: the same as the checker of staleness finds, on histories of every kind."""

from __future__ import annotations

import random

import numpy as np
import pytest

from foreshock.checkers.staleness import ages_of
from foreshock.harness.history import History, Row
from foreshock.harness.operation import OperationType
from foreshock.reports import read_ages as module
from foreshock.reports.columns import columns_of
from foreshock.reports.read_ages import read_ages

OK, FAIL, INFO = OperationType.OK, OperationType.FAIL, OperationType.INFO


def random_history(seed: int, *, texts: bool = False) -> History:
    """Processes that put, delete and get a few keys; what gets return may be old, or from nowhere."""
    rng = random.Random(seed)
    events: list[tuple[int, int, int]] = []
    rows, written = [], {key: [None] for key in range(3)}
    for process in range(4):
        at = rng.randrange(50)
        for _ in range(40):
            took = rng.randrange(1, 40)
            f, key = rng.choice(("get", "get", "put", "delete")), rng.randrange(3)
            kind = rng.choices((OK, FAIL, INFO), (8, 1, 1))[0]
            value = result = None
            if f == "put":
                value = f"v{len(rows)}" if texts else len(rows) + 1
                written[key].append(value)
            elif f == "get" and kind is OK:
                result = rng.choice(written[key][-4:]) if rng.random() < 0.97 else -5
            events += [(at, 0, len(rows)), (at + took, 1, len(rows))]
            rows.append(
                Row(process + 4 * len(rows), f, key, value, result, kind, invoke_ns=at, complete_ns=at + took)
            )
            at += took + rng.randrange(1, 10)
    places = {(side, row): index for index, (_, side, row) in enumerate(sorted(events))}
    return History.of(
        row._replace(invoke_index=places[0, number], complete_index=places[1, number])
        for number, row in enumerate(rows)
    )


@pytest.mark.parametrize("texts", [False, True], ids=["numbers", "texts"])
def test_ages_are_those_of_the_checker(texts: bool) -> None:
    stale = 0
    for seed in range(60):
        history = random_history(seed, texts=texts)
        mine, theirs = read_ages(columns_of(history)), ages_of(history)
        assert mine.age_ns.tolist() == theirs.age_ns.tolist(), seed
        assert mine.age_versions.tolist() == theirs.age_versions.tolist(), seed
        assert mine.unknown == int((~theirs.known).sum()), seed
        stale += int((mine.age_ns > 0).sum())
    assert stale > 200


def test_too_many_updates_to_count_leave_the_oldest_uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_ages(columns_of(random_history(1)))
    monkeypatch.setattr(module, "PAIRS_MAX", 20)
    some = read_ages(columns_of(random_history(1)))
    counted = some.age_versions >= 0
    assert some.uncounted == np.count_nonzero(~counted) > 0
    assert some.age_versions[counted].tolist() == whole.age_versions[counted].tolist()
    assert some.age_ns.tolist() == whole.age_ns.tolist()


def test_a_history_without_updates_has_no_ages() -> None:
    history = History.of(
        [Row(0, "get", 1, None, None, OK, 0, 1, 0, 5), Row(0, "put", 1, 2, None, FAIL, 2, 3, 6, 7)]
    )
    ages = read_ages(columns_of(history))
    assert ages.age_ns.tolist() == [0]
    assert ages.unknown == 0
