from __future__ import annotations

import random
import time
from collections.abc import Hashable
from typing import Any

import msgspec
import pytest
from tests.checkers.oracle import is_linearizable
from tests.checkers.random_histories import (
    context,
    history_of,
    legal_register_history,
    limits,
    mutated,
    random_register_history,
)

from foreshock.checkers.check import check
from foreshock.checkers.columns import columns_of
from foreshock.checkers.core import CoreFinder
from foreshock.checkers.entries import NEVER, Entry
from foreshock.checkers.explanation import until
from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.checkers.models.lock import Mutex
from foreshock.checkers.models.register import CasRegister, Register
from foreshock.harness.checker import Counterexample
from foreshock.harness.errors import UsageError
from foreshock.harness.history import History, Row
from foreshock.harness.model import ILLEGAL, UNKNOWN, Illegal
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

OK, FAIL, INFO = OperationType.OK, OperationType.FAIL, OperationType.INFO


def sequential(*operations: tuple[str, Any, Any], key: Any = 1) -> History:
    """A history of one process after another."""
    return History.of(
        Row(
            process=number,
            f=f,
            key=key,
            value=value,
            result=result,
            type=OK,
            invoke_index=2 * number,
            complete_index=2 * number + 1,
            invoke_ns=2000 * number,
            complete_ns=2000 * number + 1000,
            node="n1",
        )
        for number, (f, value, result) in enumerate(operations)
    )


STALE = (("write", 1, None), ("write", 2, None), ("read", None, 1))


def test_every_illegal_key_is_reported_and_no_other() -> None:
    rng = random.Random(1)
    methods = set()
    for number in range(25):
        drawn = {
            key: random_register_history(
                rng, updates=5, cas=rng.choice([0, 0.5]), distinct=rng.random() < 0.6, ties=False
            )
            for key in range(8)
        }
        history = history_of(drawn)
        illegal = {key for key, entries in drawn.items() if not is_linearizable(entries, CasRegister())}
        for fast_paths in (True, False):
            result = LinearizableChecker(CasRegister, fast_paths=fast_paths).check(history, context())
            assert {found.key for found in result.counterexamples} == illegal, number
            assert result.verdict is (Verdict.INVALID if illegal else Verdict.VALID)
            assert sorted(result.details["illegal_keys"]) == sorted(illegal)
            methods |= {(fast_paths, method) for method in result.details["methods"]}
    assert methods == {(True, "zones"), (True, "clusters"), (True, "search"), (False, "search")}


def test_a_core_is_illegal_and_without_any_one_of_its_operations_it_is_legal() -> None:
    rng = random.Random(2)
    sizes = []
    while len(sizes) < 60:
        entries = random_register_history(
            rng, updates=6, reads=5, cas=0.4, distinct=rng.random() < 0.7, ties=False
        )
        if is_linearizable(entries, CasRegister()):
            continue
        history = history_of({7: entries})
        (found,) = LinearizableChecker().check(history, context()).counterexamples
        sizes.append(len(found.core))
        assert found.impossible in found.core
        columns = columns_of(history)
        whole = columns.entries(columns.rows_by_key[0])
        end = next(entry.ret for entry in whole if entry.number == found.impossible)
        _, so_far = until(whole, end)
        finder = CoreFinder(so_far, CasRegister(), limits())
        core = [offset for offset, entry in enumerate(so_far) if entry.number in found.core]
        assert len(core) == len(found.core)
        assert finder.is_illegal(core)
        for left_out in core:
            assert not finder.is_illegal([offset for offset in core if offset != left_out])
    assert {1, 2, 3} <= set(sizes)


def test_a_stale_read_is_explained() -> None:
    result = LinearizableChecker("register").check(sequential(*STALE), context())
    assert result.method == "zones"
    (found,) = result.counterexamples
    assert (found.key, found.core, found.impossible) == (1, (0, 2, 4), 4)
    assert found.states == ("2",)
    assert found.needed == {"4": "the value to be 1"}
    assert found.prefix == (0, 2)
    assert [row["label"] for row in found.operations] == ["write 1", "write 2", "read 1"]
    assert "read 1 by process 2 (events 4-5) cannot be explained" in result.reason
    assert msgspec.convert(msgspec.to_builtins(found), Counterexample) == found


