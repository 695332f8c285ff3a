"""Generators that put the schedules of several nemeses together: one script, one fault at a time, quiet windows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from msgspec.structs import replace

from foreshock.harness.generator.base import PENDING, Context, Liftable
from foreshock.harness.generator.native import EXHAUSTED, Answer, Native, lift
from foreshock.harness.operation import NEMESIS, Operation, OperationType
from foreshock.harness.schedule_file import Step


class Scripted(Native):
    """Operations at given times, in order. One that is due while another is under way comes right after it."""

    __slots__ = ("_steps", "position")

    def __init__(self, steps: Sequence[Step], position: int = 0) -> None:
        self._steps = steps
        self.position = position

    def op(self, ctx: Context) -> Answer:
        """The next operation, at its time or, where that has passed, now."""
        if self.position == len(self._steps):
            return None
        if NEMESIS not in ctx.free:
            return PENDING
        step = self._steps[self.position]
        time_ns = max(step.at_ns, ctx.time_ns)
        operation = Operation(f=step.f, value=step.value, process=NEMESIS, time_ns=time_ns)
        return operation, Scripted(self._steps, self.position + 1)


class Exclusive(Native):
    """Several generators of which one at a time has its turn, drawn by weight; the clocks of the others stand still.

    A turn is over when one of its operations has completed and ``over()`` says that no fault is in force.
    ``clocks_ns`` is what time it is for each generator, and ``since_ns`` when the turn began.
    """

    __slots__ = ("_over", "_weights", "clocks_ns", "generators", "since_ns", "turn")

    def __init__(
        self,
        generators: tuple[Native, ...],
        weights: tuple[int, ...],
        over: Callable[[], bool],
        turn: int,
        since_ns: int,
        clocks_ns: tuple[int, ...],
    ) -> None:
        self.generators = generators
        self._weights = weights
        self._over = over
        self.turn = turn
        self.since_ns = since_ns
        self.clocks_ns = clocks_ns

    def op(self, ctx: Context) -> Answer:
        """The next operation of the generator whose turn it is."""
        answer = self.generators[self.turn].op(ctx.at(self._clock_ns(ctx.time_ns)))
        if not isinstance(answer, tuple):
            return answer
        operation, rest = answer
        behind_ns = self.since_ns - self.clocks_ns[self.turn]
        due_ns = max(ctx.time_ns, (operation.time_ns or 0) + behind_ns)
        return replace(operation, time_ns=due_ns), self._with(rest)

    @property
    def deaf(self) -> bool:
        """Never: completions end turns."""
        return False

    def update(self, ctx: Context, event: Operation) -> Native:
        """Tells the generator whose turn it is, and draws the next turn when this one is over."""
        clock_ns = self._clock_ns(ctx.time_ns)
        told = self._with(self.generators[self.turn].update(ctx.at(clock_ns), event))
        if event.type is OperationType.INVOKE or not self._over():
            return told
        clocks_ns = (*self.clocks_ns[: self.turn], clock_ns, *self.clocks_ns[self.turn + 1 :])
        turn = drawn(self._weights, ctx.rng.below(sum(self._weights)))
        return Exclusive(told.generators, self._weights, self._over, turn, ctx.time_ns, clocks_ns)

    def _clock_ns(self, now_ns: int) -> int:
        return self.clocks_ns[self.turn] + now_ns - self.since_ns

    def _with(self, generator: Native) -> Exclusive:
        generators = (*self.generators[: self.turn], generator, *self.generators[self.turn + 1 :])
        return Exclusive(generators, self._weights, self._over, self.turn, self.since_ns, self.clocks_ns)


def drawn(weights: Sequence[int], draw: int) -> int:
    """Which of the weights a draw below their sum falls on."""
    return bisect_right(list(accumulate(weights)), draw)


class Pauses(NamedTuple):
    """Stretches of time during which the clock of a generator stands still, in order, without overlap."""

    windows_ns: tuple[tuple[int, int], ...]

    def clock_ns(self, now_ns: int) -> int:
        """What time it is on a clock that stands still during the windows."""
        return now_ns - sum(min(now_ns, end) - begin for begin, end in self.windows_ns if begin < now_ns)

    def when_ns(self, clock_ns: int) -> int:
        """When that clock shows a time. A window that begins just then comes first."""
        for begin, end in self.windows_ns:
            if clock_ns < begin:
                break
            clock_ns += end - begin
        return clock_ns


class Quiet(Native):
    """A generator with quiet windows: as one begins everything is healed, and nothing new begins before it ends.

    For the generator inside, time stands still meanwhile: what it had planned comes later by as much. ``next_window``
    is the first window that has not been healed for, and ``healing`` what is left of doing so.
    """

    __slots__ = ("_heal", "_pauses", "generator", "healing", "next_window")

    def __init__(
        self,
        generator: Native,
        pauses: Pauses,
        heal: Callable[[], Liftable],
        next_window: int = 0,
        healing: Native = EXHAUSTED,
    ) -> None:
        self.generator = generator
        self._pauses = pauses
        self._heal = heal
        self.next_window = next_window
        self.healing = healing

    def op(self, ctx: Context) -> Answer:
        """The next operation of the generator, or of what heals as a window begins."""
        if NEMESIS not in ctx.free:
            return PENDING
        healing, next_window = self.healing, self.next_window
        if healing is not EXHAUSTED:
            answer = healing.op(ctx)
            if answer is not None:
                return self._around(answer, next_window)
        windows_ns = self._pauses.windows_ns
        own = self.generator.op(ctx.at(self._pauses.clock_ns(ctx.time_ns)))
        operation = None
        if isinstance(own, tuple):
            operation = replace(own[0], time_ns=max(ctx.time_ns, self._pauses.when_ns(own[0].time_ns or 0)))
        if next_window < len(windows_ns):
            begin_ns = windows_ns[next_window][0]
            if operation is None or (operation.time_ns or 0) >= begin_ns:
                after = ctx.at(max(begin_ns, ctx.time_ns))
                answer = lift(self._heal()).op(after)
                if answer is not None:
                    return self._around(answer, next_window + 1)
        if operation is None or not isinstance(own, tuple):
            return own if not isinstance(own, tuple) else PENDING
        return operation, Quiet(own[1], self._pauses, self._heal, next_window)

    @property
    def deaf(self) -> bool:
        """As deaf as what is inside."""
        return self.generator.deaf and self.healing.deaf

    def update(self, ctx: Context, event: Operation) -> Native:
        """Tells what is healing, while something is, else the generator."""
        if self.healing is not EXHAUSTED:
            healing = self.healing.update(ctx, event)
            return Quiet(self.generator, self._pauses, self._heal, self.next_window, healing)
        generator = self.generator.update(ctx.at(self._pauses.clock_ns(ctx.time_ns)), event)
        return Quiet(generator, self._pauses, self._heal, self.next_window)

    def _around(self, answer: Answer, next_window: int) -> Answer:
        if not isinstance(answer, tuple):
            return answer
        operation, rest = answer
        return operation, Quiet(self.generator, self._pauses, self._heal, next_window, rest)
