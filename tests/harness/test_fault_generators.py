"""Generators over generators, played by hand: a nemesis' thread whose operations take some time."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from foreshock.harness.fault_generators import Exclusive, Pauses, Quiet, Scripted, drawn
from foreshock.harness.generator.base import PENDING, Liftable
from foreshock.harness.generator.context import GeneratorContext
from foreshock.harness.generator.native import lift
from foreshock.harness.operation import NEMESIS, Operation, OperationType
from foreshock.harness.randomness import RandomStream
from foreshock.harness.schedule_file import Step
from foreshock.nemesis.schedule import Faults, FaultSchedule

SECOND_NS = 1_000_000_000


def play(
    generator: Liftable,
    until_ns: int,
    *,
    takes_ns: int = 0,
    performed: Any = lambda _operation: None,
    seed: int = 1,
) -> list[tuple[int, str, Any]]:
    """What the nemesis is asked, and when, until some time; clients keep the interpreter asking in between."""
    ctx = GeneratorContext.start(1, RandomStream(seed, "generator")).restrict(frozenset({NEMESIS}))
    rest, asked, now_ns = lift(generator), [], 0
    while now_ns < until_ns:
        ctx = ctx.at(now_ns)
        answer = rest.op(ctx)
        if answer is None:
            break
        if not isinstance(answer, tuple):
            assert answer is not PENDING, "nothing is under way that could change that"
        operation, after = answer  # type: ignore[misc]
        assert operation.time_ns is not None
        if operation.time_ns > now_ns:
            now_ns = min(
                operation.time_ns, now_ns + SECOND_NS
            )  # asked again on the way, which changes nothing
            continue
        asked.append((now_ns, operation.f, operation.value))
        rest = after.update(ctx.busy(NEMESIS), operation)
        assert not isinstance(rest.op(ctx.busy(NEMESIS)), tuple)
        performed(operation)
        now_ns += takes_ns
        ctx = ctx.at(now_ns)
        rest = rest.update(ctx, replace(operation, type=OperationType.OK, time_ns=now_ns))
    return asked


def stream(start: str, stop: str, seed: int = 1) -> FaultSchedule:
    from types import SimpleNamespace

    context: Any = SimpleNamespace(
        interval_ns=SECOND_NS,
        intensity_permille=1000,
        rng=RandomStream(seed, f"nemesis/{start}"),
        runtime=SimpleNamespace(now=lambda: 0),
    )
    return FaultSchedule.first(Faults(start, stop, ("one", "two")), context)


def test_a_script_is_played_at_its_times_and_late_when_the_nemesis_is_busy() -> None:
    steps = [
        Step(SECOND_NS, "kill", {"nodes": ["n1"]}),
        Step(SECOND_NS, "pause", "one"),
        Step(5 * SECOND_NS, "start", None),
    ]
    assert play(Scripted(steps), 60 * SECOND_NS, takes_ns=2 * SECOND_NS) == [
        (1 * SECOND_NS, "kill", {"nodes": ["n1"]}),
        (3 * SECOND_NS, "pause", "one"),
        (5 * SECOND_NS, "start", None),
    ]


@pytest.mark.parametrize("takes_ns", [0, 100_000_000])
def test_one_fault_at_a_time_by_weight_while_the_clocks_of_the_others_stand_still(takes_ns: int) -> None:
    open_faults: set[str] = set()

    def performed(operation: Operation) -> None:
        what = operation.f.partition("-")[2]
        (open_faults.add if operation.f.startswith("break") else open_faults.discard)(what)
        assert len(open_faults) <= 1

    generators = tuple(lift(stream(f"break-{name}", f"mend-{name}")) for name in ("a", "b"))
    exclusive = Exclusive(generators, (1, 4), lambda: not open_faults, 0, 0, (0, 0))
    asked = play(exclusive, 2_000 * SECOND_NS, takes_ns=takes_ns, performed=performed)
    for (_, broken, _), (_, mended, _) in zip(asked[::2], asked[1::2], strict=False):
        assert (broken.partition("-")[2], broken[:5], mended[:4]) == (
            mended.partition("-")[2],
            "break",
            "mend",
        )
    counts = {name: sum(f == f"break-{name}" for _, f, _ in asked) for name in ("a", "b")}
    assert counts["a"] * 2 < counts["b"] < counts["a"] * 8
    gaps = [asked[i][0] - asked[i - 1][0] for i in range(2, len(asked), 2)]
    assert sum(gap > SECOND_NS // 5 for gap in gaps) > len(gaps) // 5, (
        "the pauses between faults are as drawn"
    )


def test_a_draw_falls_on_a_weight_as_often_as_it_weighs() -> None:
    assert [drawn((1, 3, 2), draw) for draw in range(6)] == [0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("takes_ns", [0, 300_000_000])
def test_in_quiet_windows_everything_is_healed_and_nothing_begins(takes_ns: int) -> None:
    windows = ((5 * SECOND_NS, 10 * SECOND_NS), (20 * SECOND_NS, 21 * SECOND_NS))
    heal = [Operation(f="mend-a"), Operation(f="mend-everything")]
    quiet = Quiet(lift(stream("break-a", "mend-a")), Pauses(windows), lambda: heal)
    asked = play(quiet, 40 * SECOND_NS, takes_ns=takes_ns)
    for begin_ns, end_ns in windows:
        within = [f for at_ns, f, _ in asked if begin_ns <= at_ns < end_ns]
        assert within == ["mend-a", "mend-everything"]
        first = min(at_ns for at_ns, f, _ in asked if at_ns >= begin_ns)
        assert first <= begin_ns + takes_ns
    assert sum(f == "mend-everything" for _, f, _ in asked) == 2
    assert sum(f == "break-a" for at_ns, f, _ in asked if at_ns > 10 * SECOND_NS) > 3


def test_quiet_windows_put_off_what_was_planned_by_as_much() -> None:
    steps = [Step(at * SECOND_NS, "kill", at) for at in (1, 4, 6)]
    quiet = Quiet(Scripted(steps), Pauses(((2 * SECOND_NS, 5 * SECOND_NS),)), lambda: Operation(f="start"))
    assert play(quiet, 60 * SECOND_NS) == [
        (1 * SECOND_NS, "kill", 1),
        (2 * SECOND_NS, "start", None),
        (7 * SECOND_NS, "kill", 4),
        (9 * SECOND_NS, "kill", 6),
    ]


def test_the_clock_of_pauses_and_its_inverse_agree() -> None:
    pauses = Pauses(((10, 20), (25, 30)))
    assert [pauses.clock_ns(now) for now in (0, 10, 15, 20, 24, 27, 30, 31)] == [
        0,
        10,
        10,
        10,
        14,
        15,
        15,
        16,
    ]
    for now in (0, 9, 20, 24, 30, 99):
        assert pauses.when_ns(pauses.clock_ns(now)) == now
