"""The context that the interpreter keeps."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.harness.generator.base import Context
from foreshock.harness.generator.context import GeneratorContext
from foreshock.harness.operation import NEMESIS
from foreshock.harness.randomness import RandomStream


def start(concurrency: int = 3) -> GeneratorContext:
    return GeneratorContext.start(concurrency, RandomStream(1, "test"))


def test_at_the_start_everything_is_free() -> None:
    ctx: Context = start()
    assert ctx.threads == ctx.free == (0, 1, 2, NEMESIS)
    assert [ctx.process(thread) for thread in ctx.threads] == [0, 1, 2, NEMESIS]
    assert [ctx.thread(process) for process in (0, 1, 2, 3, 7, NEMESIS)] == [0, 1, 2, 0, 1, NEMESIS]
    assert ctx.time_ns == 0


def test_contexts_do_not_change() -> None:
    ctx = start()
    later = ctx.at(5).busy(1).busy(NEMESIS).crashed(0)
    assert ctx.free == (0, 1, 2, NEMESIS)
    assert ctx.process(0) == 0
    assert (later.time_ns, later.free, later.process(0)) == (5, (0, 2), 3)
    assert later.freed(NEMESIS, 9).free == (0, 2, NEMESIS)
    assert later.freed(NEMESIS, 9).time_ns == 9
    assert repr(later) == "<context at 5 ns, threads (0, 1, 2, -1), free (0, 2)>"


def test_a_restricted_context_sees_its_own_threads() -> None:
    ctx = start().busy(1)
    restricted = ctx.restrict(frozenset({1, 2, 99}))
    assert restricted.threads == (1, 2)
    assert restricted.free == (2,)
    assert restricted.some_free() == 2
    assert restricted.restrict(frozenset({0})).threads == ()
    assert restricted.restrict(frozenset({1})).some_free() is None
    assert ctx.restrict(frozenset({NEMESIS})).free == (NEMESIS,)


def test_a_process_is_free_when_its_thread_carries_it_and_is_free() -> None:
    ctx = start().busy(1).crashed(2)
    assert [ctx.thread_of_free(process) for process in (0, 1, 2, 5, 8, NEMESIS, -7)] == [
        0, None, None, 2, None, NEMESIS, None,
    ]  # fmt: skip
    assert ctx.busy(NEMESIS).thread_of_free(NEMESIS) is None


@given(
    concurrency=st.integers(1, 70),
    steps=st.lists(
        st.tuples(st.sampled_from(["busy", "freed", "crashed"]), st.integers(-1, 69)), max_size=40
    ),
)
@settings(max_examples=80, deadline=None)
def test_it_is_what_sets_of_threads_would_be(concurrency: int, steps: list[tuple[str, int]]) -> None:
    ctx, free = start(concurrency), {*range(concurrency), NEMESIS}
    processes = {thread: thread for thread in free}
    for step, thread in steps:
        if thread >= concurrency:
            continue
        if step == "busy":
            ctx = ctx.busy(thread)
            free.discard(thread)
        elif step == "freed":
            ctx = ctx.freed(thread, 0)
            free.add(thread)
        elif thread != NEMESIS:
            ctx = ctx.crashed(thread)
            processes[thread] += concurrency
        assert set(ctx.free) == free
        assert {t: ctx.process(t) for t in ctx.threads} == processes
        assert all(ctx.thread(process) == t for t, process in processes.items())
        chosen = ctx.some_free()
        assert chosen in free if free else chosen is None
