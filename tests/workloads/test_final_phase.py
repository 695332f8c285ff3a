from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import msgspec

from foreshock.harness.operation import Operation, OperationType
from foreshock.workloads.final_phase import PATIENCE_NS, Chore, Chores, reads_everywhere


def ok(operation: Operation) -> Operation:
    return msgspec.structs.replace(operation, type=OperationType.OK, result={"token": operation.key})


def failing(*outcomes: OperationType) -> Any:
    left = list(outcomes)

    def answer(operation: Operation) -> Operation:
        return msgspec.structs.replace(operation, type=left.pop(0)) if left else ok(operation)

    return answer


def test_every_thread_reads_every_live_key_and_retired_ones_are_shared_out(play: Any) -> None:
    chores = Chores(lambda processes: reads_everywhere("read", [7, 8], [1, 2, 3], len(processes)))
    played = play(chores, ok, concurrency=2).run(200)
    assert played.ended
    by_process = {p: [e.key for e in played.invoked if e.process == p] for p in (0, 1)}
    assert by_process == {0: [7, 8, 1, 3], 1: [7, 8, 2]}


def test_a_chore_is_tried_again_until_it_succeeds_by_the_new_process(play: Any) -> None:
    chores = Chores(lambda processes: [[Chore.of(Operation(f="read", key=5))]])
    played = play(chores, failing(OperationType.FAIL, OperationType.INFO), concurrency=1).run(200)
    assert played.ended
    assert [e.process for e in played.invoked] == [0, 0, 1]
    times = [e.time_ns for e in played.invoked]
    assert all(later - earlier >= 250_000_000 for earlier, later in itertools.pairwise(times))


def test_patience_is_bounded(play: Any) -> None:
    chores = Chores(lambda processes: [[Chore.of(Operation(f="read", key=key)) for key in range(3)]])

    def refuse(operation: Operation) -> Operation:
        return msgspec.structs.replace(operation, type=OperationType.FAIL)

    played = play(chores, refuse, concurrency=1).run(5000)
    assert played.ended
    assert set(Counter(e.key for e in played.invoked)) == {0, 1, 2}
    assert played.context.time_ns < 2 * PATIENCE_NS


def test_a_chore_that_needs_the_one_before_is_made_from_it_or_skipped(play: Any) -> None:
    def release(acquired: Operation | None) -> Operation:
        assert acquired is not None
        return Operation(f="release", key=acquired.key, value=acquired.result)

    def plan(processes: Any) -> Any:
        return [
            [
                Chore.of(Operation(f="acquire", key=1), once=True),
                Chore(release, needs_ok=True),
                Chore.of(Operation(f="acquire", key=2), once=True),
                Chore(release, needs_ok=True),
            ]
        ]

    played = play(Chores(plan), failing(OperationType.FAIL), concurrency=1).run(100)
    assert played.ended
    assert [(e.f, e.key) for e in played.invoked] == [("acquire", 1), ("acquire", 2), ("release", 2)]
    assert played.invoked[-1].value == {"token": 2}


def test_no_chores_end_at_once(play: Any) -> None:
    assert play(Chores(lambda processes: [[] for _ in processes]), ok).run(10).ended


def test_what_may_be_refused_is_not_asked_again_once_it_certainly_had_no_effect(play: Any) -> None:
    release = Chore(lambda _: Operation(f="release", key=1), may_be_refused=True)

    def played(*outcomes: OperationType) -> list[str]:
        chores = Chores(lambda processes: [[release, Chore.of(Operation(f="read", key=2))]])
        return [event.f for event in play(chores, failing(*outcomes), concurrency=1).run(200).invoked]

    assert played(OperationType.FAIL) == ["release", "read"]
    assert played(OperationType.INFO, OperationType.FAIL) == ["release", "release", "read"]
