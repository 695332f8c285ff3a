"""The generator of faults that take several operations: each says what comes next, and when.

A *plot* tells how such a fault begins and how it goes on from the result of its last operation. Other nemeses go on
in between, since every operation is short.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from foreshock.harness.generator.base import PENDING, Context, Generator, Liftable, Pending
from foreshock.harness.nemesis import Nemesis, NemesisContext
from foreshock.harness.operation import NEMESIS, Operation, OperationType
from foreshock.harness.options import Options
from foreshock.harness.randomness import RandomStream

GAP_MIN, GAP_MAX = 300, 2500

OptionsT_co = TypeVar("OptionsT_co", bound=Options, covariant=True)


class Link(NamedTuple):
    """One operation of a chain, so many thousandths of the interval after the one before."""

    f: str
    value: Any
    after_permille: int = 0
    times: int = 0
    """How many more of the same are to come, for plots that count."""


class Plot(Protocol):
    """How a fault of several operations goes. Draws only from what it is given."""

    def begin(self, rng: RandomStream) -> Link | None:
        """The first operation of the next fault; ``None``: there will be no more."""

    def follow(self, rng: RandomStream, done: Link, result: Mapping[str, Any]) -> Link | None:
        """What comes after an operation; ``None`` when the fault is over. ``result`` is empty when it failed."""


class ChainSchedule(Generator):
    """Faults of one plot without end, about an interval apart; immutable."""

    __slots__ = ("due_ns", "interval_ns", "link", "plot", "waiting")

    def __init__(self, plot: Plot, interval_ns: int, link: Link, due_ns: int, *, waiting: bool) -> None:
        self.plot = plot
        self.interval_ns = interval_ns
        self.link = link
        self.due_ns = due_ns
        self.waiting = waiting

    @classmethod
    def first(cls, plot: Plot, context: NemesisContext) -> ChainSchedule | None:
        """The schedule before its first step, which comes within the interval from now."""
        rng = context.rng.stream("schedule")
        link = plot.begin(rng)
        due_ns = context.runtime.now() + rng.between(context.interval_ns // 10, context.interval_ns)
        return None if link is None else cls(plot, context.interval_ns, link, due_ns, waiting=False)

    def op(self, ctx: Context) -> tuple[Operation, Generator] | Pending:
        """The next operation, at its time; pending while one is under way."""
        if self.waiting or NEMESIS not in ctx.free:
            return PENDING
        time_ns = max(self.due_ns, ctx.time_ns)
        operation = Operation(f=self.link.f, value=self.link.value, process=NEMESIS, time_ns=time_ns)
        return operation, ChainSchedule(self.plot, self.interval_ns, self.link, self.due_ns, waiting=True)

    def update(self, ctx: Context, event: Operation) -> Generator | None:
        """Draws what comes next when the operation before has completed, whether it took or not."""
        if not self.waiting or event.type is OperationType.INVOKE or event.f != self.link.f:
            return self
        result = event.result if isinstance(event.result, Mapping) else {}
        link = self.plot.follow(ctx.rng, self.link, result)
        if link is None:
            link = self.plot.begin(ctx.rng)
            if link is None:
                return None
            link = link._replace(after_permille=ctx.rng.between(GAP_MIN, GAP_MAX))
        due_ns = ctx.time_ns + self.interval_ns * link.after_permille // 1000
        return ChainSchedule(self.plot, self.interval_ns, link, due_ns, waiting=False)


class ChainNemesis(Nemesis[OptionsT_co], Generic[OptionsT_co]):
    """A nemesis whose faults are chains of operations."""

    operations: ClassVar[tuple[str, ...]]
    """In their order; the last one undoes whatever the others have left."""

    @abstractmethod
    def plot(self) -> Plot:
        """How its faults go."""

    @property
    def fs(self) -> frozenset[str]:
        """The operations of a chain."""
        return frozenset(self.operations)

    def generator(self) -> Liftable:
        """One fault after the other."""
        return ChainSchedule.first(self.plot(), self.context)

    def final_generator(self) -> Liftable:
        """The end of a chain."""
        return Operation(f=self.operations[-1])
