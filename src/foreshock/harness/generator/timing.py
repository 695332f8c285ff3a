"""When operations start: ``stagger``, ``delay``, ``sleep``, and ``log``."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from foreshock.harness.errors import PlugInError
from foreshock.harness.generator.base import Context, Liftable
from foreshock.harness.generator.native import Answer, Directive, Native, Single, Wrapper, lift
from foreshock.harness.randomness import RandomStream

CATCH_UP_NS: Final = 50_000_000
"""A generator that is late by less keeps to its schedule, so that timers which fire a little late do not lower
the rate; one that is later (its threads were busy) starts anew, so that a stall is not followed by a flood."""


class Paced(Wrapper):
    """Operations at intervals over all threads together. ``next_ns`` is when the next may start.

    ``spread`` says whether the intervals are random around ``interval_ns``, or exactly that.
    """

    __slots__ = ("interval_ns", "next_ns", "spread")

    def __init__(self, interval_ns: int, next_ns: int | None, generator: Native, *, spread: bool) -> None:
        self.interval_ns = interval_ns
        self.next_ns = next_ns
        self.generator = generator
        self.spread = spread

    def op(self, ctx: Context) -> Answer:
        """The generator's next operation, not before its time."""
        answer = self.generator.op(ctx)
        if not isinstance(answer, tuple):
            return answer
        operation, rest = answer
        ready_ns = operation.time_ns or 0
        planned_ns = ready_ns if self.next_ns is None else self.next_ns
        if planned_ns > ready_ns:
            operation = replace(operation, time_ns=planned_ns)
        elif ready_ns - planned_ns > CATCH_UP_NS:
            planned_ns = ready_ns
        gap_ns = _gap(ctx.rng, self.interval_ns) if self.spread else self.interval_ns
        return operation, Paced(self.interval_ns, planned_ns + gap_ns, rest, spread=self.spread)

    def _around(self, generator: Native) -> Native:
        return Paced(self.interval_ns, self.next_ns, generator, spread=self.spread)


def stagger(interval_ns: int, generator: Liftable) -> Native:
    """Operations at random intervals, ``interval_ns`` on average, over all threads together.

    The intervals are about exponentially distributed: arrivals come as those of many independent users do.
    """
    return _paced("stagger", interval_ns, generator, spread=True)


def delay(interval_ns: int, generator: Liftable) -> Native:
    """Operations exactly ``interval_ns`` apart, over all threads together, or as soon after as a thread is free."""
    return _paced("delay", interval_ns, generator, spread=False)


def _paced(name: str, interval_ns: object, generator: Liftable, *, spread: bool) -> Native:
    if type(interval_ns) is not int or interval_ns < 0:
        raise PlugInError(
            f"{name}() was given interval_ns={interval_ns!r:.100}: it must be a whole number, 0 or more"
        )
    lifted = lift(generator)
    return Paced(interval_ns, None, lifted, spread=spread) if interval_ns else lifted


def _gap(rng: RandomStream, mean_ns: int) -> int:
    # ``exponential`` sums a geometric number of half-lives (one on average) and a uniform one (a half on average):
    # 1.5 * 0.693 = 1.0395 means, less what its bound cuts off. Undone here, so that a rate is what was asked for.
    return rng.exponential(mean_ns * 10_000 // 10_390)


def sleep(duration_ns: int) -> Native:
    """One thread does nothing for so long; others go on. ``repeat(sleep(...))`` sleeps again and again."""
    if type(duration_ns) is not int or duration_ns < 0:
        raise PlugInError(
            f"sleep() was given duration_ns={duration_ns!r:.100}: it must be a whole number, 0 or more"
        )
    return Single(Directive(f="sleep", value=duration_ns))


def log(message: str) -> Native:
    """Write a message to the harness's log, once."""
    return Single(Directive(f="log", value=str(message)))
