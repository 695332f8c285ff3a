"""Fast paths within limits: what they would take too long for is left undecided. Steps are counted, not seconds."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from tests.checkers.oracle import is_linearizable
from tests.checkers.random_histories import columns_of_entries, limits

from foreshock.checkers.decision import Decision
from foreshock.checkers.entries import NEVER, UNNOTICED, Entry
from foreshock.checkers.fast_paths import appends, fast_paths_of
from foreshock.checkers.fast_paths.base import in_time
from foreshock.checkers.models import kv, work
from foreshock.checkers.models.counter import Counter
from foreshock.checkers.models.kv import Kv, work_max
from foreshock.checkers.models.kv_history import KvOfHistory
from foreshock.checkers.models.lock import FencedMutex, Mutex, OwnerMutex
from foreshock.checkers.models.prefixes import _Index
from foreshock.checkers.models.queues import FifoQueue, Stack
from foreshock.checkers.models.register import CasRegister, Register
from foreshock.checkers.models.sets import SetModel
from foreshock.checkers.models.shared_locks import Semaphore
from foreshock.checkers.models.work import ASK_EVERY, GaveUp, Work
from foreshock.checkers.search import Limits, search
from foreshock.harness.verdict import Verdict

BY_KEY = {
    "kv": (Kv(), "append", "a"),
    "counter": (Counter(), "increment", None),
    "set": (SetModel(), "add", 1),
    "fifo-queue": (FifoQueue(), "enqueue", 1),
    "stack": (Stack(), "push", 1),
    "semaphore": (Semaphore(), "acquire", None),
}
"""Models whose fast paths go key by key."""


def chain(texts: list[str], gets: int = 1) -> list[Entry]:
    """Appends one after another, and gets of all of it."""
    history = [Entry(n, 2 * n, 2 * n + 1, "append", text, None, False, n) for n, text in enumerate(texts)]
    count, whole = len(texts), "".join(texts)
    return history + [
        Entry(n, 2 * n, 2 * n + 1, "get", None, whole, False, n) for n in range(count, count + gets)
    ]


def two_letters(count: int, longest: int) -> list[str]:
    """Texts of two letters: short ones fit at most places, and long ones begin like others."""
    rng = random.Random(7)
    return ["".join(rng.choices("ab", k=rng.randint(1, longest))) for _ in range(count)]


class Answering:
    """Counts how often it is asked whether to stop, and says yes from some time on."""

    def __init__(self, asked_max: int) -> None:
        self.asked = 0
        self._asked_max = asked_max

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked > self._asked_max


def stopping(asked_max: int) -> tuple[Limits, Answering]:
    answering = Answering(asked_max)
    return replace(limits(), should_stop=answering), answering


@pytest.mark.parametrize(
    "model",
    [
        *(model for model, _, _ in BY_KEY.values()),
        Register(),
        CasRegister(),
        Mutex(),
        OwnerMutex(),
        FencedMutex(),
    ],
    ids=lambda model: model.name,
)
def test_no_fast_path_begins_when_time_is_up(model: Any) -> None:
    columns = columns_of_entries({"k": [Entry(0, 0, 1, "read", None, None, False, 0)]})
    for path in fast_paths_of(model):
        assert path.decide(columns, [0], stopping(0)[0]) == {}


@pytest.mark.parametrize("name", BY_KEY)
def test_keys_that_there_is_no_time_for_are_left_undecided(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foreshock.checkers.fast_paths.base.ASK_EVERY", 3)
    model, f, value = BY_KEY[name]
    columns = columns_of_entries({key: [Entry(key, 0, 1, f, value, None, False, 0)] for key in range(100)})
    for path in fast_paths_of(model):
        allowed, answering = stopping(5)
        found = path.decide(columns, range(100), allowed)
        assert 0 < len(found) < 20
        assert answering.asked > 5
        assert len(path.decide(columns, range(100))) == 100


def test_the_limits_are_looked_at_every_few_thousand_operations_only() -> None:
    columns = columns_of_entries({key: [Entry(key, 0, 1, "read")] for key in range(ASK_EVERY * 2 + 10)})
    allowed, answering = stopping(9)
    assert len(list(in_time(columns, range(len(columns.keys)), allowed))) == len(columns.keys)
    assert answering.asked == 2


def test_work_ends_where_it_is_too_much_or_the_limits_say_so() -> None:
    some = Work(10)
    some.add(10)
    with pytest.raises(GaveUp):
        some.add(1)
    allowed, answering = stopping(1)
    much = Work(1 << 40, allowed)
    much.add(ASK_EVERY - 1)
    assert answering.asked == 0
    much.add(1)
    assert answering.asked == 1
    with pytest.raises(GaveUp):
        much.add(ASK_EVERY)


def test_the_index_finds_the_texts_that_a_value_goes_on_with() -> None:
    rng = random.Random(3)
    for _ in range(300):
        texts = {"".join(rng.choices("ab", k=rng.randint(1, 9))) for _ in range(rng.randint(0, 12))}
        value = "".join(rng.choices("ab", k=rng.randint(0, 14)))
        index = _Index(texts)
        for position in range(len(value) + 1):
            expected = sorted((t for t in texts if value.startswith(t, position)), key=len)
            assert index.texts_at(value, position)[0] == expected


def test_lengths_that_cannot_match_are_skipped() -> None:
    """Texts of four hundred lengths, of which one fits at each place: some steps for each append, not four hundred."""
    texts = [f"{n}." + "x" * (n % 400) + ";" for n in range(4_000)]
    counted = Work(1 << 40)
    KvOfHistory(Kv(), chain(texts, gets=3), counted)
    assert counted.steps < 20 * len(texts)
    found = appends.APPENDS.decide(columns_of_entries({"k": chain(texts, gets=3)}), [0])
    assert found[0].decision is Decision.VALID


def test_a_key_whose_values_can_be_made_in_too_many_ways_stops_when_time_is_up() -> None:
    columns = columns_of_entries({"k": chain(two_letters(600, 200))})
    allowed, answering = stopping(3)
    assert appends.APPENDS.decide(columns, [0], allowed) == {}
    assert answering.asked == 4, "it went on after it was told to stop"


def test_the_model_of_a_history_that_would_be_too_large_is_the_plain_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kv, "_WORK_MAX", 5_000)
    model, history = Kv(), chain(two_letters(300, 60))
    with pytest.raises(GaveUp):
        KvOfHistory(model, history, Work(work_max(len(history))))
    assert model.specialized(history) is model
    lost = Entry(900, 5, NEVER, "append", "zz", None, True, 900)
    assert model.useful_until([*history, lost])[-2:] == [UNNOTICED, NEVER]
    assert appends.APPENDS.decide(columns_of_entries({"k": history}), [0]) == {}
    assert search(history, model, limits()).verdict is Verdict.VALID
    wrong = [*history[:-1], history[-1]._replace(result=str(history[-1].result) + "a")]
    assert search(wrong, model, limits()).verdict is Verdict.INVALID


def test_the_plain_model_decides_as_the_one_of_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.checkers.kv_histories import kv_histories

    monkeypatch.setattr(kv, "work_max", lambda operations: -1)
    histories = kv_histories(77, 300)
    plain = 0
    for history in histories:
        model = Kv()
        plain += model.specialized(history) is model
        verdict = Verdict.VALID if is_linearizable(history, Kv()) else Verdict.INVALID
        assert search(history, model, limits()).verdict is verdict
    assert plain > 200


def test_the_model_of_a_history_is_made_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counted(KvOfHistory):
        def __init__(self, *arguments: Any) -> None:
            made.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(kv, "KvOfHistory", Counted)
    model, history = Kv(), chain(["a", "b"])
    search(history, model, limits())
    assert len(made) == 1
    assert model.specialized([*history]) is model.specialized(history)
    history.append(Entry(9, 90, 91, "append", "c", None, False, 9))
    assert model.specialized(history) is not model.specialized(history[:-1])


def test_many_equal_appends_are_left_to_the_search() -> None:
    """To tell fifteen hundred equal appends apart goes deeper than recursion can."""
    history = chain(["a"] * 1500)
    assert appends.APPENDS.decide(columns_of_entries({"k": history}), [0]) == {}
    assert search(history, Kv(), limits()).verdict is Verdict.VALID


def test_steps_are_asked_about_in_milliseconds() -> None:
    assert 1_000 <= work.ASK_EVERY <= 100_000
