"""The register workload: reads, writes and compare-and-sets over rotating keys, judged by linearizability.

The operations in the history (``key`` is an integer that is never used again once it was retired):

====== ============== ======================= ========================================================
f      value          result of ``ok``        ``fail`` (certainly no effect)
====== ============== ======================= ========================================================
read   ``None``       the value, or ``None``  the read was refused
                      when the key is absent
write  the value      ``None``                the write was refused
cas    ``[old, new]`` ``None``                the value was not ``old``, or the request was refused
====== ============== ======================= ========================================================

Written values are positive integers, distinct over the whole history, and ``None`` (absent) is the state of a
key before its first write, so they are never the initial value. ``old`` is never ``None``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.checkers.liveness import LivenessChecker
from foreshock.checkers.statistics import StatisticsChecker
from foreshock.harness.checker import Checker
from foreshock.harness.generator.base import Liftable
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.harness.runtime import Runtime
from foreshock.harness.workload import Workload, WorkloadContext
from foreshock.workloads.final_phase import Chore, Chores, reads_everywhere
from foreshock.workloads.rotating_keys import Effect, KeyJournal, Kind, Mix, RotatingKeys

LIVE_KEYS_READ_MAX = 64
RETIRED_KEYS_READ_MAX = 100

Weight = Annotated[int, msgspec.Meta(ge=0, le=1000)]


class RegisterOptions(Options, frozen=True, kw_only=True):
    """The mix of operations and the keys that they meet on."""

    readers_percent: Annotated[
        int, msgspec.Meta(description="how many of the processes only read, in percent", ge=0, le=100)
    ] = 40
    reads: Annotated[
        Weight, msgspec.Meta(description="how many operations of the other processes are reads, as a weight")
    ] = 1
    writes: Annotated[
        int,
        msgspec.Meta(
            description="how many operations of the other processes are writes, as a weight", ge=1, le=1000
        ),
    ] = 1
    cas: Annotated[
        Weight,
        msgspec.Meta(
            description="how many operations of the other processes are compare-and-sets, as a weight"
        ),
    ] = 1
    active_keys: Annotated[
        int, msgspec.Meta(description="how many keys are in use at a time", ge=1, le=64)
    ] = 4
    updates_per_key: Annotated[
        int,
        msgspec.Meta(description="a key retires after so many writes and compare-and-sets", ge=1, le=10_000),
    ] = 200


class RegisterWorkload(Workload[RegisterOptions]):
    """Registers that must be linearizable, each key on its own."""

    name = "register"
    service = "register"
    Options = RegisterOptions

    def __init__(self, options: RegisterOptions, context: WorkloadContext) -> None:
        super().__init__(options, context)
        self._journal = KeyJournal(options.updates_per_key)

    def generator(self) -> Liftable:
        """Reads, writes and compare-and-sets on the active keys."""
        options = self.options
        readers = self.context.concurrency * options.readers_percent // 100
        kinds = (
            Kind("write", Effect.WRITE, options.writes),
            Kind("read", Effect.READ, options.reads),
            Kind("cas", Effect.CAS, options.cas),
        )
        mix = Mix.of(kinds, updates_per_key=options.updates_per_key, readers=readers)
        return RotatingKeys.over(mix, active_keys=options.active_keys)

    def final_generator(self) -> Liftable:
        """Every process reads every live key; the last retired ones are read once each."""
        return Chores(self._final_reads)

    def checkers(self) -> Mapping[str, Checker]:
        """Linearizability by key, liveness after healing, and figures."""
        return {
            "linearizable": LinearizableChecker("cas-register"),
            "liveness": LivenessChecker(every_key=True),
            "statistics": StatisticsChecker(),
        }

    async def invoke(self, client: Any, operation: Operation, runtime: Runtime) -> Any:
        """Call the client's method of that name."""
        self._journal.note(operation, update=operation.f != "read")
        return await super().invoke(client, operation, runtime)

    def _final_reads(self, processes: Sequence[int]) -> list[list[Chore]]:
        live = self._journal.live(LIVE_KEYS_READ_MAX)
        return reads_everywhere("read", live, self._journal.retired(RETIRED_KEYS_READ_MAX), len(processes))
