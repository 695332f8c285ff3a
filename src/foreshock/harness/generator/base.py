"""What a generator is.

A generator is an immutable value that says which operation comes next::

    op(gen, ctx) -> (operation, gen') | PENDING | None
    update(gen, ctx, event) -> gen'

``PENDING`` means "not now, ask again after the next event"; ``None`` means "no more, ever". No clock, no
randomness but ``ctx.rng``. Plain values lift to generators: ``None`` is exhausted, an :class:`Operation` happens
once, a list or tuple is one generator after another, a function ``f(ctx)`` gives operations for ever.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from foreshock.harness.operation import Operation
from foreshock.harness.randomness import RandomStream


class Pending:
    """Nothing to do right now."""

    def __repr__(self) -> str:
        return "PENDING"


PENDING: Final = Pending()


class Context(Protocol):
    """What a generator may look at. Threads are ``0 .. concurrency-1`` and :data:`NEMESIS`.

    A thread carries one process at a time; after a crash (``info``) it carries a new one.
    """

    @property
    def time_ns(self) -> int:
        """Nanoseconds since the start of the test."""

    @property
    def rng(self) -> RandomStream:
        """The only source of randomness."""

    @property
    def threads(self) -> Sequence[int]:
        """Every thread that this generator may use, busy or not, in order."""

    @property
    def free(self) -> Sequence[int]:
        """The threads that have nothing in flight, in order."""

    def process(self, thread: int) -> int:
        """The process that the thread carries now."""

    def thread(self, process: int) -> int:
        """The thread that carries the process."""

    def some_free(self) -> int | None:
        """A free thread, chosen fairly by ``rng``; ``None`` when all are busy."""

    def restrict(self, threads: frozenset[int]) -> Context:
        """The same context with only some of its threads."""

    def at(self, time_ns: int) -> Context:
        """The same context at another time."""


class Generator(ABC):
    """Base of all generators: immutable, so that ``op`` and ``update`` return what they become."""

    __slots__ = ()

    @abstractmethod
    def op(self, ctx: Context) -> tuple[Operation, Liftable] | Pending | None:
        """The next operation, complete with ``process`` and ``time_ns`` (when it should start), and the rest."""

    def update(self, ctx: Context, event: Operation) -> Liftable:  # noqa: ARG002
        """What the generator becomes after an invocation or completion of one of its threads."""
        return self


Liftable = Generator | Operation | Sequence[Any] | Callable[[Context], Any] | None
