"""A workload of your own in one file, for a service of your own: counters, which are added to and read.

    foreshock test --target examples/counter_target.py:CounterServer --workload examples/counter_workload.py:Counters \
        --backend process --nemesis kill --time-limit 10

A workload says which operations clients perform, and who judges the history. A target can be tested with it when it
has a client for its service: here a class with the methods of :class:`CounterClient`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Protocol

import msgspec

from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.checkers.liveness import LivenessChecker
from foreshock.checkers.statistics import StatisticsChecker
from foreshock.harness import Checker, Client, Operation, Options, Workload
from foreshock.harness import generator as gen

SECOND_NS = 1_000_000_000


class CounterClient(Client, Protocol):
    """What a target must have for this workload; an operation is the name of a method, and its arguments."""

    async def add(self, key: int, amount: int) -> None:
        """Add to a counter."""

    async def read(self, key: int) -> int:
        """What it stands at; 0 when nobody has added to it yet."""


class CounterOptions(Options, frozen=True, kw_only=True):
    """The mix of operations."""

    reads: Annotated[int, msgspec.Meta(description="how many reads come on an add", ge=1, le=100)] = 2
    key_s: Annotated[
        float,
        msgspec.Meta(description="s for which a counter is in use, before there is another", gt=0, le=3600),
    ] = 2.0


class Counters(Workload[CounterOptions]):
    """Counters that must be linearizable: no add is lost, none happens twice, no read is behind."""

    name = "counter"
    service = "counter"
    Options = CounterOptions

    def generator(self) -> gen.Liftable:
        """Adds and reads without end; the harness spaces them by the rate and ends them by the time limit.

        A generator is a value and has no state: all that it may draw from is its context. There is another counter
        every few seconds, for short histories of each are what a checker decides quickly.
        """
        reads, key_ns = self.options.reads, round(self.options.key_s * SECOND_NS)

        def add(ctx: gen.Context) -> Operation:
            return Operation("add", key=ctx.time_ns // key_ns, value=ctx.rng.between(1, 9))

        def read(ctx: gen.Context) -> Operation:
            return Operation("read", key=ctx.time_ns // key_ns)

        return gen.mix([gen.fn(add), *[gen.fn(read)] * reads])

    def final_generator(self) -> gen.Liftable:
        """Once everything is healed: each process reads the last counters."""
        last = self.context.time_limit_ns // round(self.options.key_s * SECOND_NS)
        return gen.each_process([Operation("read", key=key) for key in range(max(0, last - 1), last + 1)])

    def checkers(self) -> Mapping[str, Checker]:
        """Who judges. A model of your own is given here as an object: ``LinearizableChecker(MyModel())``."""
        return {
            "linearizable": LinearizableChecker("counter"),
            "liveness": LivenessChecker(operation_timeout_ms=self.context.operation_timeout_ms),
            "statistics": StatisticsChecker(),
        }
