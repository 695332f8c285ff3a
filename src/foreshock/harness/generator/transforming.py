"""Changing what a generator gives: ``map_ops``, ``filter_ops``, ``fn``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from foreshock.harness.errors import PlugInError
from foreshock.harness.generator.base import Context, Liftable
from foreshock.harness.generator.native import Answer, Directive, FunctionGenerator, Native, Wrapper, lift
from foreshock.harness.operation import Operation

REJECTIONS_MAX: Final = 100_000
"""How many operations in a row a filter may turn down."""


class MapOps(Wrapper):
    """A generator with every operation passed through a function."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[Operation], Operation], generator: Native) -> None:
        self.function = function
        self.generator = generator

    def op(self, ctx: Context) -> Answer:
        """The generator's next operation, changed."""
        answer = self.generator.op(ctx)
        if not isinstance(answer, tuple):
            return answer
        operation, rest = answer
        if operation.__class__ is not Directive:
            operation = self.function(operation)
            if not isinstance(operation, Operation) or operation.process is None or operation.time_ns is None:
                raise PlugInError(
                    f"the function {self.function!r} of map_ops() gave {operation!r:.200}: it must give an "
                    "Operation with the process and the time of the one that it was given"
                )
        return operation, MapOps(self.function, rest)

    def _around(self, generator: Native) -> Native:
        return MapOps(self.function, generator)


def map_ops(function: Callable[[Operation], Operation], generator: Liftable) -> Native:
    """The generator's operations, each passed through ``function``; sleeps and log messages are left alone."""
    return MapOps(function, lift(generator))


class FilterOps(Wrapper):
    """A generator without the operations that a function turns down."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[Operation], bool], generator: Native) -> None:
        self.function = function
        self.generator = generator

    def op(self, ctx: Context) -> Answer:
        """The generator's next operation that passes."""
        generator = self.generator
        for _ in range(REJECTIONS_MAX):
            answer = generator.op(ctx)
            if not isinstance(answer, tuple):
                return answer
            operation, generator = answer
            if operation.__class__ is Directive or self.function(operation):
                return operation, FilterOps(self.function, generator)
        raise PlugInError(
            f"the function {self.function!r} of filter_ops() turned down {REJECTIONS_MAX} operations in a row"
        )

    def _around(self, generator: Native) -> Native:
        return FilterOps(self.function, generator)


def filter_ops(function: Callable[[Operation], bool], generator: Liftable) -> Native:
    """The generator's operations for which ``function`` is true; sleeps and log messages always pass."""
    return FilterOps(function, lift(generator))


def fn(function: Callable[[Context], Any]) -> Native:
    """What ``function(ctx)`` gives (anything that lifts to a generator), again and again, until it gives ``None``."""
    return FunctionGenerator(function)
