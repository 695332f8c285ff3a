"""Which threads a generator may use: ``on_threads``, ``clients``, ``nemesis``, ``reserve``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from foreshock.harness.errors import PlugInError
from foreshock.harness.generator.base import Context, Liftable
from foreshock.harness.generator.choosing import Soonest, any_of
from foreshock.harness.generator.native import EXHAUSTED, Answer, Native, Several, Wrapper, lift
from foreshock.harness.operation import NEMESIS, Operation

_MEMO_MAX: Final = 64


class Selection:
    """A choice of threads by a test of each; remembers what it chose, for a test's threads do not change."""

    __slots__ = ("_chosen", "_memo", "_threads", "chooses", "name")

    def __init__(self, chooses: Callable[[int], bool], name: str) -> None:
        self.chooses = chooses
        self.name = name
        self._memo: dict[tuple[int, ...], frozenset[int]] = {}
        self._threads: object = None
        self._chosen: frozenset[int] = frozenset()

    def of(self, ctx: Context) -> frozenset[int]:
        """The chosen ones of the context's threads."""
        threads = tuple(ctx.threads)
        if threads is self._threads:
            return self._chosen
        chosen = self._memo.get(threads)
        if chosen is None:
            if len(self._memo) >= _MEMO_MAX:
                self._memo.clear()
            chosen = self._memo[threads] = frozenset(t for t in threads if self.chooses(t))
        self._threads, self._chosen = threads, chosen
        return chosen

    def __repr__(self) -> str:
        return self.name


_CLIENTS: Final = Selection(lambda thread: thread != NEMESIS, "clients")
_NEMESIS: Final = Selection(lambda thread: thread == NEMESIS, "nemesis")


class OnThreads(Wrapper):
    """A generator that sees only some threads, and only their events."""

    __slots__ = ("selection",)

    def __init__(self, selection: Selection, generator: Native) -> None:
        self.selection = selection
        self.generator = generator

    def op(self, ctx: Context) -> Answer:
        """The generator's next operation, on one of its threads."""
        answer = self.generator.op(ctx.restrict(self.selection.of(ctx)))
        if not isinstance(answer, tuple):
            return answer
        operation, rest = answer
        return operation, self if rest is self.generator else OnThreads(self.selection, rest)

    def update(self, ctx: Context, event: Operation) -> Native:
        """Tells the generator, if the event is of one of its threads."""
        assert event.process is not None
        if self.generator.deaf or not self.selection.chooses(ctx.thread(event.process)):
            return self
        generator = self.generator.update(ctx.restrict(self.selection.of(ctx)), event)
        return self if generator is self.generator else self._around(generator)

    def _around(self, generator: Native) -> Native:
        return OnThreads(self.selection, generator)


def on_threads(threads: Collection[int] | Callable[[int], bool], generator: Liftable) -> Native:
    """Restrict a generator to some threads, given as a collection or as a test of one thread's number."""
    if callable(threads):
        return OnThreads(Selection(threads, getattr(threads, "__name__", "threads")), lift(generator))
    chosen = frozenset(threads)
    return OnThreads(Selection(chosen.__contains__, f"threads {sorted(chosen)}"), lift(generator))


def clients(generator: Liftable, nemesis_generator: Liftable = None) -> Native:
    """Restrict a generator to the clients' threads; with a second one, that is for the nemesis, beside it."""
    restricted = OnThreads(_CLIENTS, lift(generator))
    return restricted if nemesis_generator is None else any_of(restricted, nemesis(nemesis_generator))


def nemesis(generator: Liftable, client_generator: Liftable = None) -> Native:
    """Restrict a generator to the nemesis; with a second one, that is for the clients, beside it."""
    restricted = OnThreads(_NEMESIS, lift(generator))
    return restricted if client_generator is None else any_of(restricted, clients(client_generator))


class Reserve(Several):
    """Ranges of threads, each with a generator of its own; the last one has all the other threads.

    Ranges count the threads that the generator is given, so reserves can be nested.
    """

    __slots__ = ("_memo", "counts")

    def __init__(
        self,
        counts: tuple[int, ...],
        generators: tuple[Native, ...],
        memo: dict[tuple[int, ...], tuple[frozenset[int], ...]],
    ) -> None:
        self.counts = counts
        self.generators = generators
        self._memo = memo

    def op(self, ctx: Context) -> Answer:
        """The soonest operation of any range; ties by how many threads each has."""
        soonest = Soonest(ctx.rng)
        for i, (generator, threads) in enumerate(zip(self.generators, self._ranges(ctx), strict=True)):
            soonest.offer(i, generator.op(ctx.restrict(threads)), weight=len(threads))
        return soonest.answer(self._with)

    def update(self, ctx: Context, event: Operation) -> Native:
        """Tells the generator whose thread it was."""
        assert event.process is not None
        thread = ctx.thread(event.process)
        for i, threads in enumerate(self._ranges(ctx)):
            if thread in threads:
                generator = self.generators[i].update(ctx.restrict(threads), event)
                return self if generator is self.generators[i] else self._with(i, generator)
        return self

    def _with(self, i: int, generator: Native) -> Reserve:
        return self._over((*self.generators[:i], generator, *self.generators[i + 1 :]))

    def _over(self, generators: tuple[Native, ...]) -> Reserve:
        return Reserve(self.counts, generators, self._memo)

    def _ranges(self, ctx: Context) -> tuple[frozenset[int], ...]:
        threads = tuple(ctx.threads)
        ranges = self._memo.get(threads)
        if ranges is None:
            if sum(self.counts) > len(threads):
                raise PlugInError(
                    f"reserve() wants {sum(self.counts)} threads, but its test has {len(threads)}: {list(threads)}"
                )
            ends = [sum(self.counts[: i + 1]) for i in range(len(self.counts))]
            starts = [0, *ends]
            bounds = zip(starts, [*ends, len(threads)], strict=True)
            ranges = tuple(frozenset(threads[start:end]) for start, end in bounds)
            if len(self._memo) >= _MEMO_MAX:
                self._memo.clear()
            self._memo[threads] = ranges
        return ranges


def reserve(*arguments: Any) -> Native:
    """``reserve(2, writes, 3, cas, reads)``: the first 2 threads write, the next 3 do cas, the rest read.

    The last argument is the generator of all other threads; ``None`` leaves them idle.
    """
    *pairs, default = arguments or (None,)
    counts, generators = tuple(pairs[0::2]), pairs[1::2]
    if len(counts) != len(generators) or not all(type(count) is int and count >= 0 for count in counts):
        raise PlugInError(
            "reserve() takes pairs of a count and a generator, then the generator of all other threads; "
            f"it was given {arguments!r:.200}"
        )
    if not counts and default is None:
        return EXHAUSTED
    return Reserve(counts, (*map(lift, generators), lift(default)), {})
