"""The compiled search against the plain one and against the oracle; its limits; and that it can be interpreted."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from tests.checkers.model_histories import THINGS, random_history
from tests.checkers.oracle import is_legal_order, is_linearizable
from tests.checkers.random_histories import (
    columns_of_entries,
    legal_register_history,
    limits,
    mutated,
    random_register_history,
)

from foreshock.checkers import kernel_search
from foreshock.checkers.decision import Decision
from foreshock.checkers.encoding import encode_entries, encode_keys
from foreshock.checkers.entries import NEVER, Entry, crash
from foreshock.checkers.fast_paths.clusters import CLUSTERS
from foreshock.checkers.first_impossible import deepest_of
from foreshock.checkers.kernel_search import KernelSearch, Prepared
from foreshock.checkers.models.register import CasRegister, Register
from foreshock.checkers.search import Limits, SearchResult, search
from foreshock.harness.errors import PlugInError
from foreshock.harness.model import UNKNOWN, Model
from foreshock.harness.registry import Kind, load
from foreshock.harness.verdict import Verdict


def compiled(history: list[Entry], model: Model, seconds: float = 60) -> SearchResult:
    """The result, with the order that makes it valid."""
    search_ = KernelSearch(Prepared(encode_entries(history, model)))
    result = search_.run(limits(seconds))
    assert result is not None
    return replace(result, order=search_.order()) if result.verdict is Verdict.VALID else result


def write(number: int, call: int, value: Any, ret: int | None = None) -> Entry:
    return Entry(number, call, NEVER if ret is None else ret, "write", value, None, ret is None, number)


def read(number: int, call: int, ret: int, result: Any) -> Entry:
    return Entry(number, call, ret, "read", None, result, False, number)


def small_register_histories(seed: int, count: int) -> list[list[Entry]]:
    rng = random.Random(seed)
    return [
        random_register_history(
            rng,
            updates=5,
            cas=rng.choice([0, 0.5]),
            distinct=rng.random() < 0.5,
            ties=rng.random() < 0.6,
            crash=rng.choice([0, 0.3]),
        )
        for _ in range(count)
    ]


def test_it_agrees_with_the_oracle_and_its_orders_are_legal() -> None:
    verdicts = []
    for history in small_register_histories(11, 1500):
        result = compiled(history, CasRegister())
        assert (result.verdict is Verdict.VALID) == is_linearizable(history, CasRegister())
        if result.verdict is Verdict.VALID:
            assert is_legal_order(history, result.order, CasRegister())
        verdicts.append(result.verdict)
    assert min(verdicts.count(Verdict.VALID), verdicts.count(Verdict.INVALID)) > 300


def test_many_keys_made_ready_at_once_are_decided_as_each_by_itself() -> None:
    histories = small_register_histories(12, 600)
    columns = columns_of_entries(dict(enumerate(histories)))
    prepared = Prepared(encode_keys(columns, range(len(histories)), CasRegister()))
    for key, history in enumerate(histories):
        result = KernelSearch(prepared, key).run(limits())
        assert result is not None
        by_itself = compiled(sorted(history, key=lambda entry: entry.call), CasRegister())
        assert (result.verdict, result.passed) == (by_itself.verdict, by_itself.passed)


@pytest.mark.parametrize("name", sorted(THINGS))
def test_it_agrees_with_the_plain_search_on_every_model(name: str) -> None:
    rng = random.Random(13)
    model = load(Kind.MODELS, name)()
    seen = set()
    for _ in range(150):
        history = random_history(rng, name)
        plain, result = search(history, model, limits()), compiled(history, model)
        assert result.verdict is plain.verdict
        assert result.deepest is None or result.passed == plain.passed
        seen.add(result.verdict)
    assert seen == {Verdict.VALID, Verdict.INVALID}


def test_where_every_order_ends_is_told_as_the_plain_search_tells_it() -> None:
    compared = 0
    for history in small_register_histories(14, 800):
        plain = search(history, CasRegister(), limits()).deepest
        if plain is None:
            continue
        found = deepest_of(encode_entries(history, CasRegister()), limits())
        assert found is not None
        compared += 1
        assert found.impossible == plain.impossible
        assert set(found.states)
        assert set(found.states) <= set(plain.states)
        assert found.linearized <= set(found.pending)
        part = [crash(e) if e.ret >= history[found.impossible].ret else e for e in history]
        assert is_legal_order(part, found.prefix, CasRegister())
    assert compared > 200


@pytest.mark.parametrize("processes", [6, 70, 150])
def test_long_histories_of_many_processes_and_wide_masks(processes: int) -> None:
    rng = random.Random(processes)
    verdicts = []
    for turn in range(12):
        history = legal_register_history(rng, 400, processes=processes, cas=rng.choice([0, 0.4]))
        if turn % 2:
            history = mutated(rng, history)
        search_ = KernelSearch(Prepared(encode_entries(history, CasRegister())))
        result = search_.run(limits(), 50_000)
        if result is None:
            continue  # illegal with so many at once: too many orders to try
        verdicts.append(result.verdict)
        columns = columns_of_entries({0: history})
        by_clusters = CLUSTERS.decide(columns, [0])[0].decision
        assert (result.verdict is Verdict.VALID) == (by_clusters is Decision.VALID)
        if result.verdict is Verdict.VALID:
            assert is_legal_order(history, search_.order(), CasRegister())
    assert verdicts.count(Verdict.VALID) >= 6


def hard_history(writes: int) -> list[Entry]:
    """Illegal, and every choice of which pending writes took effect, and in which order, must be seen to be so."""
    history = [write(n, n, n % 4, 1000 + n) for n in range(writes)]
    history += [read(writes + n, 200 + 2 * n, 201 + 2 * n, n % 3) for n in range(6)]
    return [*history, read(900, 400, 401, 3), read(901, 402, 403, 9)]


def test_a_search_that_outgrows_its_first_memory_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_search, "_CAPACITY_MIN", 4)
    rng = random.Random(15)
    for history, verdict in (
        (hard_history(16), Verdict.INVALID),
        (legal_register_history(rng, 2000, processes=8, cas=0.3), Verdict.VALID),
    ):
        result = compiled(history, CasRegister())
        assert result.verdict is verdict
        assert result.configurations > 100


def test_it_can_be_run_in_slices() -> None:
    whole = compiled(hard_history(16), Register())
    sliced = KernelSearch(Prepared(encode_entries(hard_history(16), Register())))
    results = []
    while not results or results[-1] is None:
        results.append(sliced.run(limits(), 5))
    assert len(results) > 3
    assert results[-1] == whole


def endless_history() -> list[Entry]:
    """So many compare-and-sets at once that nobody can try all orders, and a read that none of them can explain."""
    rng = random.Random(16)
    history = [write(0, 0, 0, 1)]
    history += [
        Entry(n, 2, 1000 + n, "cas", [rng.randrange(8), rng.randrange(8)], None, False, n)
        for n in range(1, 41)
    ]
    return [
        *history,
        read(50, 3, 2000, 9),
        Entry(51, 3, NEVER, "cas", [9, 9], None, True, 51),
        write(52, 3000, 9),
    ]


@pytest.mark.usefixtures("processor_time")
def test_the_deadline_ends_a_search_inside_the_kernel() -> None:
    started = time.monotonic()
    result = compiled(endless_history(), CasRegister(), seconds=0.3)
    assert result.verdict is Verdict.UNKNOWN
    assert result.stopped == "the deadline passed"
    assert result.configurations > 0
    assert time.monotonic() - started < 20


def wide_history(crashed: int) -> list[Entry]:
    """So many writes that nobody heard of again, of few values, among reads that all begin before any ends."""
    history = [write(n, n, n % 7) for n in range(crashed)]
    return history + [read(crashed + n, crashed + n, 10 * crashed + n, n % 9) for n in range(crashed // 10)]


def test_what_crashed_operations_do_is_asked_once_for_all_that_do_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would go on for minutes, were each of them asked about by itself."""
    search_ = KernelSearch(Prepared(encode_entries(wide_history(4000), Register())))
    result = search_.run(limits(20))
    assert result is not None
    assert result.verdict is Verdict.INVALID
    assert search_.configurations < 5_000


