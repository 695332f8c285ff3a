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

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.checkers.liveness import LivenessChecker
from foreshock.checkers.sessions import SessionChecker
from foreshock.checkers.staleness import StalenessChecker
from foreshock.checkers.statistics import StatisticsChecker
from foreshock.harness.checker import Checker
from foreshock.workloads.keyed import KeyedOptions, KeyedWorkload
from foreshock.workloads.rotating_keys import Effect, Kind


class CacheOptions(KeyedOptions, frozen=True, kw_only=True):
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


class CacheWorkload(KeyedWorkload[CacheOptions]):
    """A cache that must keep what it promises."""

    name = "cache"
    service = "cache"
    lessens: ClassVar[Mapping[str, int]] = {"active_keys": 1, "gets": 0, "puts": 0, "deletes": 0}
    Options = CacheOptions
    read = "get"
    final_rounds = 2
    """The first from a cold cache, the second from a warm one."""

    def kinds(self) -> tuple[Kind, ...]:
        """Gets, puts and deletes."""
        return (
            Kind("put", Effect.WRITE, self.options.puts),
            Kind("get", Effect.READ, self.options.gets),
            Kind("delete", Effect.DELETE, self.options.deletes),
        )

    def checkers(self) -> Mapping[str, Checker]:
        """What the options demand, liveness after healing, and figures."""
        return {
            **self._consistency_checkers(),
            "liveness": LivenessChecker(
                every_key=True, operation_timeout_ms=self.context.operation_timeout_ms
            ),
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
