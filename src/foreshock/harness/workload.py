"""Workloads: what clients do, how it is judged, and what is done once all faults are healed."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from foreshock.harness.checker import Checker
from foreshock.harness.errors import PlugInError
from foreshock.harness.generator.base import Liftable
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options, nearest
from foreshock.harness.runtime import Runtime


class WorkloadContext(msgspec.Struct, frozen=True):
    """What a workload may know of its test."""

    nodes: tuple[str, ...]
    """The names of the nodes, in order."""
    concurrency: int
    """How many processes there are at a time."""
    rate: float
    """Operations per second over all processes; 0 means as fast as they can."""
    time_limit_ns: int
    """How long the main phase lasts."""
    seed: int
    runtime: Runtime
    """The clock and the sources of chance of the test."""
    operation_timeout_ms: int = 5_000
    """After this an operation is info: one that waits by design must wait for less."""


OptionsT_co = TypeVar("OptionsT_co", bound=Options, covariant=True)


class Workload(ABC, Generic[OptionsT_co]):
    """One workload, made once a test. ``service`` is the client protocol that a target must offer for it."""

    Options: ClassVar[type[Options]] = Options
    """The class of the workload's options (``-o KEY=VALUE``)."""
    name: ClassVar[str]
    """Its name, in a word."""
    service: ClassVar[str]
    """The service that its operations ask for: ``register``, ``lock``, ``cache``, or one of its own."""
    lessens: ClassVar[Mapping[str, int]] = {}
    """The options that only say how much clients do and with how many things, each with the least that it may be.

    ``foreshock shrink`` lowers them. None of them may change what must hold."""

    def __init__(self, options: OptionsT_co, context: WorkloadContext) -> None:
        self.options = options
        self.context = context

    @classmethod
    def check_client(cls, options: Any, client: type[Any]) -> None:
        """Raise :class:`~foreshock.harness.errors.UsageError` where the options ask for what the client class lacks.

        Asked before anything is deployed. The default is content with any client of the service.
        """

    @abstractmethod
    def generator(self) -> Liftable:
        """The operations of the main phase, without end; the harness limits time and staggers by the rate."""

    def final_generator(self) -> Liftable:
        """The operations after everything is healed (final reads, proof of life); finite."""
        return None

    @abstractmethod
    def checkers(self) -> Mapping[str, Checker]:
        """The checkers that judge the history, by the name that the results show."""

    async def invoke(self, client: Any, operation: Operation, runtime: Runtime) -> Any:
        """Perform one operation; its return value is the result, and what it raises says how it ended otherwise.

        The default calls the client's method named by ``operation.f``: with the key, and then the value when
        there is one (a list or tuple is spread over the arguments). Blocking methods run in a thread. Raises
        :class:`~foreshock.harness.errors.PlugInError` where the client has no method of that name.
        """
        method = getattr(client, operation.f, None)
        if method is None:
            methods = [
                name for name in dir(client) if not name.startswith("_") and callable(getattr(client, name))
            ]
            raise PlugInError(
                f"the workload {type(self).__name__!r}: its operation {operation.f!r} is no method of the client "
                f"{type(client).__qualname__!r}{nearest(operation.f, methods)}"
            )
        arguments: list[Any] = [] if operation.key is None else [operation.key]
        if isinstance(operation.value, list | tuple):
            arguments.extend(operation.value)
        elif operation.value is not None:
            arguments.append(operation.value)
        if inspect.iscoroutinefunction(method):
            return await method(*arguments)
        return await runtime.call(partial(method, *arguments))
