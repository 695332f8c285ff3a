"""Generators of the final phase: chores that every thread does in order, each until it succeeds.

By then all faults are healed, but a cluster may still be electing: a chore that did not end ok is tried again after
a moment, within bounds. What still fails then is for the liveness checker to see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from foreshock.harness.generator.base import PENDING, Context, Generator, Pending
from foreshock.harness.operation import Operation, OperationType

RETRY_PAUSE_NS = 250_000_000
PATIENCE_NS = 30_000_000_000


class Chore(NamedTuple):
    """One thing to do: the operation, made from the completion of the thread's chore before.

    A chore that needs that completion to be ok is skipped where it was not. One that is tried once is done
    whatever becomes of it, and one that may be refused is done when it certainly has no effect (``fail``), for then
    it would have none the next time either.
    """

    make: Callable[[Operation | None], Operation]
    needs_ok: bool = False
    once: bool = False
    may_be_refused: bool = False

    @classmethod
    def of(cls, operation: Operation, *, once: bool = False) -> Chore:
        """A chore that does not depend on the one before."""
        return cls(lambda _: operation, once=once)


class Desk(NamedTuple):
    """How far one thread is: chores left, the last ok completion, and when it may try next."""

    chores: tuple[Chore, ...]
    last: Operation | None = None
    not_before_ns: int = 0
    process: int | None = None
    """The process that has a chore in flight."""


@dataclass(frozen=True, slots=True)
class Chores(Generator):
    """Every thread does its own chores in order; ends when all are done or given up.

    ``plan`` gives the chores of each thread when the phase begins, from the processes that the threads carry then.
    After ``patience_ns()`` in the phase, asked when it begins, nothing is tried a second time.
    """

    plan: Callable[[Sequence[int]], Sequence[Sequence[Chore]]]
    patience_ns: Callable[[], int] = lambda: PATIENCE_NS
    desks: Mapping[int, Desk] | None = None
    give_up_ns: int = 0

    def op(self, ctx: Context) -> tuple[Operation, Generator] | Pending | None:
        """The chore that may start soonest, of a free thread."""
        here = self if self.desks is not None else self._opened(ctx)
        desks = here.desks or {}
        free = [thread for thread in ctx.free if thread in desks and desks[thread].chores]
        ready = [thread for thread in free if desks[thread].process is None]
        if not ready:
            return PENDING if any(desk.chores for desk in desks.values()) else None
        thread = min(ready, key=lambda number: (desks[number].not_before_ns, number))
        desk = desks[thread]
        process = ctx.process(thread)
        made = desk.chores[0].make(desk.last)
        operation = Operation(
            f=made.f,
            key=made.key,
            value=made.value,
            process=process,
            time_ns=max(ctx.time_ns, desk.not_before_ns),
        )
        return operation, here.with_desk(thread, desk._replace(process=process))

    def update(self, ctx: Context, event: Operation) -> Generator:
        """Goes on to the thread's next chore, or lets it try again."""
        if event.type is OperationType.INVOKE or not self.desks:
            return self
        for thread, desk in self.desks.items():
            if desk.process == event.process:
                return self.with_desk(thread, self._completed(ctx, desk, event))
        return self

    def _opened(self, ctx: Context) -> Chores:
        threads = list(ctx.threads)
        lists = self.plan([ctx.process(thread) for thread in threads])
        desks = {thread: Desk(tuple(chores)) for thread, chores in zip(threads, lists, strict=True)}
        return replace(self, desks=desks, give_up_ns=ctx.time_ns + self.patience_ns())

    def _completed(self, ctx: Context, desk: Desk, event: Operation) -> Desk:
        done = desk.chores[0]
        if event.type is OperationType.OK:
            return Desk(desk.chores[1:], last=event)
        refused = done.may_be_refused and event.type is OperationType.FAIL
        if done.once or refused or ctx.time_ns >= self.give_up_ns:
            rest = desk.chores[1:]
            while rest and rest[0].needs_ok:
                rest = rest[1:]
            return Desk(rest)
        return desk._replace(process=None, not_before_ns=ctx.time_ns + RETRY_PAUSE_NS)

    def with_desk(self, thread: int, desk: Desk) -> Chores:
        """The same with one thread further on."""
        return replace(self, desks={**(self.desks or {}), thread: desk})


def reads_everywhere(f: str, live: Sequence[int], retired: Sequence[int], threads: int) -> list[list[Chore]]:
    """Every thread (and with them every node) reads every live key; the retired ones are shared out."""
    chores = []
    for thread in range(threads):
        keys = [*live, *retired[thread::threads]]
        chores.append([Chore.of(Operation(f=f, key=key)) for key in keys])
    return chores
