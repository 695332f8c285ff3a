"""Convergence: golden histories, systems that converge by construction, and mistakes planted in the rules."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.checkers.planted import Planted
from tests.checkers.random_histories import context
from tests.checkers.register_histories import Op, history_of

from foreshock.checkers import convergence
from foreshock.checkers.convergence import ConvergenceChecker
from foreshock.harness.checker import CheckResult
from foreshock.harness.errors import UsageError
from foreshock.harness.verdict import Verdict

QUIET_MS = 100


def check(*operations: Op, quiet_ms: int = QUIET_MS, **more: Any) -> CheckResult:
    return ConvergenceChecker(quiet_ms).check(history_of(*operations), context(**more))


WRITES = [Op("put", 0, 10, 1), Op("put", 20, 30, 2)]


def test_copies_that_agree_on_the_last_value_have_converged() -> None:
    result = check(*WRITES, Op("get", 60, 61, 1, 1), Op("get", 140, 141, 2, 1), Op("get", 500, 530, 2, 2))
    assert result.verdict is Verdict.VALID
    assert result.details["judged_keys"] == 1
    assert result.details["reads"] == 2
    assert result.details["looked_ms"] == {"min": 500.0, "median": 500.0, "max": 500.0}
    assert "1 keys, looked at for 500 ms" in result.reason


def test_an_entry_that_stays_stale_for_ever_is_found() -> None:
    result = check(*WRITES, Op("get", 140, 141, 2, 1), Op("get", 500, 530, 1, 2))
    assert result.verdict is Verdict.INVALID
    assert result.details["illegal_keys"] == ["x"]
    [found] = result.counterexamples
    assert found.impossible == 6
    assert [row["label"] for row in found.operations] == ["put 1", "put 2", "get 1"]
    assert "process 2 read 1, which had certainly been overwritten for 470 ms" in found.reason


def test_copies_that_do_not_agree_are_found_where_either_value_may_be_the_last() -> None:
    both = [Op("put", 0, 30, 1), Op("put", 5, 35, 2, 1)]
    result = check(*both, Op("get", 200, 201, 1, 2), Op("get", 300, 301, 2, 3))
    assert result.verdict is Verdict.INVALID
    assert "process 2 read 1 and process 3 read 2: its copies do not agree" in result.reason
    assert len(result.counterexamples[0].core) == 4
    for value in (1, 2):
        agreed = [Op("get", 200, 201, value, 2), Op("get", 300, 301, value, 3)]
        assert check(*both, *agreed).verdict is Verdict.VALID


def test_a_value_that_nobody_wrote_is_no_last_value() -> None:
    result = check(*WRITES, Op("get", 200, 201, 7, 2))
    assert result.verdict is Verdict.INVALID
    assert "process 2 read 7, which nobody had written" in result.reason
    # Of a key that nobody wrote it is not known what it held at first.
    assert check(Op("get", 200, 201, 7), Op("get", 300, 301, 7)).verdict is Verdict.VALID


LATE = [*WRITES, Op("put", 40, None, 3, 1)]


@pytest.mark.parametrize(
    ("reads", "verdict"),
    [
        ([(300, 2), (400, 3), (500, 3)], Verdict.VALID),
        ([(300, 2), (400, 2), (500, 2)], Verdict.VALID),
        ([(300, 3), (400, 2), (500, 3)], Verdict.VALID),
        ([(300, 3), (400, 2), (500, 2)], Verdict.INVALID),
        ([(300, 3), (400, 3), (500, 1)], Verdict.INVALID),
    ],
)
def test_what_never_returned_may_come_late_and_then_it_has_as_long_as_any(
    reads: list[tuple[int, int]], verdict: Verdict
) -> None:
    operations = [Op("get", begin, begin + 1, value, 2) for begin, value in reads]
    assert check(*LATE, *operations).verdict is verdict


def test_two_that_come_late_come_once_each() -> None:
    late = [*LATE, Op("put", 50, None, 4, 3)]
    for values, verdict in (((3, 4), Verdict.VALID), ((3, 4, 3), Verdict.INVALID)):
        reads = [Op("get", 300 * n, 300 * n + 1, value, 2) for n, value in enumerate(values, 1)]
        assert check(*late, *reads).verdict is verdict


def test_where_nothing_was_read_late_enough_nothing_is_known() -> None:
    result = check(*WRITES, Op("get", 60, 61, 1, 1))
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason == "no key was read later than 100 ms after its last update"
    assert check(*WRITES, Op("get", 60, 61, 1, 1), quiet_ms=20).verdict is Verdict.INVALID


def fault(healed_ms: int | None) -> dict[str, Any]:
    healed_ns = None if healed_ms is None else healed_ms * 1_000_000
    return {
        "id": 1,
        "kind": "partition",
        "nodes": [],
        "planned_ns": 0,
        "verified_ns": 1,
        "healed_ns": healed_ns,
    }


def test_who_is_cut_off_need_not_converge_before_that_is_healed() -> None:
    stale = [*WRITES, Op("get", 500, 530, 1, 2)]
    assert check(*stale, faults=(fault(None),)).verdict is Verdict.UNKNOWN
    assert check(*stale, faults=(fault(450),)).verdict is Verdict.UNKNOWN
    assert check(*stale, faults=(fault(350),)).verdict is Verdict.INVALID


def test_it_is_left_out_where_a_test_was_cut_short_and_stops_when_it_is_told_to() -> None:
    assert ConvergenceChecker.judges_the_end
    assert check(*WRITES, should_stop=lambda: True).verdict is Verdict.UNKNOWN
    assert check(*WRITES, seconds=0).verdict is Verdict.UNKNOWN
    with pytest.raises(UsageError, match="'quiet_ms' cannot be -1"):
        ConvergenceChecker(-1)


# --- systems that converge by construction --------------------------------------------------------------


def system(rng: random.Random, *, stuck: bool = False) -> list[Op]:
    """An origin whose copies are ``QUIET_MS`` behind at most; or one of them stays behind for ever."""
    times = iter(sorted(rng.sample(range(2_000), 60)))
    effects: dict[str, list[tuple[float, Any]]] = {"x": [(-1, None)], "y": [(-1, None)]}
    operations: list[Op] = []
    for number in range(rng.randint(2, 8)):
        begin, end = next(times), next(times)
        key, crashed = rng.choice("xy"), rng.random() < 0.3
        f = rng.choice(["put", "put", "put", "delete"])
        value = rng.choice([1, 2, number + 10]) if f == "put" else None
        operations.append(Op(f, begin, None if crashed else end, value, 100 + number, key))
        if not crashed or rng.random() < 0.7:
            effects[key].append((rng.uniform(begin, 2_000 if crashed else end), value))
    for of_key in effects.values():
        of_key.sort(key=lambda effect: effect[0])
    while (begin := next(times, None)) is not None and (end := next(times, None)) is not None:
        key, process = rng.choice("xy"), rng.randint(0, 2)
        moment = rng.uniform(begin, end) - rng.uniform(0, QUIET_MS)
        if stuck and process == 0:
            moment = min(moment, 300)
        value = [value for at, value in effects[key] if at <= max(moment, 0)][-1]
        operations.append(Op("get", begin, end, value, 200 + len(operations) * 3 + process, key))
    return operations


def convictions(seed: int, count: int, *, stuck: bool) -> int:
    """How many of so many systems are convicted."""
    systems = (system(random.Random(f"{seed}/{number}"), stuck=stuck) for number in range(count))
    return sum(check(*operations).verdict is Verdict.INVALID for operations in systems)


def test_a_system_that_converges_is_never_convicted_and_one_that_does_not_mostly_is() -> None:
    assert convictions(1, 1_000, stuck=False) == 0
    assert convictions(1, 200, stuck=True) > 80


MISTAKES = [
    ("copies have no time", "columns.call_ns[self.reads] - self._quiet_ns)", "columns.call_ns[self.reads])"),
    ("what comes late has no time", "ret_ns[other.first] + self._quiet_ns", "ret_ns[other.first]"),
    ("nothing comes late", "late=bool(late.any())", "late=False"),
    ("what comes late comes again", "wrong = one.once and other.once and", "wrong ="),
    ("the keys are quiet at once", "since_ns[columns.key[versions.reads]] + self._quiet_ns", "0"),
]


@pytest.mark.parametrize(("name", "right", "wrong"), MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_mistake_in_the_rules_is_found(name: str, right: str, wrong: str) -> None:
    with Planted(convergence, right, wrong):
        assert any(convictions(seed, 100, stuck=False) for seed in range(1, 20)), name
