"""What each generator gives, exactly, when every operation takes 10 ns and is ok."""

from __future__ import annotations

import pytest

from foreshock.harness import generator as gen
from foreshock.harness.errors import PlugInError
from foreshock.harness.generator.base import Context, Liftable
from foreshock.harness.generator.testing import invocations, perfect, simulate
from foreshock.harness.operation import NEMESIS, Operation, OperationType

A, B, C = Operation("a"), Operation("b"), Operation("c")
OK, FAIL, INFO = OperationType.OK, OperationType.FAIL, OperationType.INFO


def steps(generator: Liftable, *, concurrency: int = 1, seed: int = 0) -> list[tuple[int, int, str]]:
    """Time, process and name of each operation that clients start."""
    events = perfect(gen.clients(generator), concurrency=concurrency, seed=seed)
    return [(e.time_ns or 0, e.process or 0, e.f) for e in events]


def names(generator: Liftable, *, concurrency: int = 1, seed: int = 0) -> str:
    return "".join(f for _, _, f in steps(generator, concurrency=concurrency, seed=seed))


def test_none_gives_nothing() -> None:
    assert steps(None) == []
    assert steps([]) == []
    assert steps([None, [], ()]) == []


def test_an_operation_happens_once() -> None:
    assert steps(A) == [(0, 0, "a")]


def test_an_operation_keeps_its_time_process_key_and_value() -> None:
    operation = Operation("a", key="k", value=[1], process=1, time_ns=70)
    (event,) = perfect(operation, concurrency=3)
    assert event == operation


def test_an_operation_whose_time_is_past_happens_now() -> None:
    assert steps([A, Operation("b", time_ns=3)]) == [(0, 0, "a"), (10, 0, "b")]


def test_a_list_is_one_after_the_other_as_threads_are_free() -> None:
    assert steps([A, B, C]) == [(0, 0, "a"), (10, 0, "b"), (20, 0, "c")]
    assert [(t, f) for t, _, f in steps([A, B, C], concurrency=2)] == [(0, "a"), (0, "b"), (10, "c")]
    assert names([[A, B], (C, [A])]) == "abca"
    assert names(gen.concat(A, None, B)) == "ab"


def test_a_function_gives_operations_until_it_gives_none() -> None:
    def until_25(ctx: Context) -> Liftable:
        return A if ctx.time_ns < 25 else None

    assert steps(until_25) == [(0, 0, "a"), (10, 0, "a"), (20, 0, "a")]
    assert names(gen.fn(lambda ctx: [A, B] if ctx.time_ns < 30 else None)) == "abab"


def test_a_function_is_not_asked_while_every_thread_is_busy() -> None:
    calls: list[int] = []

    def count(ctx: Context) -> Liftable:
        calls.append(ctx.time_ns)
        return A if len(calls) <= 4 else None

    assert names(count, concurrency=2) == "aaaa"
    assert calls == [0, 0, 10, 10, 20]


def test_limit_and_once() -> None:
    assert names(gen.limit(3, gen.repeat(A))) == "aaa"
    assert names(gen.limit(3, A)) == "a"
    assert names(gen.limit(0, A)) == ""
    assert names(gen.once(gen.repeat(A))) == "a"
    assert names([gen.limit(2, [A, B, C]), C]) == "abc"


def test_repeat_gives_the_first_operation_again() -> None:
    assert names(gen.repeat(3, [A, B])) == "aaa"
    assert names(gen.repeat(0, A)) == ""
    assert names(gen.limit(4, gen.repeat(A))) == "aaaa"
    assert names(gen.repeat(2, None)) == ""


def test_cycle_begins_anew() -> None:
    assert names(gen.cycle(2, [A, B])) == "abab"
    assert names(gen.cycle(0, A)) == ""
    assert names(gen.limit(5, gen.cycle([A, gen.limit(1, gen.repeat(B))]))) == "ababa"
    assert names(gen.cycle(None)) == ""
    assert names(gen.cycle(3, gen.limit(0, A))) == ""


def test_time_limit_counts_from_the_first_operation() -> None:
    late = [Operation("a", time_ns=100), gen.repeat(B)]
    assert steps(gen.time_limit(25, late)) == [(100, 0, "a"), (110, 0, "b"), (120, 0, "b")]
    assert names(gen.time_limit(0, A)) == ""


def test_time_limit_is_anew_in_each_round_of_a_cycle() -> None:
    assert steps(gen.cycle(2, gen.time_limit(15, gen.repeat(A)))) == [
        (0, 0, "a"),
        (10, 0, "a"),
        (20, 0, "a"),
        (30, 0, "a"),
    ]


def test_time_limit_cuts_a_sleep_to_the_time_that_is_left() -> None:
    events = simulate(gen.clients([gen.time_limit(30, [A, gen.sleep(1000), B]), C]), concurrency=1)
    assert [(e.time_ns, e.f) for e in invocations(events)] == [(0, "a"), (30, "c")]


