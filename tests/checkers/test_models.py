from __future__ import annotations

from typing import Any

import pytest

from foreshock.checkers.entries import NEVER, UNNOTICED, Entry, freeze, thaw
from foreshock.checkers.models.lock import FREE, HELD_UNSEEN, FencedMutex, Mutex, OwnerMutex
from foreshock.checkers.models.register import CasRegister, Register
from foreshock.checkers.search import Limits, search
from foreshock.harness.errors import UsageError
from foreshock.harness.model import ILLEGAL, UNKNOWN
from foreshock.harness.registry import Kind, load


@pytest.mark.parametrize("name", ["register", "cas-register"])
def test_the_registers_are_found_by_name(name: str) -> None:
    assert load(Kind.MODELS, name)().name == name


def test_a_register_holds_what_was_written_last() -> None:
    register = Register()
    assert register.initial() is None
    assert register.step(None, "write", 3, None) == 3
    assert register.step(3, "read", None, 3) == 3
    assert register.step(3, "read", None, 4) is ILLEGAL
    assert register.step(3, "read", None, None) is ILLEGAL
    assert register.step(3, "delete", None, None) is None
    with pytest.raises(UsageError, match="has no operation 'cas'"):
        register.step(3, "cas", [3, 4], None)


def test_a_register_may_start_with_a_value() -> None:
    assert Register(7).initial() == 7


def test_a_compare_and_set_needs_its_old_value() -> None:
    register = CasRegister()
    assert register.step(1, "cas", [1, 2], None) == 2
    assert register.step(3, "cas", [1, 2], None) is ILLEGAL
    assert register.step(None, "cas", [None, 2], UNKNOWN) == 2


def test_labels_are_in_few_words() -> None:
    register = CasRegister()
    assert register.describe("write", 3, None) == "write 3"
    assert register.describe("read", None, 3) == "read 3"
    assert register.describe("read", None, None) == "read absent"
    assert register.describe("read", None, UNKNOWN) == "read"
    assert register.describe("cas", [1, 2], None) == "cas 1->2"
    assert register.describe("cas", [None, "a"], None) == "cas absent->'a'"
    assert register.needs("cas", [1, 2], None) == "the value to be 1"
    assert register.needs("write", 1, None) == "nothing"


def test_how_long_a_crashed_update_is_of_use() -> None:
    def crashed(number: int, f: str, value: Any) -> Entry:
        return Entry(number, number, NEVER, f, value, UNKNOWN, True)

    history = [
        crashed(0, "write", 1),
        crashed(1, "write", 2),
        crashed(2, "cas", [2, 3]),
        crashed(3, "cas", [3, 2]),
        crashed(4, "write", 9),
        Entry(5, 5, 10, "read", None, 1),
        Entry(6, 6, 20, "read", None, 3),
        Entry(7, 7, 30, "cas", [1, 5]),
    ]
    # 1 is read at 10 and compared at 30; 2 only serves the crashed cas to 3, read at 20; 9 nobody sees.
    assert CasRegister().useful_until(history)[:5] == [30, 20, 20, 20, UNNOTICED]


def test_a_long_chain_of_crashed_compare_and_sets_takes_no_longer_an_operation_than_a_short_one() -> None:
    def frozen(count: int) -> int:
        chain = [Entry(i, i, NEVER, "cas", [i or None, i + 1], UNKNOWN, True) for i in range(count)]
        calls = 0

        class Counting(CasRegister):
            def _cas_values(self, value: Any) -> tuple[Any, Any]:
                nonlocal calls
                calls += 1
                return super()._cas_values(value)

        found = Counting().useful_until([*chain, Entry(count, count, count + 1, "read", None, count)])
        assert set(found[:-1]) == {count + 1}
        return calls

    assert frozen(400) == 10 * frozen(40)


def test_a_mutex_is_held_by_one() -> None:
    mutex = Mutex()
    assert mutex.step(False, "acquire", 0, None) is True
    assert mutex.step(True, "acquire", 0, None) is ILLEGAL
    assert mutex.step(True, "release", None, None) is False
    assert mutex.step(False, "release", None, None) is ILLEGAL


def test_only_its_owner_can_release_an_owned_mutex() -> None:
    mutex = OwnerMutex()
    assert mutex.step(None, "acquire", (4, 0), None) == 4
    assert mutex.step(4, "acquire", (4, 0), None) is ILLEGAL
    assert mutex.step(4, "release", (5, None), None) is ILLEGAL
    assert mutex.step(4, "release", (4, None), None) is None


def test_the_tokens_of_a_fenced_mutex_grow() -> None:
    mutex = FencedMutex()
    held = mutex.step(mutex.initial(), "acquire", 0, {"token": 5})
    assert mutex.step(held, "release", 4, None) is ILLEGAL
    free = mutex.step(held, "release", 5, None)
    assert mutex.step(free, "acquire", 0, {"token": 5}) is ILLEGAL
    unseen = mutex.step(free, "acquire", 0, UNKNOWN)
    assert mutex.step(unseen, "acquire", 0, {"token": 9}) is ILLEGAL
    assert mutex.step(mutex.step(unseen, "release", 7, None), "acquire", 0, {"token": 7}) is ILLEGAL
    assert mutex.describe("acquire", 0, {"token": 5}) == "acquire -> token 5"


@pytest.mark.parametrize(
    ("f", "value", "result", "sentence"),
    [
        ("acquire", 0, {"token": "x"}, r"the result {'token': 'x'} of 'acquire': it must be a token"),
        ("acquire", 0, {"tok": 1}, "it must be a token"),
        ("acquire", 0, {"token": True}, "it must be a token"),
        ("acquire", 0, [1], r"the result \[1\] of 'acquire'"),
        ("acquire", 0, None, "the result None of 'acquire'"),
        ("release", "7", None, "the value '7' of 'release': it must be a token"),
        ("release", [7], None, "must be a token .* or null"),
        ("release", False, None, "must be a token .* or null"),
    ],
)
def test_what_is_no_token_is_said(f: str, value: Any, result: Any, sentence: str) -> None:
    state = (-1, FREE if f == "acquire" else HELD_UNSEEN)
    with pytest.raises(UsageError, match=sentence):
        FencedMutex().step(state, f, value, result)
    entries = [Entry(0, 0, 1, "acquire", 0, {"token": 1}), Entry(1, 2, 3, f, value, result)]
    with pytest.raises(UsageError, match=sentence):
        search(entries[1:] if f == "acquire" else entries, FencedMutex(), Limits(1 << 62, 1 << 30))


@pytest.mark.parametrize("model", [Mutex(), OwnerMutex(), FencedMutex()], ids=lambda model: model.name)
def test_locks_refuse_operations_they_do_not_have(model: Any) -> None:
    with pytest.raises(UsageError, match="has no operation 'lock'; it knows acquire, release"):
        model.step(model.initial(), "lock", (1, None), None)


def test_json_values_that_differ_stay_apart_and_equal_ones_equal() -> None:
    values = [
        None,
        0,
        1,
        True,
        False,
        "1",
        1.5,
        [1],
        [True],
        ["bool", 1],
        {"a": 1},
        {"a": [1]},
        [["a", 1]],
        [],
        {},
    ]
    frozen = [freeze(value) for value in values]
    assert len(set(frozen)) == len(values)
    assert [thaw(value) for value in frozen] == values
    assert freeze({"a": 1, "b": 2}) == freeze({"b": 2, "a": 1})
    assert freeze(1.0) == freeze(1)
