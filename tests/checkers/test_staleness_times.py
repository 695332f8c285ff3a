"""Bounded staleness where the clock ties, where it goes back, and where there is none."""

from __future__ import annotations

import random

import pytest
from tests.checkers.oracle import is_linearizable
from tests.checkers.planted import Planted
from tests.checkers.random_histories import context
from tests.checkers.register_histories import MS, history_of, random_operations

from foreshock.checkers import staleness
from foreshock.checkers.convergence import ConvergenceChecker
from foreshock.checkers.entries import NEVER, Entry
from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.checkers.models.register import Register
from foreshock.checkers.staleness import StalenessChecker
from foreshock.harness.errors import UsageError
from foreshock.harness.history import History, Row
from foreshock.harness.model import UNKNOWN
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

BOUNDS_MS = (1, 2, 5)


def at_times(history: History, times_ms: list[int]) -> History:
    """The same events at other times: that of event ``i`` is ``times_ms[i]``."""
    return History.of(
        row._replace(
            invoke_ns=times_ms[row.invoke_index] * MS,
            complete_ns=-1 if row.complete_index < 0 else times_ms[row.complete_index] * MS,
        )
        for row in history
    )


def without_times(history: History) -> History:
    """The same events as a log has them that knows only their order."""
    return History.of(row._replace(invoke_ns=-1, complete_ns=-1) for row in history)


def tied(rng: random.Random, *, goes_back: bool = False) -> History:
    """A small history whose events share a few ticks of the clock."""
    history = history_of(*random_operations(rng, distinct=rng.random() < 0.5))
    ticks = [rng.randint(0, rng.choice([1, 3, 8])) for _ in range(2 * len(history))]
    return at_times(history, ticks if goes_back else sorted(ticks))


def is_bounded(history: History, bound_ms: int) -> bool:
    """By the definition: every key is linearizable with reads that begin earlier, before what is at the same tick."""

    def entry(row: Row) -> Entry:
        crashed, read = row.type is OperationType.INFO, row.f == "get"
        call = row.invoke_ns // MS * 1_000 + row.invoke_index
        return Entry(
            row.invoke_index,
            (row.invoke_ns // MS - bound_ms) * 1_000 - 1 if read and bound_ms else call,
            NEVER if crashed else row.complete_ns // MS * 1_000 + row.complete_index,
            row.f,
            row.value,
            UNKNOWN if crashed else row.result,
            crashed,
            row.process,
        )

    keys = {row.key for row in history}
    return all(is_linearizable([entry(row) for row in history if row.key == key], Register()) for key in keys)


def verdict_of(history: History, bound_ms: int) -> Verdict:
    return StalenessChecker(bound_ms).check(history, context()).verdict


def wrong_bounds(seed: int, count: int) -> int:
    """How many verdicts are not those of the definition, or convict who is linearizable by a clock that goes back."""
    wrong = 0
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        history, bound_ms = tied(rng), rng.choice(BOUNDS_MS)
        wrong += (verdict_of(history, bound_ms) is Verdict.VALID) != is_bounded(history, bound_ms)
        wild = tied(rng, goes_back=True)
        legal = LinearizableChecker("register").check(wild, context()).verdict is Verdict.VALID
        wrong += legal and verdict_of(wild, bound_ms) is not Verdict.VALID
    return wrong


def test_a_bound_of_0_is_linearizability_however_the_clock_ties() -> None:
    verdicts = {Verdict.VALID: 0, Verdict.INVALID: 0}
    for seed in range(500):
        rng = random.Random(seed)
        history = tied(rng, goes_back=rng.random() < 0.2)
        linearizable = LinearizableChecker("register").check(history, context())
        bounded = StalenessChecker(0).check(history, context())
        assert bounded.verdict is linearizable.verdict, seed
        assert bounded.details["illegal_keys"] == linearizable.details["illegal_keys"], seed
        verdicts[bounded.verdict] += 1
    assert min(verdicts.values()) > 100


def test_a_bound_is_its_definition_where_the_clock_ties_too() -> None:
    assert wrong_bounds(1, 400) == 0


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("np.searchsorted(latest_ns, since_ns)", "np.searchsorted(latest_ns, since_ns, side='right')"),
        ("np.minimum(2 * columns.call, shifted)", "shifted"),
        ("columns.call_ns - self.bound_ms * _MILLISECOND_NS", "columns.call_ns"),
        ("np.where(columns.f_in(READS), ", "np.where(columns.f_in(READS) | True, "),
    ],
)
def test_a_mistake_in_the_times_is_found(right: str, wrong: str) -> None:
    def is_found() -> bool:
        try:
            return any(wrong_bounds(seed, 100) for seed in range(1, 13))
        except ValueError:  # the search cannot place what is called after its return
            return True

    with Planted(staleness, right, wrong):
        assert is_found()
    assert not wrong_bounds(1, 100)


def test_versions_are_counted_by_positions_whatever_the_clock_says() -> None:
    stale = 0
    for seed in range(300):
        rng = random.Random(seed)
        history = history_of(*random_operations(rng))
        told = [
            StalenessChecker(bound_versions=rng.choice([1, 2])).check(changed, context())
            for changed in (history, without_times(history), at_times(history, [7] * (2 * len(history))))
            for rng in [random.Random(seed)]
        ]
        assert len({result.verdict for result in told}) == 1, seed
        for figure in ("age_versions", "age_versions_histogram", "stale_reads", "reads"):
            assert all(result.details[figure] == told[0].details[figure] for result in told), (seed, figure)
        assert told[1].details["age_ms"] == {}
        assert told[1].details["age_ms_histogram"] == {}
        stale += told[1].verdict is Verdict.INVALID
    assert stale > 50


def test_where_there_are_no_times_a_bound_in_time_is_refused_with_what_to_use_instead() -> None:
    history = without_times(history_of(*random_operations(random.Random(1))))
    for options in ({}, {"bound_ms": 0}, {"bound_ms": 9}, {"bound_ms": 9, "bound_versions": 1}):
        with pytest.raises(
            UsageError, match="without times: give 'bound_versions' instead, or use the checker"
        ):
            StalenessChecker(**options).check(history, context())


def test_convergence_says_that_there_are_no_times() -> None:
    result = ConvergenceChecker().check(
        without_times(history_of(*random_operations(random.Random(1)))), context()
    )
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason == "the history has no times, so nobody knows when its keys were quiet"
