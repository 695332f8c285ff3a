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

from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec

from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.checkers.liveness import LivenessChecker
from foreshock.checkers.statistics import StatisticsChecker
from foreshock.harness.checker import Checker
from foreshock.workloads.keyed import KeyedOptions, KeyedWorkload
from foreshock.workloads.rotating_keys import Effect, Kind

Weight = Annotated[int, msgspec.Meta(ge=0, le=1000)]


class RegisterOptions(KeyedOptions, frozen=True, kw_only=True):
    """The mix of operations and the keys that they meet on."""

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


class RegisterWorkload(KeyedWorkload[RegisterOptions]):
    """Registers that must be linearizable, each key on its own."""

    name = "register"
    service = "register"
    lessens: ClassVar[Mapping[str, int]] = {"active_keys": 1, "reads": 0, "writes": 0, "cas": 0}
    Options = RegisterOptions
    read = "read"

    def kinds(self) -> tuple[Kind, ...]:
        """Reads, writes and compare-and-sets."""
        return (
            Kind("write", Effect.WRITE, self.options.writes),
            Kind("read", Effect.READ, self.options.reads),
            Kind("cas", Effect.CAS, self.options.cas),
        )

    def checkers(self) -> Mapping[str, Checker]:
        """Linearizability by key, liveness after healing, and figures."""
        return {
            "linearizable": LinearizableChecker("cas-register"),
            "liveness": LivenessChecker(
                every_key=True, operation_timeout_ms=self.context.operation_timeout_ms
            ),
            "statistics": StatisticsChecker(),
        }
