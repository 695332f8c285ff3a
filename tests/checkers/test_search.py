from __future__ import annotations

import random
import time
from collections.abc import Hashable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.checkers.oracle import is_legal_order, is_linearizable
from tests.checkers.random_histories import (
    legal_register_history,
    limits,
    random_positions,
    random_register_history,
)

from foreshock.checkers.entries import NEVER, Entry
from foreshock.checkers.models.lock import FencedMutex, Mutex, OwnerMutex
from foreshock.checkers.models.register import CasRegister, Register
from foreshock.checkers.search import Limits, Search, search
from foreshock.harness.errors import PlugInError, UsageError
from foreshock.harness.model import ILLEGAL, UNKNOWN, Illegal, Model
from foreshock.harness.verdict import Verdict


class Plain:
    """A cas-register as a user would write it: nothing but the four methods, so nothing but the general rules."""

    name = "plain"

    def initial(self) -> Hashable:
        return None

    def is_read(self, f: str) -> bool:
        return f == "read"

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        if f == "read":
            return state if result == state else ILLEGAL
        if f == "cas":
            return value[1] if value[0] == state else ILLEGAL
        return value  # type: ignore[no-any-return]

    def describe(self, f: str, value: Any, result: Any) -> str:
        return f"{f} {value} {result}"


class Queue:
    """A first-in-first-out queue: a state that is a whole structure."""

    name = "queue"

    def initial(self) -> Hashable:
        return ()

    def is_read(self, f: str) -> bool:
        return False

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        if f == "enqueue":
            return (*state, value)
        if not state or (result is not UNKNOWN and state[0] != result):
            return ILLEGAL
        return state[1:]  # type: ignore[no-any-return]

    def describe(self, f: str, value: Any, result: Any) -> str:
        return f"{f} {value or result}"


def agrees_with_the_oracle(entries: list[Entry], model: Model) -> bool:
    """Assert that the search says what the oracle says, with an order that can be replayed; returns the verdict."""
    legal = is_linearizable(entries, model)
    result = search(entries, model, limits())
    assert result.verdict is (Verdict.VALID if legal else Verdict.INVALID), entries
    if legal:
        assert is_legal_order(entries, result.order, model), (entries, result.order)
    else:
        assert result.deepest is not None
    return legal


@pytest.mark.parametrize("model", [CasRegister(), Plain()], ids=["pruned", "plain"])
@pytest.mark.parametrize("crash", [0.0, 0.3, 0.8])
def test_agrees_with_the_oracle_on_registers(model: Model, crash: float) -> None:
    rng = random.Random(f"{model.name} {crash}")
    legal = sum(
        agrees_with_the_oracle(
            random_register_history(
                rng,
                cas=rng.choice([0, 0.5]),
                distinct=rng.random() < 0.5,
                ties=rng.random() < 0.5,
                crash=crash,
                reads=3,
            ),
            model,
        )
        for _ in range(700)
    )
    assert 70 < legal < 690  # both answers were tried


@pytest.mark.parametrize("model", [Mutex(), OwnerMutex(), FencedMutex()], ids=lambda model: model.name)
def test_agrees_with_the_oracle_on_locks(model: Model) -> None:
    rng = random.Random(model.name)
    verdicts = []
    for _ in range(700):
        entries = []
        for number, (call, ret) in enumerate(
            random_positions(rng, rng.randint(1, 6), ties=rng.random() < 0.5)
        ):
            crashed, f = rng.random() < 0.3, rng.choice(["acquire", "release"])
            token = rng.randint(1, 4)
            result = UNKNOWN if crashed else {"token": token} if f == "acquire" else None
            value = (
                token if f == "release" and isinstance(model, FencedMutex) and rng.random() < 0.7 else None
            )
            process = rng.randint(0, 2)
            entries.append(Entry(number, call, NEVER if crashed else ret, f, value, result, crashed, process))
        verdicts.append(agrees_with_the_oracle(entries, model))
    assert set(verdicts) == {True, False}


def test_agrees_with_the_oracle_on_queues() -> None:
    rng = random.Random(11)
    verdicts = []
    for _ in range(700):
        entries = []
        for number, (call, ret) in enumerate(
            random_positions(rng, rng.randint(1, 6), ties=rng.random() < 0.5)
        ):
            crashed, f, item = rng.random() < 0.3, rng.choice(["enqueue", "dequeue"]), rng.randint(1, 2)
            value = item if f == "enqueue" else None
            result = UNKNOWN if crashed else item if f == "dequeue" else None
            entries.append(Entry(number, call, NEVER if crashed else ret, f, value, result, crashed))
        verdicts.append(agrees_with_the_oracle(entries, Queue()))
    assert set(verdicts) == {True, False}