def test_phases_begin_when_all_of_the_one_before_has_ended() -> None:
    assert [(t, f) for t, _, f in steps(gen.phases([A, A, A], B, None, [C, C]), concurrency=2)] == [
        (0, "a"),
        (0, "a"),
        (10, "a"),
        (20, "b"),
        (30, "c"),
        (30, "c"),
    ]


def test_then_takes_the_later_one_first() -> None:
    assert [(t, f) for t, _, f in steps(gen.then(B, [A, A]), concurrency=3)] == [
        (0, "a"),
        (0, "a"),
        (10, "b"),
    ]


def test_synchronize_waits_once_and_then_runs_free() -> None:
    operations = [A, gen.synchronize([B, B, B])]
    assert [(t, f) for t, _, f in steps(operations, concurrency=2)] == [
        (0, "a"),
        (10, "b"),
        (10, "b"),
        (20, "b"),
    ]


def test_each_thread_gives_each_thread_the_whole() -> None:
    assert sorted(steps(gen.each_thread([A, B]), concurrency=3)) == sorted(
        [(t, p, f) for t, f in ((0, "a"), (10, "b")) for p in range(3)]
    )


def test_each_process_begins_anew_after_a_crash() -> None:
    def outcome(operation: Operation) -> OperationType:
        return INFO if operation.f == "b" and (operation.process or 0) < 4 else OK

    events = simulate(gen.clients(gen.each_process([A, B, C])), concurrency=2, outcome=outcome)
    by_process: dict[int, str] = {}
    for event in invocations(events):
        assert event.process is not None
        by_process[event.process] = by_process.get(event.process, "") + event.f
    assert by_process == {0: "ab", 1: "ab", 2: "ab", 3: "ab", 4: "abc", 5: "abc"}


def test_any_of_takes_the_soonest() -> None:
    slow, quick = gen.delay(30, gen.limit(2, gen.repeat(A))), gen.delay(7, gen.limit(4, gen.repeat(B)))
    given = steps(gen.any_of(slow, quick), concurrency=5)
    assert sorted((t, f) for t, _, f in given) == [
        (0, "a"),
        (0, "b"),
        (7, "b"),
        (14, "b"),
        (21, "b"),
        (30, "a"),
    ]
    assert [t for t, _, _ in given] == [0, 0, 7, 14, 21, 30]
    assert names(gen.any_of()) == ""
    assert names(gen.any_of(None, A)) == "a"


def test_any_of_starves_nobody_when_times_are_equal() -> None:
    counted = names(gen.limit(600, gen.any_of(gen.repeat(A), gen.repeat(B), gen.repeat(C))))
    assert all(150 < counted.count(f) < 250 for f in "abc")


def test_mix_mixes_and_drops_what_is_exhausted() -> None:
    counted = names(gen.limit(600, gen.mix(gen.repeat(A), [gen.repeat(B)], gen.limit(5, gen.repeat(C)))))
    assert counted.count("c") == 5
    assert 240 < counted.count("a") < 360
    assert sorted(names(gen.mix([A, B, C, A]))) == ["a", "a", "b", "c"]
    assert names(gen.mix([])) == ""
    assert names(gen.mix(None, A)) == "a"


def test_mix_lets_others_go_on_when_one_is_pending() -> None:
    def never(ctx: Context) -> gen.Pending:
        return gen.PENDING

    assert names(gen.limit(5, gen.mix(gen.repeat(A), never))) == "aaaaa"


def test_flip_flop_goes_round_until_one_is_exhausted() -> None:
    assert names(gen.flip_flop(gen.repeat(A), [B, C], gen.repeat(C))) == "abcacca"
    assert names(gen.flip_flop(gen.repeat(A), None)) == "a"


def test_reserve_gives_ranges_of_threads() -> None:
    events = steps(
        gen.limit(60, gen.reserve(1, gen.repeat(A), 2, gen.repeat(B), gen.repeat(C))), concurrency=5
    )
    threads = {f: {p for _, p, g in events if g == f} for f in "abc"}
    assert threads == {"a": {0}, "b": {1, 2}, "c": {3, 4}}
    per_thread = [sum(1 for _, p, _ in events if p == process) for process in range(5)]
    assert per_thread == [12] * 5


def test_reserve_can_be_nested_and_leave_threads_idle() -> None:
    inner = gen.reserve(1, gen.repeat(A), gen.repeat(B))
    events = steps(gen.limit(30, gen.reserve(2, gen.repeat(C), 2, inner, None)), concurrency=5)
    assert {f: {p for _, p, g in events if g == f} for f in "abc"} == {"a": {2}, "b": {3}, "c": {0, 1}}


def test_on_threads_restricts() -> None:
    events = steps(gen.limit(9, gen.on_threads({1, 2}, gen.repeat(A))), concurrency=4)
    assert {p for _, p, _ in events} == {1, 2}
    odd = steps(gen.limit(9, gen.on_threads(lambda thread: thread % 2 == 1, gen.repeat(A))), concurrency=4)
    assert {p for _, p, _ in odd} == {1, 3}