def test_a_search_of_wide_windows_is_asked_sooner_whether_to_stop() -> None:
    narrow = KernelSearch(Prepared(encode_entries(hard_history(8), Register())))
    wide = KernelSearch(Prepared(encode_entries(wide_history(4000), Register())))
    assert wide._slice < narrow._slice


def test_an_interruption_ends_a_search() -> None:
    stop = threading.Event()
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        if len(asked) == 5:
            stop.set()
        return stop.is_set()

    bound = Limits(time.monotonic_ns() + 60 * 10**9, 1 << 31, should_stop)
    result = KernelSearch(Prepared(encode_entries(endless_history(), CasRegister()))).run(bound)
    assert result is not None
    assert (result.verdict, result.stopped) == (Verdict.UNKNOWN, "it was interrupted")


def test_the_memory_limit_ends_a_search_before_it_is_exceeded() -> None:
    limit = 4 << 20
    search_ = KernelSearch(Prepared(encode_entries(endless_history(), CasRegister())))
    result = search_.run(Limits(time.monotonic_ns() + 60 * 10**9, limit))
    assert result is not None
    assert (result.verdict, result.stopped) == (Verdict.UNKNOWN, "its memory limit was reached")
    assert search_.bytes_used <= limit


class Growing:
    """A model with a state for each operation, so that what is tabulated costs memory."""

    name = "growing"

    def initial(self) -> Any:
        return ()

    def is_read(self, f: str) -> bool:
        return False

    def step(self, state: Any, f: str, value: Any, result: Any) -> Any:
        return (*state, value)

    def describe(self, f: str, value: Any, result: Any) -> str:
        return f


