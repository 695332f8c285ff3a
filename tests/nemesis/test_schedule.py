from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from foreshock.harness.generator.base import PENDING
from foreshock.harness.operation import NEMESIS, Operation, OperationType
from foreshock.harness.randomness import RandomStream
from foreshock.nemesis.schedule import Faults, FaultSchedule

SECOND_NS = 1_000_000_000
INTERVAL_NS = 5 * SECOND_NS


class NemesisThread:
    """A context with nothing but the nemesis' thread."""

    def __init__(self, seed: int) -> None:
        self.time_ns = 0
        self.rng = RandomStream(seed, "context")
        self.threads = (NEMESIS,)
        self.free: tuple[int, ...] = (NEMESIS,)


def first(seed: int, began_ns: int = 0, **more: Any) -> FaultSchedule:
    context: Any = SimpleNamespace(
        interval_ns=INTERVAL_NS,
        intensity_permille=1000,
        rng=RandomStream(seed, "nemesis"),
        runtime=SimpleNamespace(now=lambda: began_ns),
    )
    return FaultSchedule.first(Faults("kill", "start", ("one", "all"), **more), context)


def steps(seed: int, count: int, outcome: OperationType = OperationType.INFO, **more: Any) -> list[Operation]:
    schedule: Any = first(seed, **more)
    context: Any = NemesisThread(seed)
    taken = []
    for _ in range(count):
        operation, schedule = schedule.op(context)
        context.time_ns = operation.time_ns
        schedule = schedule.update(context, operation)
        assert schedule.op(context) is PENDING
        schedule = schedule.update(context, msgspec.structs.replace(operation, type=outcome))
        taken.append(operation)
    return taken


@pytest.mark.parametrize("outcome", [OperationType.OK, OperationType.INFO])
def test_faults_start_and_stop_in_turn_whether_they_took_or_not(outcome: OperationType) -> None:
    taken = steps(1, 50, outcome)
    assert [step.f for step in taken] == ["kill", "start"] * 25
    assert {step.value for step in taken[::2]} == {"one", "all"}
    assert {step.value for step in taken[1::2]} == {None}
    assert {step.process for step in taken} == {NEMESIS}


def test_a_fault_that_can_move_does_so_in_some_tests_and_is_undone_in_all() -> None:
    """So leaders are cut off one after the other, and none hears of the next in between."""
    moved = dict.fromkeys(range(30), 0)
    for seed in moved:
        taken = [step.f for step in steps(seed, 60, moves=True)]
        moved[seed] = sum(pair == ("kill", "kill") for pair in itertools.pairwise(taken))
        assert ("start", "start") not in itertools.pairwise(taken)
        assert taken.count("start") > 5
    assert sum(count == 0 for count in moved.values()) > 3
    assert max(moved.values()) > 15


def test_the_stop_of_a_fault_that_ends_by_itself_follows_when_it_ends() -> None:
    schedule: Any = first(2)
    context: Any = NemesisThread(2)
    start, schedule = schedule.op(context)
    context.time_ns = start.time_ns + 20_000_000
    ended = msgspec.structs.replace(start, type=OperationType.OK, result={"duration_ms": 700})
    stop, schedule = schedule.update(context, ended).op(context)
    assert (stop.f, stop.time_ns) == ("start", context.time_ns + 700_000_000)
    context.time_ns = stop.time_ns
    ended = msgspec.structs.replace(stop, type=OperationType.OK, result={"duration_ms": 10**9})
    again, _ = schedule.update(context, ended).op(context)
    assert again.time_ns < context.time_ns + 4 * INTERVAL_NS, "what a stop says of durations means nothing"


def test_asking_again_changes_neither_the_step_nor_its_time() -> None:
    schedule: Any = first(4)
    context: Any = NemesisThread(4)
    asked = [schedule.op(context)[0] for _ in range(20)]
    assert all(answer == asked[0] for answer in asked)


def test_the_first_fault_comes_within_the_interval_however_long_the_deployment_took() -> None:
    for seed in range(50):
        asked: Any = first(seed, began_ns=60 * SECOND_NS).op(NemesisThread(seed))  # type: ignore[arg-type]
        assert 60 * SECOND_NS < asked[0].time_ns <= 60 * SECOND_NS + INTERVAL_NS


def test_long_distances_alternate_with_short_ones_and_bursts() -> None:
    times = [step.time_ns or 0 for step in steps(7, 2000)]
    distances = [later - earlier for earlier, later in itertools.pairwise(times)]
    long = sum(distance >= INTERVAL_NS * 3 // 5 for distance in distances)
    tiny = sum(distance <= INTERVAL_NS // 20 for distance in distances)
    assert long > 200
    assert tiny > 400
    assert max(distances) <= 2 * INTERVAL_NS


def test_a_stop_of_some_is_followed_by_a_stop_of_all() -> None:
    taken = steps(3, 300, in_parts="some")
    pairs = [(one, two) for one, two in itertools.pairwise(taken) if (one.f, one.value) == ("start", "some")]
    assert len(pairs) > 20
    assert all((two.f, two.value) == ("start", None) for _, two in pairs)


def test_a_fault_that_leaves_no_quorum_is_brief() -> None:
    taken = steps(5, 500, brief=frozenset({"all"}))
    held = [
        (two.time_ns or 0) - (one.time_ns or 0)
        for one, two in itertools.pairwise(taken)
        if one.value == "all"
    ]
    assert len(held) > 50
    assert max(held) <= INTERVAL_NS * 400 // 1000


def test_nothing_happens_while_the_nemesis_is_busy_or_somebody_else_completes() -> None:
    schedule = first(2)
    context: Any = NemesisThread(2)
    context.free = ()
    assert schedule.op(context) is PENDING
    assert schedule.update(context, Operation(f="pause", type=OperationType.INFO)) is schedule
