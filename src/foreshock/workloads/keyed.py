"""What workloads over rotating keys have in common: the generator, the final reads, and which keys were used."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec

from foreshock.harness.generator.base import Liftable
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.harness.runtime import Runtime
from foreshock.harness.workload import Workload, WorkloadContext
from foreshock.workloads.final_phase import Chore, Chores, reads_everywhere
from foreshock.workloads.rotating_keys import KeyJournal, Kind, Mix, RotatingKeys

LIVE_KEYS_READ_MAX = 64
RETIRED_KEYS_READ_MAX = 100


class KeyedOptions(Options, frozen=True, kw_only=True):
    """Who reads, and the keys that operations meet on."""

    readers_percent: Annotated[
        int, msgspec.Meta(description="how many of the processes only read, in percent", ge=0, le=100)
    ] = 40
    active_keys: Annotated[
        int, msgspec.Meta(description="how many keys are in use at a time", ge=1, le=64)
    ] = 4
    updates_per_key: Annotated[
        int, msgspec.Meta(description="a key retires after so many updates", ge=1, le=10_000)
    ] = 200


KeyedOptionsT = TypeVar("KeyedOptionsT", bound=KeyedOptions)


class KeyedWorkload(Workload[KeyedOptionsT]):
    """Random operations on keys that rotate; in the end every process reads every live key."""

    read: ClassVar[str]
    """The operation that reads; every other one is an update."""
    final_rounds: ClassVar[int] = 1
    """How often every process reads every live key in the end."""

    def __init__(self, options: KeyedOptionsT, context: WorkloadContext) -> None:
        super().__init__(options, context)
        self._journal = KeyJournal(options.updates_per_key)

    @abstractmethod
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of operations, with their weights."""

    def generator(self) -> Liftable:
        """Operations of all kinds on the active keys."""
        options = self.options
        readers = self.context.concurrency * options.readers_percent // 100
        mix = Mix.of(self.kinds(), updates_per_key=options.updates_per_key, readers=readers)
        return RotatingKeys.over(mix, active_keys=options.active_keys)

    def final_generator(self) -> Liftable:
        """Every process reads every live key; the last retired ones are read once each."""
        return Chores(self._final_reads)

    async def invoke(self, client: Any, operation: Operation, runtime: Runtime) -> Any:
        """Call the client's method of that name."""
        self._journal.note(operation, update=operation.f != self.read)
        return await super().invoke(client, operation, runtime)

    def _final_reads(self, processes: Sequence[int]) -> list[list[Chore]]:
        live = self._journal.live(LIVE_KEYS_READ_MAX) * self.final_rounds
        return reads_everywhere(self.read, live, self._journal.retired(RETIRED_KEYS_READ_MAX), len(processes))
