"""The generator that all our nemeses share: a fault on, a fault off, with time between that hunts well.

Steps at even distances find little. Here long faults, which let a cluster settle on the wrong side, alternate with
short ones, which strike while it is still electing or repairing, and now and then a *burst* of short ones comes in
a row: several faults within one recovery is what most consensus bugs need.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from foreshock.harness.generator.base import PENDING, Context, Generator, Pending
from foreshock.harness.nemesis import NemesisContext
from foreshock.harness.operation import NEMESIS, Operation, OperationType
from foreshock.harness.randomness import RandomStream

BURST_CHANCE = (1, 4)
BURST_STEPS_MIN = 4
BURST_STEPS_MAX = 16
SHORT_CHANCE = (1, 3)


class Step(NamedTuple):
    """The next thing to do: not before ``due_ns`` (since the start of the test)."""

    f: str
    value: str | None
    due_ns: int


@dataclass(frozen=True, slots=True)
class FaultSchedule(Generator):
    """Alternates ``start`` (with one of ``kinds`` as its value) and ``stop``, for ever.

    The step that comes next, and when, is drawn when the one before completes, so asking again changes nothing.
    Faults, and the gaps between them, last about ``interval_ns`` where there is no burst.
    """

    start: str
    stop: str
    kinds: tuple[str, ...]
    interval_ns: int
    step: Step
    burst: int = 0
    """How many steps of a burst are left."""
    waiting: bool = False
    """Whether the step is under way."""

    @classmethod
    def first(cls, start: str, stop: str, kinds: tuple[str, ...], context: NemesisContext) -> FaultSchedule:
        """The schedule before its first step, which comes within the interval from now."""
        interval_ns, rng = context.interval_ns, context.rng.stream("schedule")
        due_ns = context.runtime.now() + rng.between(interval_ns // 10, interval_ns)
        return cls(start, stop, kinds, interval_ns, Step(start, rng.choice(kinds), due_ns))

    def op(self, ctx: Context) -> tuple[Operation, Generator] | Pending:
        """The next step, at its time; pending while one is under way."""
        if self.waiting or NEMESIS not in ctx.free:
            return PENDING
        step = self.step
        time_ns = max(step.due_ns, ctx.time_ns)
        operation = Operation(f=step.f, value=step.value, process=NEMESIS, time_ns=time_ns)
        return operation, replace(self, waiting=True)

    def update(self, ctx: Context, event: Operation) -> Generator:
        """Draws the next step when the one before has completed, whether it took or not."""
        if not self.waiting or event.type is OperationType.INVOKE or event.f != self.step.f:
            return self
        delay_ns, burst = self._delay(ctx.rng)
        due_ns = ctx.time_ns + delay_ns
        if self.step.f == self.start:
            step = Step(self.stop, None, due_ns)
        else:
            step = Step(self.start, ctx.rng.choice(self.kinds), due_ns)
        return replace(self, step=step, burst=burst, waiting=False)

    def _delay(self, rng: RandomStream) -> tuple[int, int]:
        interval = self.interval_ns
        burst = self.burst
        if burst:
            return rng.between(interval // 500, interval // 20), burst - 1
        if rng.chance(*BURST_CHANCE):
            burst = rng.between(BURST_STEPS_MIN, BURST_STEPS_MAX)
        if rng.chance(*SHORT_CHANCE):
            return rng.between(interval // 50, interval // 4), burst
        return rng.between(interval * 3 // 5, interval * 2), burst
