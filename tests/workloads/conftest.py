"""A small interpreter without time for pure generators: random interleavings, answers by a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from foreshock.harness.generator.base import Generator, Pending
from foreshock.harness.operation import Operation, OperationType
from foreshock.harness.randomness import RandomStream

MILLISECOND_NS = 1_000_000
Answer = Callable[[Operation], Operation]


class PlainContext:
    """Threads 0 .. concurrency-1; after an info completion a thread carries a new process."""

    def __init__(self, concurrency: int, seed: int) -> None:
        self.threads: Sequence[int] = tuple(range(concurrency))
        self.free: list[int] = list(self.threads)
        self.processes = list(self.threads)
        self.time_ns = 0
        self.rng = RandomStream(seed, "context")

    def process(self, thread: int) -> int:
        return self.processes[thread]

    def thread(self, process: int) -> int:
        return process % len(self.threads)

    def some_free(self) -> int | None:
        return self.rng.choice(self.free) if self.free else None

    def restrict(self, threads: frozenset[int]) -> PlainContext:
        raise NotImplementedError


class Play:
    """Plays a generator; ``invoked`` and ``events`` hold what happened. Every step takes a millisecond."""

    def __init__(self, generator: Generator, answer: Answer, *, concurrency: int = 5, seed: int = 1) -> None:
        self.generator: Any = generator
        self.answer = answer
        self.context = PlainContext(concurrency, seed)
        self.in_flight: list[Operation] = []
        self.invoked: list[Operation] = []
        self.events: list[Operation] = []
        self.ended = False

    def run(self, steps: int, *, step_ns: int = MILLISECOND_NS) -> Play:
        """Go on for so many steps, or until the generator ends."""
        for _ in range(steps):
            self.context.time_ns += step_ns
            asked: Any = None if self.ended else self.generator.op(self.context)
            self.ended = self.ended or asked is None
            if self.ended and not self.in_flight:
                break
            later = isinstance(asked, tuple) and asked[0].time_ns > self.context.time_ns
            if self.in_flight and (not isinstance(asked, tuple) or later or self.context.rng.chance(1, 2)):
                self._complete()
            elif isinstance(asked, tuple):
                self._invoke(*asked)
            else:
                assert isinstance(asked, Pending), "nothing to do and nothing in flight"
        return self

    def _invoke(self, operation: Operation, generator: Any) -> None:
        context = self.context
        context.time_ns = max(context.time_ns, operation.time_ns or 0)
        assert operation.process is not None
        thread = context.thread(operation.process)
        assert context.processes[thread] == operation.process
        context.free.remove(thread)
        event = msgspec.structs.replace(operation, time_ns=context.time_ns)
        self.in_flight.append(event)
        self.invoked.append(event)
        self.events.append(event)
        self.generator = generator.update(context, event)

    def _complete(self) -> None:
        context = self.context
        invocation = self.in_flight.pop(context.rng.below(len(self.in_flight)))
        event = msgspec.structs.replace(self.answer(invocation), time_ns=context.time_ns)
        assert event.process is not None
        thread = context.thread(event.process)
        context.free = sorted([*context.free, thread])
        if event.type is OperationType.INFO:
            context.processes[thread] += len(context.threads)
        self.events.append(event)
        self.generator = self.generator.update(context, event)


@pytest.fixture
def play() -> type[Play]:
    return Play