def test_a_stale_read_in_a_long_history_has_a_core_of_three() -> None:
    entries = legal_register_history(random.Random(5), 400, processes=6)
    last = max(entry.ret for entry in entries if entry.ret != NEVER)
    entries += [
        Entry(9001, last + 1, last + 2, "write", 9001, None, process=91),
        Entry(9002, last + 3, last + 4, "write", 9002, None, process=92),
        Entry(9003, last + 5, last + 6, "read", None, 9001, process=93),
    ]
    for fast_paths in (True, False):
        result = LinearizableChecker(fast_paths=fast_paths).check(history_of({"k": entries}), context())
        (found,) = result.counterexamples
        assert [row["label"] for row in found.operations if row["invoke_index"] in found.core] == [
            "write 9001",
            "write 9002",
            "read 9001",
        ]


def test_a_value_that_nobody_wrote_is_a_core_of_one() -> None:
    found = (
        LinearizableChecker()
        .check(sequential(("write", 1, None), ("read", None, 5)), context())
        .counterexamples[0]
    )
    assert found.core == (2,)


def test_a_compare_and_set_is_shown_with_its_values() -> None:
    history = sequential(("write", 1, None), ("cas", [1, 2], None), ("cas", [1, 3], None))
    result = LinearizableChecker().check(history, context())
    assert result.method == "clusters"
    assert [row["label"] for row in result.counterexamples[0].operations] == [
        "write 1",
        "cas 1->2",
        "cas 1->3",
    ]


def test_the_update_that_wrote_what_an_impossible_read_saw_is_shown_though_the_core_does_without_it() -> None:
    entries = [
        Entry(0, 0, 1, "write", 1, process=1),
        Entry(2, 2, 90, "cas", (1, 2), process=2),
        *(Entry(at, at, at + 1, "write", at, process=3) for at in range(4, 80, 2)),
        Entry(92, 92, 93, "read", None, 2, process=4),
    ]
    (found,) = LinearizableChecker().check(history_of({0: entries}), context()).counterexamples
    rows = {row["label"]: row["invoke_index"] for row in found.operations}
    assert rows["cas 1->2"] not in {*found.core, *found.prefix}
    assert rows["read 2"] == found.impossible


def test_equal_values_fall_back_to_the_search_key_by_key() -> None:
    twice = [
        Entry(0, 0, 1, "write", 1),
        Entry(1, 2, 3, "write", 2),
        Entry(2, 4, 5, "write", 1),
        Entry(3, 6, 7, "read", None, 1),
    ]
    once = [Entry(0, 0, 1, "write", 1), Entry(1, 2, 3, "read", None, 1)]
    result = LinearizableChecker().check(history_of({"twice": twice, "once": once}), context())
    assert result.verdict is Verdict.VALID
    assert result.details["methods"] == {"search": 1, "zones": 1}
    assert result.method == "search+zones"


def test_a_cache_is_a_register_whose_delete_writes_absence() -> None:
    legal = sequential(("put", 1, None), ("get", None, 1), ("delete", None, None), ("get", None, None))
    stale = sequential(("put", 1, None), ("delete", None, None), ("get", None, 1))
    assert LinearizableChecker("register").check(legal, context()).verdict is Verdict.VALID
    result = LinearizableChecker("register").check(stale, context())
    assert result.verdict is Verdict.INVALID
    assert result.counterexamples[0].states == ("absent",)


def test_failed_operations_and_the_nemesis_are_left_out() -> None:
    rows = [
        Row(0, "write", 1, 1, type=FAIL, invoke_index=0, complete_index=1),
        Row(-1, "partition", None, "halves", type=INFO, invoke_index=2, complete_index=3),
        Row(1, "cas", 1, [5, 6], type=FAIL, invoke_index=4, complete_index=5),
        Row(2, "read", 1, None, None, type=OK, invoke_index=6, complete_index=7),
    ]
    result = LinearizableChecker().check(History.of(rows), context())
    assert (result.verdict, result.details["operations"]) == (Verdict.VALID, 1)