def test_clients_and_nemesis_have_their_own_threads() -> None:
    both = gen.clients(gen.limit(6, gen.repeat(A)), gen.limit(3, gen.repeat(B)))
    events = perfect(both, concurrency=2)
    assert [e.process for e in events if e.f == "b"] == [NEMESIS] * 3
    assert {e.process for e in events if e.f == "a"} == {0, 1}
    swapped = perfect(gen.nemesis(gen.limit(3, gen.repeat(B)), gen.limit(6, gen.repeat(A))), concurrency=2)
    assert sorted((e.process or 0, e.f) for e in events) == sorted((e.process or 0, e.f) for e in swapped)


def test_delay_keeps_its_distance_and_its_schedule() -> None:
    assert [t for t, _, _ in steps(gen.limit(4, gen.delay(25, gen.repeat(A))))] == [0, 25, 50, 75]
    assert [t for t, _, _ in steps(gen.limit(6, gen.delay(7, gen.repeat(A))))] == [0, 10, 20, 30, 40, 50]
    assert [t for t, _, _ in steps(gen.limit(5, gen.delay(4, gen.repeat(A))), concurrency=2)] == [
        0,
        4,
        10,
        14,
        20,
    ]
    assert steps(gen.delay(0, [A, B])) == steps([A, B])


def test_sleep_occupies_one_thread_alone() -> None:
    assert steps([A, gen.sleep(100), B]) == [(0, 0, "a"), (110, 0, "b")]
    assert [(t, f) for t, _, f in steps([gen.sleep(100), B, B], concurrency=2)] == [(0, "b"), (10, "b")]


def test_until_ok_ends_with_the_first_ok_of_its_own() -> None:
    tries = iter([FAIL, INFO, FAIL, OK, OK])

    def outcome(operation: Operation) -> OperationType:
        return next(tries) if operation.f == "a" else OK

    generator = gen.clients([gen.until_ok([gen.log("trying"), gen.repeat(A)]), B])
    events = simulate(generator, concurrency=1, outcome=outcome)
    assert "".join(e.f for e in invocations(events)) == "aaaab"


def test_until_ok_is_not_fooled_by_the_operations_of_others() -> None:
    generator = gen.any_of(
        gen.on_threads({0}, gen.limit(20, gen.repeat(B))), gen.on_threads({1}, gen.until_ok(gen.repeat(A)))
    )
    events = simulate(
        generator, concurrency=2, outcome=lambda o: FAIL if o.f == "a" and (o.time_ns or 0) < 45 else OK
    )
    assert [e.time_ns for e in invocations(events) if e.f == "a"] == [0, 10, 20, 30, 40, 50]


def test_process_limit_ends_when_too_many_processes_have_been_there() -> None:
    generator = gen.clients(gen.process_limit(5, gen.repeat(A)))
    events = simulate(generator, concurrency=2, outcome=lambda _: INFO)
    assert sorted({e.process for e in invocations(events)}) == [0, 1, 2, 3]
    assert perfect(gen.clients(gen.process_limit(1, gen.repeat(A))), concurrency=2) == []


def test_map_and_filter_leave_sleeps_alone() -> None:
    from msgspec.structs import replace

    doubled = gen.map_ops(lambda o: replace(o, f=o.f * 2), [A, gen.sleep(5), B])
    assert steps(doubled) == [(0, 0, "aa"), (15, 0, "bb")]
    assert names(gen.filter_ops(lambda o: o.f != "b", [A, B, gen.sleep(5), B, C])) == "ac"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: gen.limit(-1, A), "limit.*count=-1"),
        (lambda: gen.limit(A, 3), "limit.*whole number"),  # type: ignore[arg-type]
        (lambda: gen.time_limit(1.5, A), "time_limit.*limit_ns=1.5"),  # type: ignore[arg-type]
        (lambda: gen.stagger(True, A), "stagger.*interval_ns=True"),
        (lambda: gen.delay(-5, A), "delay.*interval_ns=-5"),
        (lambda: gen.sleep(-1), "sleep.*duration_ns=-1"),
        (lambda: gen.repeat(A, 3), "repeat.*count"),  # type: ignore[call-overload]
        (lambda: gen.reserve(1, A), "reserve.*pairs"),
        (lambda: gen.reserve(A, B, C), "reserve.*pairs"),
        (lambda: gen.flip_flop(), "at least one"),
        (lambda: gen.lift("read"), "'read' is no generator"),
        (lambda: gen.lift({"f": "read"}), "no generator"),  # type: ignore[arg-type]
        (lambda: gen.lift(Operation), "no generator"),
        (lambda: perfect(gen.reserve(9, A, B), concurrency=2), "wants 9 threads"),
        (lambda: perfect(gen.fn(lambda ctx: [])), "1000 empty generators"),
        (lambda: perfect(gen.filter_ops(lambda o: False, gen.repeat(A))), "turned down 100000"),
        (lambda: perfect(gen.map_ops(lambda o: o.f, A)), "map_ops"),  # type: ignore[arg-type, return-value]
        (lambda: perfect(Operation("a", process=7)), "process 7 is not alive"),
        (lambda: perfect(lambda ctx: gen.PENDING), "pending"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(make: object, text: str) -> None:
    assert callable(make)
    with pytest.raises(PlugInError, match=text):
        make()