OPERATIONS = st.one_of(
    st.tuples(st.just("read"), st.none(), st.sampled_from([None, 1, 2, 3])),
    st.tuples(st.just("write"), st.integers(1, 3), st.none()),
    st.tuples(st.just("cas"), st.tuples(st.sampled_from([None, 1, 2, 3]), st.integers(1, 3)), st.none()),
)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(st.lists(st.tuples(OPERATIONS, st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=6))
def test_agrees_with_the_oracle_on_whatever_hypothesis_finds(
    drawn: list[tuple[tuple[str, Any, Any], int, int, bool]],
) -> None:
    entries = [
        Entry(
            n,
            min(a, b),
            NEVER if crashed else max(a, b),
            f,
            value,
            UNKNOWN if crashed else result,
            crashed,
            n,
        )
        for n, ((f, value, result), a, b, crashed) in enumerate(drawn)
    ]
    agrees_with_the_oracle(entries, CasRegister())


def test_an_empty_history_is_valid() -> None:
    assert search([], Register(), limits()).verdict is Verdict.VALID


def test_a_crashed_write_may_take_effect_late_or_never() -> None:
    crashed = Entry(0, 0, NEVER, "write", 1, UNKNOWN, True)
    late = [crashed, Entry(1, 1, 2, "read", None, None), Entry(2, 3, 4, "read", None, 1)]
    assert search(late, Register(), limits()).verdict is Verdict.VALID
    assert search(late[:2], Register(), limits()).verdict is Verdict.VALID
    early = [Entry(1, 1, 2, "read", None, 1), crashed._replace(call=3)]
    assert search(early, Register(), limits()).verdict is Verdict.INVALID


def test_a_crashed_read_constrains_nothing() -> None:
    assert (
        search([Entry(0, 0, NEVER, "read", None, UNKNOWN, True)], Register(), limits()).verdict
        is Verdict.VALID
    )


def test_long_legal_histories_are_decided_in_one_go_and_the_order_replays() -> None:
    entries = legal_register_history(random.Random(3), 1500, processes=8)
    result = search(entries, CasRegister(), limits())
    assert result.verdict is Verdict.VALID
    assert is_legal_order(entries, result.order, CasRegister())


def test_depth_is_not_limited_by_recursion() -> None:
    entries = [Entry(i, 2 * i, 2 * i + 1, "write", i) for i in range(20_000)]
    assert search(entries, Register(), limits()).verdict is Verdict.VALID


def test_the_deepest_point_names_the_first_impossible_return() -> None:
    entries = [
        Entry(0, 0, 1, "write", 1),
        Entry(1, 2, 5, "write", 2),
        Entry(2, 6, 7, "read", None, 1),
        Entry(3, 8, 9, "read", None, 7),
    ]
    deepest = search(entries, Register(), limits()).deepest
    assert deepest is not None
    assert deepest.impossible == 2
    assert deepest.states == (2,)
    assert deepest.prefix == (0, 1)


def hard_history(width: int = 14) -> list[Entry]:
    """All orders of increments of a counter have to be tried before it is known that none ends with the total asked."""
    updates = [Entry(i, 0, 100, "cas", [i % 7, (i * 3 + 1) % 7]) for i in range(width)]
    return [
        *updates,
        *(Entry(width + i, 0, 100, "write", i % 7) for i in range(width)),
        Entry(99, 101, 102, "read", None, 9),
    ]


@pytest.mark.usefixtures("processor_time")
def test_gives_up_at_the_deadline_and_says_how_far_it_got() -> None:
    started = time.monotonic()
    result = search(hard_history(), CasRegister(), limits(seconds=0.2))
    assert time.monotonic() - started < 2
    assert result.verdict is Verdict.UNKNOWN
    assert "deadline" in result.stopped
    assert result.configurations > 0
    assert result.passed < result.returns


@pytest.mark.usefixtures("processor_time")
def test_five_hundred_operations_at_once_do_not_outlast_the_deadline() -> None:
    rng = random.Random(1)
    entries = [
        Entry(i, i, 10_000 + i, "write" if i % 2 else "read", i % 100, rng.randrange(100)) for i in range(500)
    ]
    started = time.monotonic()
    result = search(
        [*entries, Entry(999, 20_000, 20_001, "read", None, 7777)], Register(), limits(seconds=0.5)
    )
    assert result.verdict is Verdict.UNKNOWN
    assert time.monotonic() - started < 2


def test_gives_up_at_the_memory_limit() -> None:
    result = search(hard_history(), CasRegister(), limits(memory_bytes=1_000_000))
    assert result.verdict is Verdict.UNKNOWN
    assert "memory" in result.stopped


def test_gives_up_when_interrupted() -> None:
    interrupted = Limits(time.monotonic_ns() + 10**11, 1 << 30, lambda: True)
    assert "interrupted" in search(hard_history(), CasRegister(), interrupted).stopped


def test_a_search_run_in_slices_ends_as_one_run_in_one_go() -> None:
    entries = legal_register_history(random.Random(4), 1500, processes=6)
    sliced, slices = Search(entries, CasRegister()), 0
    while (result := sliced.run(limits(), 100)) is None:
        slices += 1
    assert slices > 1
    assert result == search(entries, CasRegister(), limits())


def test_thirty_crashed_writes_at_once_are_decided() -> None:
    entries = [Entry(i, i, NEVER, "write", i, UNKNOWN, True, i) for i in range(30)]
    entries += [Entry(100 + i, 100 + 2 * i, 101 + 2 * i, "read", None, i % 30) for i in range(31)]
    assert search(entries[:-1], Register(), limits(10)).verdict is Verdict.VALID
    assert search(entries, Register(), limits(10)).verdict is Verdict.INVALID


def test_a_state_that_cannot_be_hashed_is_the_plug_ins_fault() -> None:
    class Listed(Plain):
        def initial(self) -> Hashable:
            return []  # type: ignore[return-value]

    with pytest.raises(PlugInError, match="cannot be hashed"):
        search([Entry(0, 0, 1, "write", 1)], Listed(), limits())


def test_an_operation_that_the_model_does_not_know_is_a_wrong_use() -> None:
    with pytest.raises(UsageError, match="has no operation 'enqueue'"):
        search([Entry(0, 0, 1, "enqueue", 1)], Register(), limits())
    with pytest.raises(UsageError, match=r"a pair \[old, new\]"):
        search([Entry(0, 0, 1, "cas", 1)], CasRegister(), limits())