def test_a_write_of_unknown_outcome_may_show_later() -> None:
    rows = [
        Row(0, "write", 1, 1, type=INFO, invoke_index=0, complete_index=1),
        Row(1, "read", 1, None, None, type=OK, invoke_index=2, complete_index=3),
        Row(1, "read", 1, None, 1, type=OK, invoke_index=4, complete_index=5),
    ]
    assert LinearizableChecker().check(History.of(rows), context()).verdict is Verdict.VALID
    rows.append(Row(1, "read", 1, None, None, type=OK, invoke_index=6, complete_index=7))
    assert LinearizableChecker().check(History.of(rows), context()).verdict is Verdict.INVALID


def hard_key(width: int = 14) -> list[Entry]:
    entries = [Entry(i, 0, 1000, "cas", [i % 7, (i * 3 + 1) % 7], process=i) for i in range(width)]
    entries += [Entry(width + i, 0, 1000, "write", i % 7, process=width + i) for i in range(width)]
    return [*entries, Entry(99, 1001, 1002, "read", None, 9, process=99)]


@pytest.mark.usefixtures("processor_time")
def test_a_hard_key_neither_hides_an_easy_violation_nor_starves_other_keys() -> None:
    rng = random.Random(6)
    longer = {f"legal {i}": legal_register_history(rng, 80) for i in range(5)}
    stale = [Entry(0, 0, 1, "write", 1), Entry(1, 2, 3, "write", 2), Entry(2, 4, 5, "read", None, 1)]
    history = history_of({"hard": hard_key(), **longer, "stale": stale})
    started = time.monotonic()
    result = LinearizableChecker(fast_paths=False).check(history, context(seconds=1.5))
    assert time.monotonic() - started < 5
    assert result.verdict is Verdict.INVALID
    assert result.details["illegal_keys"] == ["stale"]
    assert [undecided["key"] for undecided in result.details["undecided_keys"]] == ["hard"]


@pytest.mark.usefixtures("processor_time")
def test_the_deadline_gives_unknown_with_how_far_it_got() -> None:
    result = LinearizableChecker().check(history_of({"hard": hard_key()}), context(seconds=0.2))
    assert result.verdict is Verdict.UNKNOWN
    assert "the deadline passed at" in result.reason
    assert "of 29 returns" in result.reason


def test_the_memory_limit_gives_unknown() -> None:
    result = LinearizableChecker().check(history_of({"hard": hard_key()}), context(memory_bytes=3_000_000))
    assert result.verdict is Verdict.UNKNOWN
    assert "memory limit" in result.reason


def test_an_illegal_history_stays_illegal_when_there_is_no_time_to_explain_it() -> None:
    checker, history = LinearizableChecker("register"), sequential(*STALE)
    columns = checker.columns(history)
    outcomes = checker._decide(columns, limits())
    assert [outcome.verdict for outcome in outcomes] == [Verdict.INVALID]
    counterexamples = checker._explain(history, columns, outcomes, limits(seconds=0), briefly=False)
    assert "no time" in counterexamples[0].reason
    assert set(counterexamples[0].core) <= {0, 2, 4}


def test_among_many_histories_an_illegal_one_is_not_explained_unless_somebody_asks() -> None:
    checker = LinearizableChecker("register")
    checker.announce(100, histories=500)
    in_brief = checker.check(sequential(*STALE), context(explains=False))
    assert in_brief.verdict is Verdict.INVALID
    assert in_brief.reason.endswith("no order of its operations is legal (--explain tells why)")
    assert checker.check(sequential(*STALE), context()).counterexamples[0].core


def test_a_history_is_undecided_when_there_is_no_time_at_all() -> None:
    result = LinearizableChecker("register").check(sequential(*STALE), context(seconds=0))
    assert result.verdict is Verdict.UNKNOWN
    assert "the deadline passed before its turn came" in result.reason


def test_an_empty_history_is_valid() -> None:
    assert LinearizableChecker().check(History.of([]), context()).verdict is Verdict.VALID


