"""Hypothesis against the checker as a whole: whatever history it comes up with, all procedures say the same.

The profile is chosen by ``HYPOTHESIS_PROFILE``: ``soak`` tries fifty times as many histories, other ones each time.
What fails is made as small as it gets, and is what Hypothesis prints.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from tests.checkers.model_histories import is_legal
from tests.checkers.oracle import is_legal_order
from tests.checkers.random_histories import columns_of_entries, context, history_of, limits
from tests.checkers.soak import answers

from foreshock.checkers.entries import NEVER, Entry, relax
from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.checkers.search import Search
from foreshock.harness.model import UNKNOWN, Model
from foreshock.harness.registry import Kind, load
from foreshock.harness.verdict import Verdict

SOAK: Final = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
EXAMPLES: Final = settings(
    max_examples=10_000 if SOAK else 200,
    derandomize=not SOAK,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
FEWER: Final = settings(EXAMPLES, max_examples=EXAMPLES.max_examples // 3)
"""For what explains each history that is illegal."""
OPERATIONS_MAX: Final = 7

Operation = tuple[str, Any, Any]
VALUES: Final = st.integers(1, 3)
SEEN: Final = st.one_of(st.none(), VALUES)
TEXTS: Final = st.sampled_from(["a", "b", "ab"])
READ: Final = st.tuples(st.just("read"), st.none(), SEEN)
WRITE: Final = st.tuples(st.just("write"), VALUES, st.none())
CAS: Final = st.tuples(st.just("cas"), st.tuples(SEEN, VALUES).map(list), st.none())
MUTEX: Final = st.tuples(st.sampled_from(["acquire", "release"]), st.none(), st.none())
OPERATIONS: Final[dict[str, st.SearchStrategy[Operation]]] = {
    "register": st.one_of(READ, WRITE),
    "cas-register": st.one_of(READ, WRITE, CAS),
    "mutex": MUTEX,
    "owner-mutex": MUTEX,
    "kv": st.one_of(
        st.tuples(st.just("get"), st.none(), st.one_of(st.none(), st.text("ab", max_size=4))),
        st.tuples(st.sampled_from(["put", "append", "append"]), TEXTS, st.none()),
    ),
}
EVERY_MODEL: Final = pytest.mark.parametrize("name", OPERATIONS)


@cache
def model(name: str) -> Model:
    made: Model = load(Kind.MODELS, name)()
    return made


@st.composite
def histories(draw: st.DrawFn, operations: st.SearchStrategy[Operation]) -> list[Entry]:
    """Operations at any positions, equal ones too; simplest: one after the other, none crashed."""
    entries = []
    for number in range(draw(st.integers(0, OPERATIONS_MAX))):
        f, value, result = draw(operations)
        call = draw(st.integers(0, 9))
        ret = call + draw(st.integers(0, 5))
        crashed = draw(st.booleans())
        process = draw(st.integers(0, 3))
        entries.append(
            Entry(
                number,
                call,
                NEVER if crashed else ret,
                f,
                value,
                UNKNOWN if crashed else result,
                crashed,
                process,
            )
        )
    return entries


def in_real_order(entries: Sequence[Entry]) -> list[Entry]:
    """The same with positions as a real history has them: no two events share one, calls come first."""
    events = sorted(
        (position, kind, place)
        for place, entry in enumerate(entries)
        for kind, position in enumerate((entry.call, entry.ret))
        if position != NEVER
    )
    index = {(place, kind): position for position, (_, kind, place) in enumerate(events)}
    return [
        entry._replace(number=index[place, 0], call=index[place, 0], ret=index.get((place, 1), NEVER))
        for place, entry in enumerate(entries)
    ]


@EVERY_MODEL
def test_all_procedures_say_what_the_oracle_says(name: str) -> None:
    @EXAMPLES
    @given(histories(OPERATIONS[name]))
    def agree(entries: list[Entry]) -> None:
        said = answers(name, entries)
        note(str(said))
        assert {answer for answer in said.values() if answer is not None} == {said["oracle"]}

    agree()


@EVERY_MODEL
def test_the_checker_decides_every_key_by_itself_and_argues_for_what_it_says(name: str) -> None:
    @FEWER
    @given(st.lists(histories(OPERATIONS[name]), min_size=1, max_size=3))
    def holds(by_key: list[list[Entry]]) -> None:
        keyed = dict(enumerate(in_real_order(entries) for entries in by_key))
        result = LinearizableChecker(model(name)).check(history_of(keyed), context())
        plain = LinearizableChecker(model(name), fast_paths=False).check(history_of(keyed), context())
        illegal = [key for key, entries in keyed.items() if not is_legal(entries, model(name))]
        assert sorted(found.key for found in result.counterexamples) == illegal
        assert sorted(found.key for found in plain.counterexamples) == illegal
        assert result.verdict is plain.verdict is (Verdict.INVALID if illegal else Verdict.VALID)

    holds()


@EVERY_MODEL
def test_a_core_is_illegal_and_nothing_can_be_left_out_of_it(name: str) -> None:
    @FEWER
    @given(histories(OPERATIONS[name]))
    def holds(entries: list[Entry]) -> None:
        real = in_real_order(entries)
        result = LinearizableChecker(model(name)).check(history_of({"k": real}), context())
        for found in result.counterexamples:
            # What was called only after the last return of the core cannot have anything to do with it.
            end = max(entry.ret for entry in real if entry.number in found.core)
            before = [entry for entry in real if entry.call < end]
            reads = [model(name).is_read(entry.f) for entry in before]
            core = [place for place, entry in enumerate(before) if entry.number in found.core]
            assert len(core) == len(found.core) > 0
            assert not is_legal(relax(before, core, reads), model(name))
            for left_out in core:
                rest = [place for place in core if place != left_out]
                assert is_legal(relax(before, rest, reads), model(name))

    holds()


@EVERY_MODEL
def test_what_is_legal_stays_legal_when_an_operation_crashes_or_takes_longer(name: str) -> None:
    @EXAMPLES
    @given(histories(OPERATIONS[name]), st.integers(0, OPERATIONS_MAX - 1), st.booleans(), st.integers(1, 4))
    def holds(entries: list[Entry], place: int, crashes: bool, more: int) -> None:
        if place >= len(entries) or entries[place].crashed:
            return
        weaker = list(entries)
        weaker[place] = (
            entries[place]._replace(ret=NEVER, result=UNKNOWN, crashed=True)
            if crashes
            else entries[place]._replace(ret=entries[place].ret + more)
        )
        decided = [
            outcome.verdict
            for outcome in LinearizableChecker(model(name))._decide(
                columns_of_entries({"before": entries, "weaker": weaker}), limits()
            )
        ]
        assert decided != [Verdict.VALID, Verdict.INVALID]

    holds()


@EVERY_MODEL
def test_the_order_that_the_search_found_is_legal(name: str) -> None:
    @FEWER
    @given(histories(OPERATIONS[name]))
    def holds(entries: list[Entry]) -> None:
        result = Search(entries, model(name)).run(limits())
        assert result is not None
        if result.verdict is Verdict.VALID:
            assert is_legal_order(entries, result.order, model(name))

    holds()
