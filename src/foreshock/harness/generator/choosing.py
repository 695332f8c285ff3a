"""Choosing between generators: ``any_of``, ``mix``, ``flip_flop``, ``each_thread``, ``each_process``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from foreshock.harness.errors import PlugInError
from foreshock.harness.generator.base import PENDING, Context, Liftable
from foreshock.harness.generator.native import EXHAUSTED, Answer, Native, Several, lift
from foreshock.harness.operation import Operation
from foreshock.harness.randomness import RandomStream


class Soonest:
    """Picks the soonest of several answers; equal times are decided at random by weight, so nobody starves."""

    __slots__ = ("_best", "_index", "_pending", "_rng", "_weight")

    def __init__(self, rng: RandomStream) -> None:
        self._rng = rng
        self._best: tuple[Operation, Native] | None = None
        self._index = -1
        self._weight = 0
        self._pending = False

    def offer(self, index: int, answer: Answer, *, weight: int = 1) -> None:
        """Consider one more answer; ``index`` is what :meth:`answer` is to know it by."""
        if answer is None:
            return
        if not isinstance(answer, tuple):
            self._pending = True
            return
        offered = answer
        if self._best is not None:
            best_ns, offered_ns = self._best[0].time_ns or 0, offered[0].time_ns or 0
            if offered_ns > best_ns:
                return
            if offered_ns == best_ns:
                self._weight += weight
                if self._rng.below(self._weight) >= weight:
                    return
                self._best, self._index = offered, index
                return
        self._best, self._index, self._weight = offered, index, weight

    def answer(self, become: Callable[[int, Native], Native]) -> Answer:
        """The soonest operation and ``become(index, rest)``; pending when anybody is; else nothing."""
        if self._best is not None:
            operation, rest = self._best
            return operation, become(self._index, rest)
        return PENDING if self._pending else None


class AnyOf(Several):
    """Several generators at once; everybody hears of every event."""

    __slots__ = ()

    def __init__(self, generators: tuple[Native, ...]) -> None:
        self.generators = generators

    def op(self, ctx: Context) -> Answer:
        """The soonest operation of any."""
        soonest = Soonest(ctx.rng)
        for i, generator in enumerate(self.generators):
            soonest.offer(i, generator.op(ctx))
        return soonest.answer(self._with)

    def _over(self, generators: tuple[Native, ...]) -> Native:
        return AnyOf(generators)

    def _with(self, i: int, generator: Native) -> Native:
        if generator is self.generators[i]:
            return self
        return AnyOf((*self.generators[:i], generator, *self.generators[i + 1 :]))


def any_of(*generators: Liftable) -> Native:
    """Operations from whichever generator has the soonest; events go to all."""
    lifted = tuple(g for g in map(lift, generators) if g is not EXHAUSTED)
    if len(lifted) < 2:
        return lifted[0] if lifted else EXHAUSTED
    return AnyOf(lifted)


class Mix(Several):
    """A random generator for each operation. ``turn`` is the one whose turn it is; ``None`` before the first."""

    __slots__ = ("turn",)

    def __init__(self, generators: tuple[Native, ...], turn: int | None) -> None:
        self.generators = generators
        self.turn = turn

    def op(self, ctx: Context) -> Answer:
        """An operation of the generator whose turn it is; when it is pending, of the next that is not."""
        generators = self.generators
        turn = self.turn
        while generators:
            count = len(generators)
            if turn is None:
                turn = ctx.rng.below(count)
            for step in range(count):
                i = (turn + step) % count
                answer = generators[i].op(ctx)
                if answer is None:
                    break
                if not isinstance(answer, tuple):
                    continue
                operation, rest = answer
                if rest is not generators[i]:
                    generators = (*generators[:i], rest, *generators[i + 1 :])
                return operation, Mix(generators, ctx.rng.below(count))
            else:
                return PENDING
            generators = (*generators[:i], *generators[i + 1 :])
            turn = None
        return None

    def _over(self, generators: tuple[Native, ...]) -> Native:
        return Mix(generators, self.turn)


def mix(*generators: Any) -> Native:
    """A random mixture, each generator as likely: ``mix(reads, writes)`` or ``mix([reads, writes])``.

    Name a generator several times to make it more likely. One that is exhausted drops out.
    """
    if len(generators) == 1 and isinstance(generators[0], list | tuple):
        generators = tuple(generators[0])
    lifted = tuple(g for g in map(lift, generators) if g is not EXHAUSTED)
    if len(lifted) < 2:
        return lifted[0] if lifted else EXHAUSTED
    return Mix(lifted, None)


class FlipFlop(Several):
    """Generators in turn, until one is exhausted."""

    __slots__ = ("turn",)

    def __init__(self, generators: tuple[Native, ...], turn: int) -> None:
        self.generators = generators
        self.turn = turn

    def op(self, ctx: Context) -> Answer:
        """An operation of the generator whose turn it is, and of no other."""
        i = self.turn
        answer = self.generators[i].op(ctx)
        if not isinstance(answer, tuple):
            return answer
        operation, rest = answer
        generators = (*self.generators[:i], rest, *self.generators[i + 1 :])
        return operation, FlipFlop(generators, (i + 1) % len(generators))

    def _over(self, generators: tuple[Native, ...]) -> Native:
        return FlipFlop(generators, self.turn)


def flip_flop(*generators: Liftable) -> Native:
    """An operation of the first, then of the second, and so on round and round, until one is exhausted."""
    if not generators:
        raise PlugInError("flip_flop() needs at least one generator")
    return FlipFlop(tuple(map(lift, generators)), 0)


class EachThread(Native):
    """A copy of a generator for each thread. ``copies`` holds those that are no longer fresh, by thread."""

    __slots__ = ("copies", "fresh")

    def __init__(self, fresh: Native, copies: Mapping[int, Native]) -> None:
        self.fresh = fresh
        self.copies = copies

    def op(self, ctx: Context) -> Answer:
        """The soonest operation of any free thread's copy; exhausted when all threads are free and exhausted."""
        copies, fresh = self.copies, self.fresh
        asked = [thread for thread in ctx.free if copies.get(thread, fresh) is not EXHAUSTED]
        return _soonest_thread(ctx, asked, lambda thread: copies.get(thread, fresh), self._with)

    @property
    def deaf(self) -> bool:
        """Never, as a whole: whether a copy is deaf is seen when it is told."""
        return False

    def update(self, ctx: Context, event: Operation) -> Native:
        """Tells the copy of the event's thread."""
        assert event.process is not None
        thread = ctx.thread(event.process)
        before = self.copies.get(thread, self.fresh)
        if before.deaf:
            return self
        after = before.update(ctx.restrict(frozenset((thread,))), event)
        return self if after is before else self._with(thread, after)

    def _with(self, thread: int, copy: Native) -> EachThread:
        return EachThread(self.fresh, {**self.copies, thread: copy})