def test_the_memory_of_the_states_of_a_model_counts() -> None:
    history = [Entry(n, 0, 1000 + n, "f", n, None, False, n) for n in range(300)]
    result = KernelSearch(Prepared(encode_entries(history, Growing()))).run(
        Limits(time.monotonic_ns() + 60 * 10**9, 1 << 19)
    )
    assert result is not None
    assert (result.verdict, result.stopped) == (Verdict.UNKNOWN, "its memory limit was reached")


def test_a_model_whose_state_cannot_be_hashed_is_named() -> None:
    class Listing(Growing):
        def step(self, state: Any, f: str, value: Any, result: Any) -> Any:
            return [value]

    with pytest.raises(PlugInError, match="cannot be hashed"):
        compiled([Entry(0, 0, 1, "f", 1, None, False, 0)], Listing())


def test_no_operation_at_all_is_legal() -> None:
    crashed = Entry(0, 0, NEVER, "write", 1, UNKNOWN, True, 0)
    for history in ([], [crashed]):
        assert compiled(history, Register()).verdict is Verdict.VALID


def test_the_kernels_mean_the_same_as_plain_python() -> None:
    program = (
        "from tests.checkers.test_kernel_search import *\n"
        "from foreshock.checkers.kernels.search_kernel import search_on\n"
        "assert not hasattr(search_on, 'py_func')\n"
        "for history in [*small_register_histories(17, 150), hard_history(8)]:\n"
        "    result = compiled(history, CasRegister())\n"
        "    print(result.verdict, result.configurations, result.order)\n"
    )
    interpreted = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, "FORESHOCK_KERNELS": "interpreted"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    here = [
        compiled(history, CasRegister()) for history in [*small_register_histories(17, 150), hard_history(8)]
    ]
    assert interpreted == [f"{r.verdict} {r.configurations} {r.order}" for r in here]
