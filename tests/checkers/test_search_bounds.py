"""What the search does at its very bounds, what it says of where it ended, and what each of its rules saves."""

from __future__ import annotations

import random

import pytest
from tests.checkers.oracle import is_legal_order
from tests.checkers.random_histories import limits, random_register_history

from foreshock.checkers import search as search_module
from foreshock.checkers.entries import Entry, crash
from foreshock.checkers.models.register import CasRegister
from foreshock.checkers.search import Limits, Search
from foreshock.harness.model import Model
from foreshock.harness.verdict import Verdict


class Bare:
    """A register of which the search knows nothing but the rules for every model."""

    name = "bare"
    initial = CasRegister().initial
    is_read = CasRegister().is_read
    step = CasRegister().step
    describe = CasRegister().describe


def at_once(count: int) -> list[Entry]:
    """Writes of as many values, all at the same time."""
    return [Entry(number, 0, 10, "write", number, process=number) for number in range(count)]


def test_a_deadline_has_passed_at_its_very_nanosecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module.time, "monotonic_ns", lambda: 100)
    assert Limits(100, 0).exceeded() == "the deadline passed"
    assert Limits(101, 0).exceeded() == ""
    assert Limits(101, 0, lambda: True).exceeded() == "it was interrupted"


def test_a_search_stops_as_soon_as_its_budget_is_used_up() -> None:
    search = Search([*at_once(4), Entry(9, 20, 30, "read", None, 77)], CasRegister())
    assert search.configurations == 1
    assert search.run(limits(), 0) is None
    assert search.configurations == 1
    result = search.run(limits(), 1_000_000)
    assert result is not None
    assert result.verdict is Verdict.INVALID


def test_what_a_search_holds_is_told_by_its_configurations_and_the_width_of_its_masks() -> None:
    search = Search(at_once(27), CasRegister())
    search.run(limits(), 50)
    assert search.configurations > 1
    configurations = search.configurations * (search_module._CONFIGURATION_BYTES + 27 // 4)
    assert search.bytes_used == configurations + search._steps.sizes.bytes_used


@pytest.mark.parametrize(("count", "every"), [(1, 512), (25, 250_000 // 626), (600, 1)])
def test_the_more_is_pending_the_sooner_a_search_asks_whether_to_stop(count: int, every: int) -> None:
    search = Search(at_once(count), CasRegister())
    assert search._ask_every == every
    assert isinstance(search._ask_every, int)


def test_a_search_that_is_stopped_before_it_began_has_got_nowhere() -> None:
    result = Search(at_once(3), CasRegister()).run(Limits(0, 1 << 30))
    assert result is not None
    assert (result.verdict, result.passed, result.returns) == (Verdict.UNKNOWN, 0, 3)


def test_all_states_before_the_impossible_return_are_told_up_to_a_bound() -> None:
    history = [*at_once(3), Entry(3, 20, 30, "read", None, 77)]
    result = Search(history, CasRegister()).run(limits())
    assert result is not None
    assert result.deepest is not None
    assert set(result.deepest.states) == {0, 1, 2}
    search = Search(at_once(3), CasRegister())
    for state in range(70):
        search._remember_deepest(0, 0, 0, state, None)
    assert len(search._deepest_states) == 64


def test_where_every_order_ends_is_told_without_contradiction() -> None:
    rng = random.Random(4)
    seen = 0
    for _ in range(300):
        history = random_register_history(
            rng, cas=0.4, crash=rng.choice([0, 0.3, 0.6]), ties=rng.random() < 0.5
        )
        result = Search(history, CasRegister()).run(limits())
        assert result is not None
        if (deepest := result.deepest) is None:
            continue
        ret = history[deepest.impossible].ret
        returned = {o for o, entry in enumerate(history) if not entry.crashed and entry.ret < ret}
        assert returned <= set(deepest.prefix)
        assert deepest.impossible not in deepest.prefix
        assert deepest.linearized == frozenset(deepest.prefix) & frozenset(deepest.pending)
        # What had not returned by then may still have to happen, or never.
        known = [entry if o in deepest.prefix else crash(entry) for o, entry in enumerate(history)]
        assert is_legal_order(known, deepest.prefix, CasRegister())
        seen += bool(deepest.linearized)
    assert seen > 20


@pytest.mark.parametrize(
    ("model", "cas", "crashed", "configurations"),
    [
        (CasRegister(), 0.0, 0.0, 1537),
        (CasRegister(), 0.6, 0.6, 454),
        (Bare(), 0.0, 0.5, 601),
        (Bare(), 0.6, 0.0, 1103),
        (Bare(), 0.6, 0.6, 469),
    ],
)
def test_the_search_tries_as_little_as_its_rules_allow(
    model: Model, cas: float, crashed: float, configurations: int
) -> None:
    """Numbers as they were counted: whoever changes a rule sees here what that saves or costs."""
    rng = random.Random(8)
    tried = 0
    for _ in range(200):
        history = random_register_history(
            rng,
            updates=7,
            reads=3,
            cas=cas,
            crash=crashed,
            distinct=rng.random() < 0.5,
            ties=rng.random() < 0.5,
        )
        result = Search(history, model).run(limits())
        assert result is not None
        tried += result.configurations
    assert tried == configurations