def each_thread(generator: Liftable) -> Native:
    """A copy of the generator for each thread; each copy sees that thread alone."""
    return EachThread(lift(generator), {})


class EachProcess(Native):
    """A copy of a generator for each process. ``copies`` holds the process and its copy, by thread."""

    __slots__ = ("copies", "fresh")

    def __init__(self, fresh: Native, copies: Mapping[int, tuple[int, Native]]) -> None:
        self.fresh = fresh
        self.copies = copies

    def op(self, ctx: Context) -> Answer:
        """The soonest operation of any free process's copy; exhausted when all are free and exhausted."""

        def become(thread: int, copy: Native) -> Native:
            return EachProcess(self.fresh, {**self.copies, thread: (ctx.process(thread), copy)})

        asked = [thread for thread in ctx.free if self._copy(thread, ctx.process(thread)) is not EXHAUSTED]
        return _soonest_thread(ctx, asked, lambda thread: self._copy(thread, ctx.process(thread)), become)

    @property
    def deaf(self) -> bool:
        """Never, as a whole: whether a copy is deaf is seen when it is told."""
        return False

    def update(self, ctx: Context, event: Operation) -> Native:
        """Tells the copy of the event's process."""
        process = event.process
        assert process is not None
        thread = ctx.thread(process)
        before = self._copy(thread, process)
        if before.deaf:
            return self
        after = before.update(ctx.restrict(frozenset((thread,))), event)
        return self if after is before else EachProcess(self.fresh, {**self.copies, thread: (process, after)})

    def _copy(self, thread: int, process: int) -> Native:
        known, copy = self.copies.get(thread, (None, self.fresh))
        return copy if known == process else self.fresh


def each_process(generator: Liftable) -> Native:
    """A copy of the generator for each process; after a crash the thread's new process gets a fresh one."""
    return EachProcess(lift(generator), {})


def _soonest_thread(
    ctx: Context,
    asked: list[int],
    copy_of: Callable[[int], Native],
    become: Callable[[int, Native], Native],
) -> Answer:
    """The soonest operation of some free threads' copies, beginning at a random one: *now* cannot be beaten."""
    first = ctx.rng.below(len(asked)) if asked else 0
    soonest = Soonest(ctx.rng)
    for thread in (*asked[first:], *asked[:first]):
        answer = copy_of(thread).op(ctx.restrict(frozenset((thread,))))
        if isinstance(answer, tuple) and (answer[0].time_ns or 0) <= ctx.time_ns:
            return answer[0], become(thread, answer[1])
        soonest.offer(thread, answer)
    answer = soonest.answer(become)
    return PENDING if answer is None and len(ctx.free) < len(ctx.threads) else answer
