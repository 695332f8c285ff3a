"""The cache workload: reads, writes and deletes through a cache over an origin, judged by what the cache promises.

The operations in the history (``key`` is an integer that is never used again once it was retired):

====== ========= =============================================== =========================
f      value     result of ``ok``                                ``fail``
====== ========= =============================================== =========================
get    ``None``  the value, or ``None`` when the key is absent   the read was refused
put    the value ``None``                                        certainly did not happen
delete ``None``  ``None``                                        certainly did not happen
====== ========= =============================================== =========================

As a register: ``get`` reads, ``put`` writes its value, ``delete`` writes ``None`` (absence), which is also the state
of a key before its first put. Put values are positive integers, distinct over the whole history and growing in the
order of invocation, so that a value is its own version.

What is demanded is the option ``consistency``, whose default is what the target states of itself:

* ``linearizable``: nobody can tell that there is a cache;
* ``session``: what a process reads never goes back behind what it has read or written itself, and nothing is older
  than ``staleness_bound_ms``;
* ``bounded-staleness``: nothing is older than ``staleness_bound_ms``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.checkers.liveness import LivenessChecker
from foreshock.checkers.sessions import SessionChecker
from foreshock.checkers.staleness import StalenessChecker
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


class CacheOptions(Options, frozen=True, kw_only=True):
    """What is demanded, the mix of operations, and the keys that they meet on."""

    consistency: Annotated[
        Literal["linearizable", "session", "bounded-staleness"],
        msgspec.Meta(
            description="what the cache must keep: linearizable, session or bounded-staleness; left out: what the "
            "target says that it promises, or else linearizable"
        ),
    ] = "linearizable"
    staleness_bound_ms: Annotated[
        int,
        msgspec.Meta(
            description="how long what is read may have been overwritten (ms), where consistency is less than "
            "linearizable; left out: what the target says",
            ge=0,
            le=86_400_000,
        ),
    ] = 0

    readers_percent: Annotated[
        int, msgspec.Meta(description="how many of the processes only read, in percent", ge=0, le=100)
    ] = 40
    gets: Annotated[
        int,
        msgspec.Meta(
            description="how many operations of the other processes are gets, as a weight", ge=0, le=1000
        ),
    ] = 3
    puts: Annotated[
        int,
        msgspec.Meta(
            description="how many operations of the other processes are puts, as a weight", ge=1, le=1000
        ),
    ] = 3
    deletes: Annotated[
        int,
        msgspec.Meta(
            description="how many operations of the other processes are deletes, as a weight", ge=0, le=1000
        ),
    ] = 1
    active_keys: Annotated[
        int, msgspec.Meta(description="how many keys are in use at a time", ge=1, le=64)
    ] = 4
    updates_per_key: Annotated[
        int, msgspec.Meta(description="a key retires after so many puts and deletes", ge=1, le=10_000)
    ] = 200


class CacheWorkload(Workload[CacheOptions]):
    """A cache that must keep what it promises."""

    name = "cache"
    service = "cache"
    Options = CacheOptions

    def __init__(self, options: CacheOptions, context: WorkloadContext) -> None:
        super().__init__(options, context)
        self._journal = KeyJournal(options.updates_per_key)

    def generator(self) -> Liftable:
        """Gets, puts and deletes on the active keys."""
        options = self.options
        readers = self.context.concurrency * options.readers_percent // 100
        kinds = (
            Kind("put", Effect.WRITE, options.puts),
            Kind("get", Effect.READ, options.gets),
            Kind("delete", Effect.DELETE, options.deletes),
        )
        mix = Mix.of(kinds, updates_per_key=options.updates_per_key, readers=readers)
        return RotatingKeys.over(mix, active_keys=options.active_keys)

    def final_generator(self) -> Liftable:
        """Every process gets every live key, twice: from a cold cache and from a warm one."""
        return Chores(self._final_gets)

    def checkers(self) -> Mapping[str, Checker]:
        """What the options demand, liveness after healing, and figures."""
        return {
            **self._consistency_checkers(),
            "liveness": LivenessChecker(every_key=True),
            "statistics": StatisticsChecker(),
        }

    def _consistency_checkers(self) -> dict[str, Checker]:
        options = self.options
        if options.consistency == "linearizable":
            return {"linearizable": LinearizableChecker("register")}
        checkers: dict[str, Checker] = {"staleness": StalenessChecker(options.staleness_bound_ms)}
        if options.consistency == "session":
            checkers["session"] = SessionChecker()
        return checkers

    async def invoke(self, client: Any, operation: Operation, runtime: Runtime) -> Any:
        """Call the client's method of that name."""
        self._journal.note(operation, update=operation.f != "get")
        return await super().invoke(client, operation, runtime)

    def _final_gets(self, processes: Sequence[int]) -> list[list[Chore]]:
        live = self._journal.live(LIVE_KEYS_READ_MAX)
        retired = self._journal.retired(RETIRED_KEYS_READ_MAX)
        return reads_everywhere("get", [*live, *live], retired, len(processes))
