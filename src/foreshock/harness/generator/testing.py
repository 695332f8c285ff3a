"""A generator tried out without a test: a pure simulation of threads that take a given time for each operation.

For tests of generators, workloads and nemeses::

    events = simulate(my_generator, concurrency=3, latency_ns=random_latency(10))
    assert [e.f for e in invocations(events)] == ["write", "read", "read"]
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from foreshock.harness.errors import PlugInError
from foreshock.harness.generator.base import Liftable
from foreshock.harness.generator.context import GeneratorContext
from foreshock.harness.generator.native import Directive, lift, problem_with
from foreshock.harness.operation import NEMESIS, Operation, OperationType
from foreshock.harness.randomness import RandomStream

PERFECT_LATENCY_NS: Final = 10
"""How long an operation takes when nothing else is said."""

Latency = Callable[[Operation, RandomStream], int]
Outcome = Callable[[Operation], OperationType]


def perfect_latency(operation: Operation, rng: RandomStream) -> int:  # noqa: ARG001
    """Every operation takes 10 ns."""
    return PERFECT_LATENCY_NS


def random_latency(mean_ns: int) -> Latency:
    """Operations that take ``mean_ns`` on average, about exponentially distributed."""
    return lambda _operation, rng: rng.exponential(mean_ns)


def all_ok(operation: Operation) -> OperationType:  # noqa: ARG001
    """Every operation is ok."""
    return OperationType.OK


def simulate(
    generator: Liftable,
    *,
    concurrency: int = 2,
    latency_ns: Latency = perfect_latency,
    outcome: Outcome = all_ok,
    seed: int = 0,
    operations_max: int = 1_000,
) -> list[Operation]:
    """Run a generator to its end, or for ``operations_max`` operations; returns its events in order.

    Invocations and completions carry their time; sleeps take their duration, log messages none, and both are
    among the events as :class:`Directive`. A process whose operation is ``info`` is replaced, as in a test.
    Raises :class:`PlugInError` for a malformed operation and for a generator that can never go on.
    """
    rng = RandomStream(seed, "generator")
    latencies = RandomStream(seed, "latency")
    ctx = GeneratorContext.start(concurrency, rng)
    rest = lift(generator)
    in_flight: list[tuple[int, int, Operation]] = []
    events: list[Operation] = []
    for number in range(operations_max):
        while True:
            # Whatever completes first comes first, for it may change what the generator wants.
            due = bool(in_flight) and in_flight[0][0] <= ctx.time_ns
            answer = None if due else rest.op(ctx)
            if isinstance(answer, tuple) and not (in_flight and in_flight[0][0] <= (answer[0].time_ns or 0)):
                break
            if not in_flight:
                if answer is None:
                    return events
                raise PlugInError(
                    f"the generator {rest!r:.200} is pending, but nothing is in flight to change that"
                )
            rest = rest.update(*_complete(in_flight, ctx, events, outcome))
            ctx = _after(events[-1], ctx)
        invocation, rest = answer
        problem = problem_with(invocation, ctx)
        if problem:
            raise PlugInError(f"the generator {rest!r:.200} gave {invocation!r:.200}: {problem}")
        assert invocation.process is not None
        assert invocation.time_ns is not None
        ctx = ctx.at(max(ctx.time_ns, invocation.time_ns)).busy(ctx.thread(invocation.process))
        events.append(invocation)
        rest = rest.update(ctx, invocation)
        heapq.heappush(
            in_flight, (invocation.time_ns + _duration(invocation, latency_ns, latencies), number, invocation)
        )
    return events


def invocations(events: list[Operation]) -> list[Operation]:
    """The invocations among the events, without sleeps and log messages."""
    return [e for e in events if e.type is OperationType.INVOKE and type(e) is Operation]


def perfect(generator: Liftable, *, concurrency: int = 2, seed: int = 0) -> list[Operation]:
    """The invocations of a generator when every operation takes 10 ns and is ok."""
    return invocations(simulate(generator, concurrency=concurrency, seed=seed))


def _duration(operation: Operation, latency_ns: Latency, rng: RandomStream) -> int:
    if isinstance(operation, Directive):
        return operation.value if operation.f == "sleep" and isinstance(operation.value, int) else 0
    return latency_ns(operation, rng)


def _complete(
    in_flight: list[tuple[int, int, Operation]],
    ctx: GeneratorContext,
    events: list[Operation],
    outcome: Outcome,
) -> tuple[GeneratorContext, Operation]:
    """The context in which the first operation in flight completes, and its completion, which joins the events."""
    time_ns, _, invocation = heapq.heappop(in_flight)
    assert invocation.process is not None
    kind = OperationType.INFO if isinstance(invocation, Directive) else outcome(invocation)
    completion = replace(invocation, type=kind, time_ns=time_ns)
    events.append(completion)
    return ctx.freed(ctx.thread(invocation.process), max(time_ns, ctx.time_ns)), completion


def _after(completion: Operation, ctx: GeneratorContext) -> GeneratorContext:
    """The context after a completion, with a new process where the old one crashed."""
    process = completion.process
    assert process is not None
    ctx = ctx.freed(ctx.thread(process), max(completion.time_ns or 0, ctx.time_ns))
    crashed = completion.type is OperationType.INFO and process != NEMESIS and type(completion) is Operation
    return ctx.crashed(ctx.thread(process)) if crashed else ctx
