"""What holds of every generator, whatever it is made of."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.harness import generator as gen
from foreshock.harness.errors import PlugInError
from foreshock.harness.generator.base import Context, Generator
from foreshock.harness.generator.context import GeneratorContext
from foreshock.harness.generator.native import Answer, Native, lift, problem_with
from foreshock.harness.generator.testing import invocations, perfect, random_latency, simulate
from foreshock.harness.operation import NEMESIS, Operation, OperationType
from foreshock.harness.randomness import RandomStream

OPERATIONS = st.builds(Operation, st.sampled_from("abc"), value=st.integers(0, 9))


class Stranger(Generator):
    """A generator that is not built in: its operation three times; it counts what it hears."""

    def __init__(self, operation: Operation, given: int = 0, heard: int = 0) -> None:
        self.state = (operation, given, heard)

    def __repr__(self) -> str:
        return f"Stranger{self.state}"

    def op(self, ctx: Context) -> Any:
        operation, given, heard = self.state
        if given == 3:
            return None
        answer = gen.op(operation, ctx)
        return (answer[0], Stranger(operation, given + 1, heard)) if isinstance(answer, tuple) else answer

    def update(self, ctx: Context, event: Operation) -> Stranger:
        operation, given, heard = self.state
        return Stranger(operation, given, heard + 1)


def draws(ctx: Context) -> Operation:
    return Operation("drawn", value=ctx.rng.below(1000))


def combined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    small = st.integers(1, 4)
    return st.one_of(
        st.lists(inner, max_size=3),
        st.builds(gen.any_of, inner, inner),
        st.builds(gen.mix, inner, inner),
        st.builds(gen.flip_flop, inner, inner),
        st.builds(gen.limit, small, inner),
        st.builds(gen.repeat, small, inner),
        st.builds(gen.cycle, small, inner),
        st.builds(gen.stagger, st.integers(0, 50), inner),
        st.builds(gen.delay, st.integers(0, 50), inner),
        st.builds(gen.time_limit, st.integers(0, 200), inner),
        st.builds(gen.each_thread, inner),
        st.builds(gen.each_process, inner),
        st.builds(gen.until_ok, inner),
        st.builds(gen.process_limit, st.integers(1, 6), inner),
        st.builds(gen.phases, inner, inner),
        st.builds(gen.then, inner, inner),
        st.builds(gen.clients, inner),
        st.builds(gen.nemesis, inner),
        st.builds(gen.on_threads, st.sets(st.integers(-1, 3)), inner),
        st.builds(gen.reserve, st.just(0), inner, inner),
        st.builds(gen.map_ops, st.just(lambda operation: operation), inner),
        st.builds(gen.filter_ops, st.just(lambda operation: operation.f != "b"), inner),
    )


LEAVES = st.one_of(
    st.none(),
    OPERATIONS,
    st.builds(Stranger, OPERATIONS),
    st.builds(gen.sleep, st.integers(0, 40)),
    st.builds(gen.log, st.just("note")),
    st.just(gen.limit(5, draws)),
)
GENERATORS = st.recursive(LEAVES, combined, max_leaves=6)


class Watched(Native):
    """A generator whose every answer is asked for twice, and whose deafness is tried."""

    __slots__ = ("inner",)

    def __init__(self, inner: Native) -> None:
        self.inner = inner

    @property
    def deaf(self) -> bool:
        return False

    def op(self, ctx: Context) -> Answer:
        assert isinstance(ctx, GeneratorContext)
        draw = ctx.rng.bits(32)
        first, second = (self.inner.op(with_randomness(ctx, draw)) for _ in range(2))
        assert repr(first) == repr(second)
        if not isinstance(first, tuple):
            return first
        operation, rest = first
        assert problem_with(operation, ctx) is None
        assert operation.time_ns is not None
        assert operation.time_ns >= ctx.time_ns
        return operation, Watched(rest)

    def update(self, ctx: Context, event: Operation) -> Native:
        assert isinstance(ctx, GeneratorContext)
        draw = ctx.rng.bits(32)
        first, second = (self.inner.update(with_randomness(ctx, draw), event) for _ in range(2))
        assert repr(first) == repr(second)
        if self.inner.deaf:
            assert first is self.inner
        return Watched(first)


def with_randomness(ctx: GeneratorContext, seed: int) -> GeneratorContext:
    rng = RandomStream(seed, "watched")
    return GeneratorContext(ctx.time_ns, rng, ctx._layout, ctx._threads, ctx._free, ctx._processes)


def outcome(operation: Operation) -> OperationType:
    value = operation.value if isinstance(operation.value, int) else 0
    return list(OperationType)[1 + value % 3]


def course(generator: Any, seed: int) -> list[Operation] | str:
    """The events of a generator, or why it could not go on: pending for ever, say."""
    try:
        return simulate(
            generator,
            concurrency=3,
            latency_ns=random_latency(20),
            outcome=outcome,
            seed=seed,
            operations_max=60,
        )
    except PlugInError as error:
        return str(error)


@given(generator=GENERATORS, seed=st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_a_generator_is_a_value_and_one_seed_gives_one_course_of_events(generator: Any, seed: int) -> None:
    assert course(generator, seed) == course(generator, seed)


@given(generator=GENERATORS, seed=st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_asking_twice_gives_the_same_and_the_deaf_hear_nothing(generator: Any, seed: int) -> None:
    events = course(Watched(lift(generator)), seed)
    assert isinstance(events, str) or all(e.process is not None for e in events)


@given(generator=GENERATORS, count=st.integers(0, 10), seed=st.integers(0, 100))
@settings(max_examples=80, deadline=None)
def test_limit_is_never_exceeded(generator: Any, count: int, seed: int) -> None:
    events = course(gen.limit(count, generator), seed)
    assert isinstance(events, str) or sum(e.type is OperationType.INVOKE for e in events) <= count


@given(generator=GENERATORS, seed=st.integers(0, 100))
@settings(max_examples=80, deadline=None)
def test_restricted_generators_use_their_own_threads_alone(generator: Any, seed: int) -> None:
    reserved = gen.reserve(1, gen.map_ops(tag("first"), generator), gen.map_ops(tag("rest"), generator))
    events = course(gen.clients(reserved), seed)
    if isinstance(events, str):
        return
    for event in events:
        assert event.process is not None
        assert event.process != NEMESIS
        if event.node is not None:
            assert event.node == ("first" if event.process % 3 == 0 else "rest")


def tag(name: str) -> Any:
    from msgspec.structs import replace

    return lambda operation: replace(operation, node=name)


@given(generator=GENERATORS, limit_ns=st.integers(1, 300), seed=st.integers(0, 100))
@settings(max_examples=80, deadline=None)
def test_nothing_starts_after_a_time_limit(generator: Any, limit_ns: int, seed: int) -> None:
    events = course(gen.time_limit(limit_ns, generator), seed)
    if not isinstance(events, str):
        times = [e.time_ns or 0 for e in events if e.type is OperationType.INVOKE]
        assert all(time < times[0] + limit_ns for time in times)


@pytest.mark.parametrize("interval_ns", [1_000, 10_000_000, 1_000_000_000])
@pytest.mark.parametrize("concurrency", [1, 5])
def test_stagger_keeps_the_rate_over_all_threads_together(interval_ns: int, concurrency: int) -> None:
    staggered = gen.limit(4_000, gen.stagger(interval_ns, gen.repeat(Operation("a"))))
    events = simulate(
        gen.clients(staggered), concurrency=concurrency, operations_max=4_000, latency_ns=lambda *_: 1
    )
    times = [e.time_ns or 0 for e in invocations(events)]
    gaps = [after - before for before, after in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    assert 0.95 * interval_ns < mean < 1.05 * interval_ns
    assert len({gap * 8 // interval_ns for gap in gaps}) > 15, "the intervals are not spread"


def test_stagger_does_not_flood_after_a_stall() -> None:
    """One slow operation on the only thread: afterwards the intervals are as before."""
    second = 1_000_000_000
    staggered = gen.time_limit(60 * second, gen.stagger(second // 10, gen.repeat(Operation("a"))))
    events = simulate(
        gen.clients(staggered),
        concurrency=1,
        latency_ns=lambda operation, _: 20 * second if operation.time_ns < second else 1,  # type: ignore[operator]
    )
    times = [e.time_ns or 0 for e in invocations(events)]
    after_the_stall = [t for t in times if t >= 20 * second]
    assert sum(t < 22 * second for t in after_the_stall) < 45
    assert 300 < len(after_the_stall) < 500


def test_any_thread_is_as_likely() -> None:
    events = perfect(gen.clients(gen.limit(900, gen.delay(1_000, gen.repeat(Operation("a"))))), concurrency=3)
    counts = [sum(e.process == process for e in events) for process in range(3)]
    assert all(240 < count < 360 for count in counts)
