"""The generator that all our nemeses share: a fault on, a fault off, with time between that hunts well.

Steps at even distances find little. Here long faults, which let a cluster settle on the wrong side, alternate with
short ones, which strike while it is still electing or repairing, and now and then a *burst* of short ones comes in
a row: several faults within one recovery is what most consensus bugs need.

Nor does every test find the same. Each draws a *temper* from its seed (how often it bursts, how fast, how long it
rests) and half of them only some of the kinds, so that over many seeds there are tests of much of one thing and
little of another ("swarm testing": Groce and others, ISSTA 2012).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from foreshock.harness.generator.base import PENDING, Context, Generator, Pending
from foreshock.harness.nemesis import NemesisContext
from foreshock.harness.operation import NEMESIS, Operation, OperationType
from foreshock.harness.randomness import RandomStream

BURST_STEPS_MIN = 4
BURST_STEPS_MAX = 16
BURST_CHANCE_MAX = 900
SHORT_CHANCE = (1, 3)
SHORT_MAX = 250
PART_CHANCE = (1, 3)
BRIEF_MAX = 400
MOVE_CHANCES = (0, 300, 600)


class Temper(NamedTuple):
    """How the faults of one test are spaced; all in per mille, of ``interval_ns`` where they are times."""

    burst_chance: int
    burst_step_max: int
    """The longest step of a burst."""
    gap_max: int
    """The longest time without a fault."""
    hold_max: int
    """The longest fault."""
    move_chance: int = 0
    """How often a fault takes the place of the one before, where it can (:data:`MOVE_CHANCES`): leaders are cut off one
    after the other, and none hears of the next before it is its turn again."""

    burst_steps_max: int = BURST_STEPS_MAX
    """How many steps a burst has at most."""

    @classmethod
    def draw(cls, rng: RandomStream) -> Temper:
        """The temper of a test."""
        return cls(
            burst_chance=rng.choice((0, 150, 300)),
            burst_step_max=rng.choice((50, 150, 400)),
            gap_max=rng.choice((1000, 2000, 3000)),
            hold_max=rng.choice((1000, 1500, 2000)),
        )

    def of_intensity(self, permille: int) -> Temper:
        """The temper with bursts so many times as likely, and as long.

        Times are in per mille of the interval, and that is scaled by whoever makes the context.
        """
        return self._replace(
            burst_chance=min(BURST_CHANCE_MAX, self.burst_chance * permille // 1000),
            burst_steps_max=max(BURST_STEPS_MIN, BURST_STEPS_MAX * permille // 1000),
        )


class Step(NamedTuple):
    """The next thing to do: not before ``due_ns`` (since the start of the test)."""

    f: str
    value: str | None
    due_ns: int


class Faults(NamedTuple):
    """The part of a schedule that never changes."""

    start: str
    """The operation that injects a fault; its value is one of ``kinds``.

    A fault that ends by itself says ``duration_ms`` in its result: then the stop follows, to see that it did.
    """
    stop: str
    kinds: tuple[str, ...]
    brief: frozenset[str] = frozenset()
    """Kinds that leave nobody a quorum: while nothing is served nothing is found, so they never last long."""
    in_parts: str | None = None
    """The value of a stop that undoes only a part, where there is such a thing; a whole stop follows it."""
    moves: bool = False
    """Whether a start may follow a start, and its fault takes the place of the one before."""


class FaultSchedule(Generator):
    """Alternates starts and stops of faults, for ever; immutable.

    The step that comes next, and when, is drawn when the one before completes, so asking again changes nothing.
    Outside bursts, steps are about ``interval_ns`` apart on average over many tests.
    """

    __slots__ = ("burst", "faults", "interval_ns", "step", "temper", "waiting")

    def __init__(
        self, faults: Faults, interval_ns: int, temper: Temper, step: Step, burst: int = 0, *, waiting: bool
    ) -> None:
        self.faults = faults
        self.interval_ns = interval_ns
        self.temper = temper
        self.step = step
        self.burst = burst  # how many steps of a burst are left
        self.waiting = waiting  # whether the step is under way

    @classmethod
    def first(cls, faults: Faults, context: NemesisContext) -> FaultSchedule:
        """The schedule before its first step, which comes within the interval from now."""
        rng = context.rng.stream("schedule")
        temper = Temper.draw(rng).of_intensity(context.intensity_permille)
        if faults.moves:
            temper = temper._replace(move_chance=context.rng.stream("moves").choice(MOVE_CHANCES))
        kinds = faults.kinds
        if len(kinds) > 2 and rng.chance(1, 2):
            kinds = tuple(rng.sample(kinds, rng.between(2, len(kinds) - 1)))
        due_ns = context.runtime.now() + rng.between(context.interval_ns // 10, context.interval_ns)
        step = Step(faults.start, rng.choice(kinds), due_ns)
        return cls(faults._replace(kinds=kinds), context.interval_ns, temper, step, waiting=False)

    def op(self, ctx: Context) -> tuple[Operation, Generator] | Pending:
        """The next step, at its time; pending while one is under way."""
        if self.waiting or NEMESIS not in ctx.free:
            return PENDING
        step = self.step
        time_ns = max(step.due_ns, ctx.time_ns)
        operation = Operation(f=step.f, value=step.value, process=NEMESIS, time_ns=time_ns)
        under_way = FaultSchedule(self.faults, self.interval_ns, self.temper, step, self.burst, waiting=True)
        return operation, under_way

    def update(self, ctx: Context, event: Operation) -> Generator:
        """Draws the next step when the one before has completed, whether it took or not."""
        if not self.waiting or event.type is OperationType.INVOKE or event.f != self.step.f:
            return self
        permille, burst = self._delay(ctx.rng, self._longest())
        due_ns = ctx.time_ns + self.interval_ns * permille // 1000
        lasts_ns = _lasts_ns(event) if event.f == self.faults.start else None
        if lasts_ns is not None:
            due_ns = ctx.time_ns + lasts_ns
        f, value = self._next(ctx.rng)
        step = Step(f, value, due_ns)
        return FaultSchedule(self.faults, self.interval_ns, self.temper, step, burst, waiting=False)

    def _next(self, rng: RandomStream) -> tuple[str, str | None]:
        done, faults = self.step, self.faults
        if done.f == faults.start:
            move_chance = self.temper.move_chance if faults.moves else 0
            if move_chance and rng.chance(move_chance, 1000):
                return faults.start, rng.choice(faults.kinds)
            return faults.stop, faults.in_parts if faults.in_parts and rng.chance(*PART_CHANCE) else None
        if done.value is not None:
            return faults.stop, None
        return faults.start, rng.choice(faults.kinds)

    def _longest(self) -> int:
        """The longest time between this step and the next, outside bursts, in per mille of the interval."""
        done, faults = self.step, self.faults
        if done.f == faults.start:
            return BRIEF_MAX if done.value in faults.brief else self.temper.hold_max
        return self.temper.hold_max if done.value is not None else self.temper.gap_max

    def _delay(self, rng: RandomStream, longest: int) -> tuple[int, int]:
        """The time to the next step, in per mille of the interval, and the steps that the burst has left."""
        if self.burst:
            return rng.between(2, self.temper.burst_step_max), self.burst - 1
        burst = 0
        if rng.chance(self.temper.burst_chance, 1000):
            burst = rng.between(BURST_STEPS_MIN, self.temper.burst_steps_max)
        if rng.chance(*SHORT_CHANCE):
            return rng.between(20, SHORT_MAX), burst
        return rng.between(longest // 3, longest), burst


def _lasts_ns(event: Operation) -> int | None:
    duration_ms = event.result.get("duration_ms") if isinstance(event.result, Mapping) else None
    return duration_ms * 1_000_000 if isinstance(duration_ms, int) else None
