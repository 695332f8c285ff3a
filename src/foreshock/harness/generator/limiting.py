"""Generators that end: ``limit``, ``once``, ``time_limit``, ``process_limit``."""

from __future__ import annotations

from typing import cast

from msgspec.structs import replace

from foreshock.harness.errors import PlugInError
from foreshock.harness.generator.base import Context, Liftable
from foreshock.harness.generator.native import EXHAUSTED, Answer, Directive, Native, Wrapper, lift
from foreshock.harness.operation import NEMESIS


class Limit(Wrapper):
    """At most so many operations more."""

    __slots__ = ("remaining",)

    def __init__(self, remaining: int, generator: Native) -> None:
        self.remaining = remaining
        self.generator = generator

    def op(self, ctx: Context) -> Answer:
        """The generator's next operation, if any may still come."""
        if self.remaining <= 0:
            return None
        answer = self.generator.op(ctx)
        if not isinstance(answer, tuple):
            return answer
        operation, rest = answer
        return operation, Limit(self.remaining - 1, rest) if self.remaining > 1 else EXHAUSTED

    def _around(self, generator: Native) -> Native:
        return Limit(self.remaining, generator)


def limit(count: int, generator: Liftable) -> Native:
    """At most ``count`` operations of the generator."""
    return Limit(_whole("limit", "count", count), lift(generator))


def once(generator: Liftable) -> Native:
    """One operation of the generator."""
    return Limit(1, lift(generator))


class TimeLimit(Wrapper):
    """Operations that start before ``cutoff_ns``, which counts from the first one; ``None`` before that."""

    __slots__ = ("cutoff_ns", "limit_ns")

    def __init__(self, limit_ns: int, cutoff_ns: int | None, generator: Native) -> None:
        self.limit_ns = limit_ns
        self.cutoff_ns = cutoff_ns
        self.generator = generator

    def op(self, ctx: Context) -> Answer:
        """The generator's next operation, if it starts in time. A sleep is cut to what time is left."""
        cutoff_ns = self.cutoff_ns
        if cutoff_ns is not None and ctx.time_ns >= cutoff_ns:
            return None
        answer = self.generator.op(ctx)
        if not isinstance(answer, tuple):
            return answer
        operation, rest = answer
        start_ns = operation.time_ns or 0
        if cutoff_ns is None:
            cutoff_ns = start_ns + self.limit_ns
        if start_ns >= cutoff_ns:
            return None
        if operation.__class__ is Directive and operation.f == "sleep":
            operation = replace(operation, value=min(cast("int", operation.value), cutoff_ns - start_ns))
        return operation, TimeLimit(self.limit_ns, cutoff_ns, rest)

    def _around(self, generator: Native) -> Native:
        return TimeLimit(self.limit_ns, self.cutoff_ns, generator)


def time_limit(limit_ns: int, generator: Liftable) -> Native:
    """The generator's operations for ``limit_ns`` from its first one."""
    limit_ns = _whole("time_limit", "limit_ns", limit_ns)
    return TimeLimit(limit_ns, None, lift(generator)) if limit_ns else EXHAUSTED


class ProcessLimit(Wrapper):
    """Operations while no more than ``count`` processes have been there to perform them."""

    __slots__ = ("count", "processes")

    def __init__(self, count: int, processes: frozenset[int], generator: Native) -> None:
        self.count = count
        self.processes = processes
        self.generator = generator

    def op(self, ctx: Context) -> Answer:
        """The generator's next operation, unless there have been too many processes by now."""
        answer = self.generator.op(ctx)
        if not isinstance(answer, tuple):
            return answer
        operation, rest = answer
        present = {ctx.process(thread) for thread in ctx.threads if thread != NEMESIS}
        processes = self.processes if present <= self.processes else self.processes | present
        if len(processes) > self.count:
            return None
        return operation, ProcessLimit(self.count, processes, rest)

    def _around(self, generator: Native) -> Native:
        return ProcessLimit(self.count, self.processes, generator)


def process_limit(count: int, generator: Liftable) -> Native:
    """The generator's operations until more than ``count`` different processes could have performed them.

    It counts every process that was there, whether or not it got an operation: so a test does not trickle out
    on its last living process. The nemesis does not count.
    """
    return ProcessLimit(_whole("process_limit", "count", count), frozenset(), lift(generator))


def _whole(function: str, argument: str, value: object) -> int:
    if type(value) is not int or value < 0:
        raise PlugInError(
            f"{function}() was given {argument}={value!r:.100}: it must be a whole number, 0 or more"
        )
    return value
