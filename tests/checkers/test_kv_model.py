"""The model of a key-value store, and what it becomes for one history."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.checkers.kv_histories import kv_histories, wrong_kv_searches
from tests.checkers.oracle import is_linearizable
from tests.checkers.random_histories import columns_of_entries, limits

from foreshock.checkers.decision import Decision
from foreshock.checkers.entries import NEVER, UNNOTICED, Entry, relax
from foreshock.checkers.fast_paths import appends
from foreshock.checkers.models.kv import Kv, short
from foreshock.checkers.models.kv_history import ABSENT, GARBAGE
from foreshock.checkers.search import Limits, search
from foreshock.harness.errors import UsageError
from foreshock.harness.model import ILLEGAL, UNKNOWN
from foreshock.harness.registry import Kind, load
from foreshock.harness.verdict import Verdict


def test_the_search_with_the_specialized_model_agrees_with_the_oracle_on_the_plain_one() -> None:
    histories = kv_histories(31, 2000)
    legal = sum(is_linearizable(history, Kv()) for history in histories)
    assert 300 < legal < len(histories) - 300
    assert wrong_kv_searches(search, histories) == 0


def test_the_specialized_model_of_a_relaxed_history_is_right_for_it() -> None:
    """As explanations ask: some operations left out, the updates among them by making them optional."""
    rng = random.Random(32)
    relaxed = [
        relax(
            history,
            [o for o in range(len(history)) if rng.random() < 0.7],
            [Kv().is_read(e.f) for e in history],
        )
        for history in kv_histories(33, 700)
    ]
    assert wrong_kv_searches(search, relaxed) == 0


def test_operations_of_one_canonical_form_do_the_same() -> None:
    told = 0
    for history in kv_histories(34, 300):
        model = Kv().specialized(history)
        states = {model.initial(), GARBAGE}
        while True:
            after = {model.step(s, e.f, e.value, e.result) for s in states for e in history} - {ILLEGAL}
            if after <= states:
                break
            states |= after
        by_form: dict[Any, list[Entry]] = {}
        for entry in history:
            by_form.setdefault(model.canonical(entry.f, entry.value, entry.result), []).append(entry)
        for alike in by_form.values():
            told += len(alike) > 1
            assert len({tuple(model.step(s, e.f, e.value, e.result) for s in states) for e in alike}) == 1
    assert told > 100


def test_the_model_is_found_by_its_name() -> None:
    assert load(Kind.MODELS, "kv")().name == "kv"


def test_a_key_is_absent_until_it_is_written() -> None:
    kv = Kv()
    assert kv.initial() is None
    assert [kv.step(None, "get", None, result) for result in (None, "", "x")] == [None, None, ILLEGAL]
    assert [kv.step("", "get", None, result) for result in (None, "", "x")] == [ILLEGAL, "", ILLEGAL]
    assert [kv.step("x", "read", None, result) for result in (None, "", "x")] == [ILLEGAL, ILLEGAL, "x"]
    assert kv.step(None, "append", "x", None) == "x"
    assert kv.step("x", "append", "y", UNKNOWN) == "xy"
    assert kv.step("x", "put", "y", None) == kv.step(None, "write", "y", None) == "y"
    assert kv.step("x", "delete", None, None) is None
    assert kv.step("x", "cas", ["x", "y"], None) == "y"
    assert kv.step(None, "cas", [None, "y"], None) == "y"
    assert kv.step("", "cas", [None, "y"], None) is ILLEGAL
    assert kv.step(None, "cas", ["", "y"], None) is ILLEGAL


@pytest.mark.parametrize(
    ("f", "value", "sentence"),
    [
        ("put", 3, "value 3 of 'put': it must be a text"),
        ("append", None, "it must be a text"),
        ("cas", "xy", "a pair"),
        ("cas", ["x", None], "a pair of texts"),
        ("increment", 1, "has no operation 'increment'; it knows append, cas, delete"),
    ],
)
def test_what_the_model_cannot_take_is_said(f: str, value: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Kv().step(None, f, value, None)
    with pytest.raises(UsageError, match=sentence):
        Kv().specialized([Entry(0, 0, 1, f, value)]).step(ABSENT, f, value, None)


@pytest.mark.parametrize("result", [["a"], 3, {"a": 1}])
def test_a_get_that_found_no_text_is_refused(result: Any) -> None:
    with pytest.raises(UsageError, match="of 'get': it must be a text or null"):
        Kv().step(None, "get", None, result)
    entries = [Entry(0, 0, 1, "put", "a"), Entry(1, 2, 3, "get", None, result)]
    with pytest.raises(UsageError, match=r"the result .* of 'get': it must be a text or null"):
        search(entries, Kv(), Limits(1 << 62, 1 << 30))


def test_labels_are_in_few_words_and_long_values_are_shortened() -> None:
    kv = Kv()
    assert kv.describe("get", None, "x") == "get 'x'"
    assert kv.describe("get", None, None) == "get absent"
    assert kv.describe("get", None, UNKNOWN) == "get"
    assert kv.describe("append", "x", None) == "append 'x'"
    assert kv.describe("cas", [None, "x"], None) == "cas absent->'x'"
    assert kv.describe("delete", None, None) == "delete"
    assert kv.needs("get", None, "x") == "the value to be 'x'"
    assert kv.needs("get", None, "") == "the key to be absent or empty"
    assert kv.needs("cas", ["x", "y"], None) == "the value to be 'x'"
    assert kv.needs("append", "x", None) == "nothing"
    assert kv.describe_state(None) == "absent"
    assert short("a" * 50 + "b" * 50) == f"'{'a' * 20}'…'{'b' * 20}' (100 characters)"


def test_states_of_a_history_are_its_useful_prefixes() -> None:
    history = [
        Entry(0, 0, 9, "append", "a"),
        Entry(1, 1, 9, "append", "b"),
        Entry(2, 2, 9, "put", "z"),
        Entry(3, 10, 11, "get", None, "ab"),
    ]
    model = Kv().specialized(history)
    a = model.step(model.initial(), "append", "a", None)
    ab = model.step(a, "append", "b", None)
    assert [model.describe_state(state) for state in (model.initial(), a, ab)] == ["absent", "'a'", "'ab'"]
    assert model.step(ab, "get", None, "ab") == ab
    assert model.step(ab, "put", "z", None) == GARBAGE
    assert model.describe_state(GARBAGE) == "a value that no later operation finds"
    # Its text is its own and was seen after "a": there is no other place for it.
    assert model.step(model.initial(), "append", "b", None) is ILLEGAL
    assert model.canonical("put", "z", None) == model.canonical("append", "unseen", None)


def test_how_long_a_crashed_update_is_of_use() -> None:
    def crashed(number: int, f: str, value: Any) -> Entry:
        return Entry(number, number, NEVER, f, value, UNKNOWN, True)

    history = [
        crashed(0, "append", "a"),
        crashed(1, "append", "b"),
        crashed(2, "append", "c"),
        crashed(3, "put", "z"),
        crashed(4, "delete", None),
        crashed(5, "cas", ["zz", "a"]),
        Entry(6, 6, 7, "get", None, "a"),
        Entry(7, 8, 9, "get", None, "ab"),
        Entry(8, 10, 11, "get", None, ""),
        Entry(9, 12, 13, "append", "z"),
    ]
    # What a crashed compare-and-set looks for is of use for ever: it is never sure that it happened.
    assert Kv().useful_until(history) == [9, 9, UNNOTICED, NEVER, NEVER, 9, *[UNNOTICED] * 3, NEVER]


@pytest.mark.parametrize("texts", [("", "a"), ("", "a", ""), ("", "", "ab")])
def test_to_append_nothing_leaves_a_key_as_good_as_absent(texts: tuple[str, ...]) -> None:
    history = [Entry(n, 2 * n, 2 * n + 1, "append", text, None, False, n) for n, text in enumerate(texts)]
    history.append(Entry(9, 90, 91, "get", None, "".join(texts), False, 9))
    assert search(history, Kv(), limits()).verdict is Verdict.VALID
    found = appends.APPENDS.decide(columns_of_entries({"k": history}), [0])
    assert all(finding.decision is Decision.VALID for finding in found.values())