class Counter:
    """A user's model: increments and reads."""

    name = "counter"

    def initial(self) -> Hashable:
        return 0

    def is_read(self, f: str) -> bool:
        return f == "get"

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        if f == "get":
            return state if result == state else ILLEGAL
        return state + 1  # type: ignore[no-any-return]

    def describe(self, f: str, value: Any, result: Any) -> str:
        return f if result is UNKNOWN or f == "add" else f"get {result}"


@pytest.mark.parametrize("model", [Counter, Counter()], ids=["class", "object"])
def test_a_users_model_can_be_a_class_or_an_object(model: Any) -> None:
    legal = sequential(("add", None, None), ("get", None, 1))
    assert check(legal, model, context()).verdict is Verdict.VALID
    result = check(sequential(("add", None, None), ("get", None, 0)), model, context())
    assert result.counterexamples[0].core == (0, 2)
    assert result.counterexamples[0].states == ("1",)
    assert result.method == "search"


def test_a_model_can_be_a_registered_name_or_in_a_file(tmp_path: Any) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "class Anything:\n"
        "    name = 'anything'\n"
        "    def initial(self): return 0\n"
        "    def step(self, state, f, value, result): return state\n"
        "    def is_read(self, f): return False\n"
        "    def describe(self, f, value, result): return f\n"
    )
    assert check(sequential(*STALE), f"{file}:Anything", context()).verdict is Verdict.VALID
    assert check(sequential(*STALE), "cas-register", context()).verdict is Verdict.INVALID


def test_a_model_that_lacks_a_method_is_refused_with_its_name() -> None:
    class Half:
        name = "half"

        def initial(self) -> int:
            return 0

    with pytest.raises(UsageError, match="lacks the method 'step'"):
        check(sequential(*STALE), Half, context())
    with pytest.raises(UsageError, match="there is no model 'regster'"):
        check(sequential(*STALE), "regster", context())


def test_operations_that_the_model_does_not_know_can_be_left_out_by_name() -> None:
    history = sequential(("acquire", None, None), ("use", None, None), ("release", None, None))
    with pytest.raises(UsageError, match="no operation 'use'"):
        LinearizableChecker(Mutex).check(history, context())
    only = LinearizableChecker(Mutex, operations={"acquire", "release"})
    assert only.check(history, context()).verdict is Verdict.VALID


def test_long_mutated_histories_get_the_same_verdict_by_every_way() -> None:
    rng = random.Random(8)
    drawn = {}
    for key in range(12):
        entries = legal_register_history(rng, 150, processes=8, cas=rng.choice([0, 0.4]))
        drawn[key] = mutated(rng, entries) if rng.random() < 0.5 else entries
    history = history_of(drawn)
    fast, slow = (LinearizableChecker(fast_paths=on).check(history, context()) for on in (True, False))
    assert fast.details["illegal_keys"] == slow.details["illegal_keys"]
    # There may be several minimal cores; the first impossible operation is one and the same.
    assert {found.impossible for found in fast.counterexamples} == {
        found.impossible for found in slow.counterexamples
    }
    assert fast.verdict is Verdict.INVALID


def test_a_history_too_long_to_be_searched_is_explained_from_its_suspects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("foreshock.checkers.explanation._WHOLE_SEARCH_MAX", 10)
    entries = legal_register_history(random.Random(12), 300, processes=5, cas=0)
    last = max(entry.ret for entry in entries if entry.ret != NEVER)
    entries += [
        Entry(9001, last + 1, last + 2, "write", 9001),
        Entry(9002, last + 3, last + 4, "write", 9002),
        Entry(9003, last + 5, last + 6, "read", None, 9001),
    ]
    (found,) = LinearizableChecker(Register).check(history_of({"k": entries}), context()).counterexamples
    labels = {row["invoke_index"]: row["label"] for row in found.operations}
    assert [labels[index] for index in found.core] == ["write 9001", "write 9002", "read 9001"]
    assert labels[found.impossible] == "read 9001"
    # What was possible where the others may have come at any time need not have been so here.
    assert found.states == ()
