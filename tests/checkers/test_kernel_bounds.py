"""What the rules of the compiled search save, what it does at its bounds, and that it can be stopped anywhere."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from tests.checkers.oracle import is_legal_order, is_linearizable
from tests.checkers.random_histories import (
    LegalRegister,
    legal_register_history,
    limits,
    mutated,
)
from tests.checkers.test_kernel_prepare import busy_history, compare, random_histories
from tests.checkers.test_search_bounds import Bare

from foreshock.checkers import kernel_search
from foreshock.checkers.encoding import encode_entries
from foreshock.checkers.entries import NEVER, Entry
from foreshock.checkers.kernel_search import KernelSearch, Prepared
from foreshock.checkers.kernels import compiling, layout
from foreshock.checkers.models.register import CasRegister
from foreshock.checkers.search import Search
from foreshock.harness.model import UNKNOWN, Model
from foreshock.harness.verdict import Verdict


def test_orders_of_wide_masks_are_legal() -> None:
    rng = random.Random(70)
    for _ in range(3):
        history = LegalRegister(rng, 70, cas=0.2, crash=0.0).run(90)
        search = KernelSearch(Prepared(encode_entries(history, CasRegister())))
        result = search.run(limits())
        assert result is not None
        assert result.verdict is Verdict.VALID
        assert is_legal_order(history, search.order(), CasRegister())


@pytest.mark.parametrize(
    ("model", "count"),
    [(Bare(), 3), (CasRegister(), 3), (CasRegister(), 64), (CasRegister(), 65), (CasRegister(), 130)],
)
@pytest.mark.parametrize("crashed", [True, False])
def test_each_write_has_its_effect_once_however_many_are_pending(
    model: Model, count: int, crashed: bool
) -> None:
    history = [
        Entry(n, n, NEVER if crashed else 5000 + n, "write", n, None, crashed, n) for n in range(count)
    ]
    for reads in (
        [count - 1, 0, 1],
        [count - 1, 0, count - 1],
        [0, count - 1, 0],
        [1, count - 2, count - 1, 1],
    ):
        read = [
            Entry(1000 + n, 1000 + 2 * n, 1001 + 2 * n, "read", None, value, process=1000 + n)
            for n, value in enumerate(reads)
        ]
        search = KernelSearch(Prepared(encode_entries([*history, *read], model)))
        compare(search._prepared, 0)
        result = search.run(limits())
        assert result is not None
        legal = (
            is_linearizable([*history, *read], CasRegister()) if count < 4 else len(set(reads)) == len(reads)
        )
        assert (result.verdict is Verdict.VALID) == legal
        if legal:
            assert is_legal_order([*history, *read], search.order(), CasRegister())


@pytest.mark.parametrize("others", [1, 58, 60, 64, 130])
def test_what_nobody_observes_costs_nothing_however_much_of_it_is_pending(others: int) -> None:
    observed = [Entry(2000 + n, n % 3, 3000 + n, "write", n, process=2000 + n) for n in range(6)]
    observed += [Entry(2100 + n, 900 + n, 3100 + n, "read", None, n % 6, process=2100 + n) for n in range(8)]
    observed.append(Entry(2200, 950, 4000, "read", None, 99, process=2200))
    unobserved = [Entry(n, 0, 1000 + n, "write", 5000 + n, process=n) for n in range(others)]
    counts = []
    for history in (observed, [*unobserved, *observed]):
        search = KernelSearch(Prepared(encode_entries(history, CasRegister())))
        result = search.run(limits())
        assert result is not None
        assert result.verdict is Verdict.INVALID
        counts.append(result.configurations)
    assert counts == [64, 64]


def test_so_many_states_are_kept_of_the_furthest_level_and_no_more() -> None:
    history = [Entry(n, 0, 100 + n, "write", n, process=n) for n in range(70)]
    history.append(Entry(70, 0, 50, "read", None, 99, process=70))
    search = KernelSearch(Prepared(encode_entries(history, Bare())))
    assert search.run(limits(), 80) is None
    assert search._registers[layout.DEEPEST_STATES] == layout.DEEPEST_STATES_MAX
    states = search._windows.deepest_states.tolist()
    assert len(set(states)) == len(states) == layout.DEEPEST_STATES_MAX


def test_crashed_swaps_that_lead_back_are_not_tried_again() -> None:
    """Numbers as they were counted."""
    rng = random.Random(40)
    tried = 0
    for _ in range(100):
        history = busy_history(rng, 0.9, rng.choice([0.5, 0.8]), 9)
        result = KernelSearch(Prepared(encode_entries(history, Bare()))).run(limits())
        assert result is not None
        assert (result.verdict is Verdict.VALID) == is_linearizable(history, CasRegister())
        tried += result.configurations
    assert tried == 367


def tried(model: Model, seed: int, count: int = 400) -> list[Any]:
    """How many configurations were entered, how far it got and how many states there were, all in all."""
    sums = np.zeros(3, dtype=np.int64)
    for history in random_histories(seed, count, updates=8, reads=4):
        search = KernelSearch(Prepared(encode_entries(history, model)))
        result = search.run(limits())
        assert result is not None
        states = int(search._registers[layout.DEEPEST_STATES])
        sums += (result.configurations, result.passed, states)
    return sums.tolist()


@pytest.mark.parametrize(
    ("model", "seed", "sums"),
    [(CasRegister(), 31, [548, 814, 363]), (Bare(), 32, [2062, 1115, 489])],
)
def test_the_kernel_tries_as_little_as_its_rules_allow(model: Model, seed: int, sums: list[int]) -> None:
    """Numbers as they were counted: whoever changes a rule sees here what that saves or costs."""
    assert tried(model, seed) == sums


@pytest.mark.parametrize(
    ("model", "cas", "crash", "configurations"),
    [
        (CasRegister(), 0.2, 0.0, 661),
        (CasRegister(), 0.6, 0.0, 1270),
        (CasRegister(), 0.6, 0.4, 839),
        (CasRegister(), 1.0, 0.0, 911),
        (CasRegister(), 1.0, 0.4, 752),
        (Bare(), 0.5, 0.4, 764),
    ],
)
def test_each_rule_saves_what_it_saves_where_much_is_at_once(
    model: Model, cas: float, crash: float, configurations: int
) -> None:
    """Numbers as they were counted, of searches that say what the plain one says."""
    rng = random.Random(34)
    tried = 0
    for _ in range(100):
        history = busy_history(rng, cas, crash)
        search = KernelSearch(Prepared(encode_entries(history, model)))
        result = search.run(limits())
        plain = Search(history, model).run(limits())
        assert result is not None
        assert plain is not None
        assert result.verdict is plain.verdict
        if result.verdict is Verdict.VALID:
            assert is_legal_order(history, search.order(), CasRegister())
        tried += result.configurations
    assert tried == configurations


def drawn_out(rng: random.Random, cas: float, crash: float) -> list[Entry]:
    """Twenty-four operations, of which some are over before others begin."""
    return [
        entry._replace(
            call=entry.call + 6 * (place // 3),
            ret=entry.ret if entry.crashed else entry.ret + 6 * (place // 3),
        )
        for place, entry in enumerate(busy_history(rng, cas, crash, 24))
    ]


@pytest.mark.parametrize(
    ("cas", "crash", "configurations"), [(0.3, 0.0, 871), (0.4, 0.4, 522), (0.7, 0.0, 784), (0.7, 0.2, 636)]
)
def test_each_rule_saves_what_it_saves_in_longer_histories(
    cas: float, crash: float, configurations: int
) -> None:
    """The same of histories in which values are still to be observed by those that come later."""
    rng = random.Random(38)
    tried = 0
    for _ in range(60):
        search = KernelSearch(Prepared(encode_entries(drawn_out(rng, cas, crash), CasRegister())))
        assert search.run(limits(), 3_000) is not None
        tried += search.configurations
    assert tried == configurations


def by_turns(rng: random.Random, crash: float) -> list[Entry]:
    """Values that have their time each, so that what crashed cannot be noticed any more from somewhere on."""
    history: list[Entry] = []
    for turn in range(5):
        values = [10 * turn, 10 * turn + 1]
        for kind in rng.sample(["write", "write", "cas", "read", "read"], 5):
            call = 6 * turn + rng.randrange(6)
            ret = call + rng.randrange(1, 7)
            crashed = kind != "read" and rng.random() < crash
            value: Any = rng.choice(values)
            entry = Entry(len(history), 2 * call, 2 * ret + 1, kind, value, None, False, len(history))
            if kind == "cas":
                entry = entry._replace(value=[rng.choice([*values, 10 * turn - 9]), value])
            if kind == "read":
                entry = entry._replace(value=None, result=value)
            if crashed:
                entry = entry._replace(ret=NEVER, crashed=True, result=UNKNOWN)
            if rng.random() < (0.4 if kind == "read" else 0.8):
                history.append(entry._replace(number=len(history), process=len(history)))
    return history


@pytest.mark.parametrize(("crash", "valid", "configurations"), [(0.5, 18, 545), (0.9, 31, 422)])
def test_what_cannot_be_noticed_any_more_comes_back_with_its_level(
    crash: float, valid: int, configurations: int
) -> None:
    """A search that goes back finds pending again what had expired, and slots are for others after that."""
    rng = random.Random(41)
    tried = legal = 0
    for _ in range(150):
        history = by_turns(rng, crash)
        prepared = Prepared(encode_entries(history, CasRegister()))
        compare(prepared, 0)
        result = KernelSearch(prepared).run(limits())
        plain = Search(history, CasRegister()).run(limits())
        assert result is not None
        assert plain is not None
        assert result.verdict is plain.verdict
        legal += result.verdict is Verdict.VALID
        tried += result.configurations
    assert (legal, tried) == (valid, configurations)


def test_a_slot_is_free_again_when_its_crashed_operation_expired() -> None:
    history = []
    for turn in range(5):
        at = 10 * turn
        history += [
            Entry(2 * turn, at, NEVER, "write", turn, None, True, 2 * turn),
            Entry(2 * turn + 1, at + 1, at + 2, "read", None, turn, process=2 * turn + 1),
        ]
    prepared = Prepared(encode_entries(history, CasRegister()))
    assert prepared.operations(0).sizes[layout.CRASHED_SLOTS] == 1
    result = KernelSearch(prepared).run(limits())
    assert result is not None
    assert result.verdict is Verdict.VALID


def test_each_rule_saves_what_it_saves_where_a_real_register_swaps() -> None:
    rng = random.Random(39)
    tried = [0, 0]
    for turn in range(60):
        history = legal_register_history(rng, 60, processes=10, cas=0.9)
        if turn % 2:
            history = mutated(rng, history)
        search = KernelSearch(Prepared(encode_entries(history, CasRegister())))
        assert search.run(limits(), 3_000) is not None
        tried[turn % 2] += search.configurations
    assert tried == [473, 255]


def test_a_search_that_begins_with_no_room_grows_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(35)
    for turn in range(60):
        prepared = Prepared(
            encode_entries(busy_history(rng, 0.5, 0.3), Bare() if turn % 2 else CasRegister())
        )
        with monkeypatch.context() as patched:
            whole = KernelSearch(prepared).run(limits())
            patched.setattr(kernel_search, "_CAPACITY_MIN", 2 + turn % 5)
            patched.setattr(kernel_search, "_CAPACITY_FIRST", 1)
            patched.setattr(kernel_search, "_TABLE_MIN", 2)
            search = KernelSearch(prepared)
            assert search.run(limits()) == whole
            used = search.configurations
            assert used < len(search._memo.configurations) <= max(4 * used, 8)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_a_stack_has_room_for_all_that_is_pending_and_a_turn_for_crashed_ones(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    history = [Entry(n, 0, 100 + n, "write", n, process=n) for n in range(count)]
    history += [
        Entry(98, 0, NEVER, "write", 98, None, True, 98),
        Entry(99, 200, 201, "read", None, 99, process=99),
    ]
    prepared = Prepared(encode_entries(history, Bare()))
    whole = KernelSearch(prepared).run(limits())
    monkeypatch.setattr(kernel_search, "_CAPACITY_FIRST", 1)
    for room in range(2, 14):
        monkeypatch.setattr(kernel_search, "_CAPACITY_MIN", room)
        assert KernelSearch(prepared).run(limits()) == whole


@pytest.mark.parametrize("room", [2, 3, 4, 5, 6, 9])
def test_a_stack_with_little_room_never_overflows(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    monkeypatch.setattr(kernel_search, "_CAPACITY_MIN", room)
    monkeypatch.setattr(kernel_search, "_CAPACITY_FIRST", 1)
    for count in range(2, 8):
        history = [Entry(n, 0, 100 + n, "write", n, process=n) for n in range(count)]
        history.append(Entry(99, 0, 50, "read", None, 99, process=99))
        search = KernelSearch(Prepared(encode_entries(history, Bare())))
        result = search.run(limits())
        assert result is not None
        # One for each set of writes and the last of them, and one for none.
        assert result.configurations == 1 + count * 2 ** (count - 1)


def test_a_search_stops_as_soon_as_its_budget_is_used_up() -> None:
    rng = random.Random(36)
    for _ in range(20):
        search = KernelSearch(Prepared(encode_entries(busy_history(rng, 0.3, 0.2), Bare())))
        for budget in range(1, 50):
            if search.run(limits(), 1) is not None:
                break
            assert search.configurations == budget


class ToldOnce(np.ndarray[Any, Any]):
    """Registers in which the search finds itself told to stop the ``asks``-th time that it looks; then never again."""

    asks = 0

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int) and key == layout.STOP:
            self.asks -= 1
            return 1 if self.asks == 0 else 0
        return super().__getitem__(key)


def stop_at_every_moment() -> None:
    """Wherever a search is told to stop, it goes on from there and says the same. Kernels have to be interpreted."""
    rng = random.Random(37)
    for turn in range(8):
        model = Bare() if turn % 2 else CasRegister()
        prepared = Prepared(encode_entries(busy_history(rng, 0.4, 0.4, 8), model))
        whole = KernelSearch(prepared).run(limits())
        assert whole is not None
        asks, stopped = 1, True
        while stopped:
            search = KernelSearch(prepared)
            registers = search._registers.view(ToldOnce)
            search._registers = registers
            registers.asks = asks
            result = search.run(limits())
            assert result is not None
            assert (result.verdict, result.passed) == (whole.verdict, whole.passed)
            # What is entered twice does no harm, but it is entered once more at most for each time that it is told.
            assert result.configurations - whole.configurations in range(3)
            assert np.all(search._windows.tried == 0)
            stopped = registers.asks <= 0
            asks += 1
        assert asks > 1


def test_a_search_goes_on_from_wherever_it_was_told_to_stop() -> None:
    if compiling.INTERPRETED:
        stop_at_every_moment()
        return
    program = "from tests.checkers.test_kernel_bounds import stop_at_every_moment; stop_at_every_moment()"
    environment = {**os.environ, "FORESHOCK_KERNELS": "interpreted"}
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_for_a_model_of_which_it_knows_nothing_it_tries_what_the_plain_search_tries() -> None:
    for history in random_histories(33, 100):
        plain, search = Search(history, Bare()), KernelSearch(Prepared(encode_entries(history, Bare())))
        expected, result = plain.run(limits()), search.run(limits())
        assert expected is not None
        assert result is not None
        assert (result.verdict, result.passed) == (expected.verdict, expected.passed)
        if result.verdict is Verdict.INVALID:
            assert result.configurations == expected.configurations
        if expected.deepest is not None and result.deepest is not None:
            assert set(result.deepest.states) == set(expected.deepest.states)
            assert result.deepest.impossible == expected.deepest.impossible
