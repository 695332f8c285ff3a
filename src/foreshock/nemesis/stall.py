"""The stall nemesis: clients stand still for a while, as in a long garbage collection or on a suspended machine.

It strikes the harness's own processes, so it works on every backend. A stalled client that was about to write does
so afterwards, whatever has become of its lease in the meantime.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

import msgspec

from foreshock.harness.capabilities import Stall
from foreshock.harness.errors import FaultError
from foreshock.harness.generator.base import Liftable
from foreshock.harness.ledger import ENDS_WITH_HARNESS
from foreshock.harness.nemesis import Nemesis, NemesisContext, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.schedule import Faults, FaultSchedule

MILLISECOND_NS: Final = 1_000_000
OBSERVE_NS: Final = 20 * MILLISECOND_NS
"""How long the stalled clients are watched: not one of them may move. Shorter stalls are watched to their half."""
DURATION_MS_MAX: Final = 600_000

PROCESS_SPECS: Final[Mapping[str, str]] = {
    "one": "one random process",
    "some": "a random part of the processes",
    "all": "every process",
}
"""Which processes to stall."""


class StallOptions(Options, frozen=True, kw_only=True):
    """Which clients are stalled, and for how long."""

    processes: Annotated[
        str,
        msgspec.Meta(
            description=(
                "how many clients to stall, separated by commas, drawn anew each time: "
                + ", ".join(f"{name} ({meaning})" for name, meaning in PROCESS_SPECS.items())
            )
        ),
    ] = ",".join(PROCESS_SPECS)
    duration_ms_min: Annotated[
        int, msgspec.Meta(description="the shortest stall, in ms", ge=1, le=DURATION_MS_MAX)
    ] = 200
    duration_ms_max: Annotated[
        int, msgspec.Meta(description="the longest stall, in ms", ge=1, le=DURATION_MS_MAX)
    ] = 6_000

    def __post_init__(self) -> None:
        chosen(self.processes, PROCESS_SPECS, option="processes")
        if self.duration_ms_min > self.duration_ms_max:
            raise ValueError(
                f"duration_ms_min is {self.duration_ms_min}, more than duration_ms_max, {self.duration_ms_max}"
            )


class StallNemesis(Nemesis[StallOptions]):
    """``stall`` (value: a process spec; the result says which and for how long) and ``resume-clients``.

    The value may also be a result: ``processes`` and ``duration_ms``. In place of a process that has crashed the
    one that its thread carries now is stalled.

    A stall ends by itself when its time is up, so that none lasts longer than the options say.
    """

    name = "stall"
    Options = StallOptions
    requires = frozenset({Stall})
    values: ClassVar[Mapping[str, Collection[str]]] = {"stall": tuple(PROCESS_SPECS)}
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="stall", starts=("stall",), stops=("resume-clients",), color="#8d6cab"),
    )

    def __init__(self, options: StallOptions, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._rng = context.rng.stream("stall")

    @classmethod
    def check_value(cls, f: str, value: Any, nodes: Sequence[str]) -> None:
        """A mapping must hold processes and a duration; raises ``ValueError``."""
        super().check_value(f, value, nodes)
        if f != "stall" or not isinstance(value, Mapping):
            return
        processes, duration_ms = value.get("processes"), value.get("duration_ms")
        if not isinstance(processes, Sequence) or not all(type(each) is int for each in processes):
            raise ValueError(f"its processes must be a list of numbers, not {processes!r:.200}")
        if processes and (type(duration_ms) is not int or not 1 <= duration_ms <= DURATION_MS_MAX):
            raise ValueError(
                f"its duration_ms must be a whole number from 1 to {DURATION_MS_MAX}, not {duration_ms!r:.200}"
            )

    @property
    def fs(self) -> frozenset[str]:
        """The two operations."""
        return frozenset({"stall", "resume-clients"})

    def generator(self) -> Liftable:
        """Stalls without end, each followed by a look at whether all clients have gone on."""
        kinds = chosen(self.options.processes, PROCESS_SPECS, option="processes")
        return FaultSchedule.first(Faults("stall", "resume-clients", kinds), self.context)

    def final_generator(self) -> Liftable:
        """One step that lets every client go on."""
        return Operation(f="resume-clients")

    async def invoke(self, operation: Operation) -> Any:
        """Stall or resume; a client that moves in its stall, or does not move after it, is a ``FaultError``."""
        if operation.f == "stall":
            return await self._start(*self._chosen(operation.value))
        return self._stop()

    def _chosen(self, value: Any) -> tuple[str, frozenset[int], int]:
        """The spec, the processes and for how long (ms), as the value says or as they are drawn for its spec."""
        if isinstance(value, Mapping):
            processes = self.context.stalls.living(frozenset(value["processes"]))
            return str(value.get("spec", "given")), processes, value.get("duration_ms", 0)
        spec, rng, every = str(value), self._rng, self.context.stalls.processes()
        if not every:
            return spec, frozenset(), 0
        count = {"one": 1, "some": rng.between(1, len(every)), "all": len(every)}[spec]
        processes = frozenset(rng.sample(every, count))
        return spec, processes, rng.between(self.options.duration_ms_min, self.options.duration_ms_max)

    async def _start(self, spec: str, processes: frozenset[int], duration_ms: int) -> Mapping[str, Any]:
        context, stalls = self.context, self.context.stalls
        if not processes:
            return {"processes": [], "note": "there was no client to stall"}
        value = {"processes": sorted(processes), "duration_ms": duration_ms}
        fault = context.ledger.planned("stall", frozenset(), value=value, inverse=ENDS_WITH_HARNESS)
        stalls.stall(processes, duration_ms * MILLISECOND_NS)
        before = stalls.steps(processes)
        await context.runtime.sleep(min(OBSERVE_NS, duration_ms * MILLISECOND_NS // 2))
        after, held = stalls.steps(processes), stalls.stalled(processes)
        # A loop that was busy may only now get to it: then the stall is over, and what moved since proves nothing.
        moved = [
            process for process in sorted(processes) if held[process] and after[process] != before[process]
        ]
        if moved:
            reason = f"stall did not take: the clients of these processes moved: {_listed(moved)}"
            context.ledger.failed(fault, reason)
            raise FaultError(reason)
        context.ledger.verified(fault, {"stood still": sorted(p for p in processes if held[p])})
        return {"spec": spec, **value}

    def _stop(self) -> Mapping[str, Any]:
        ledger, stalls = self.context.ledger, self.context.stalls
        faults = ledger.open_faults("stall")
        stalled = frozenset(process for fault in faults for process in fault.value["processes"])
        released = sorted(process for process, held in stalls.stalled(stalled).items() if held)
        stalls.release(stalled)
        left = sorted(process for process, held in stalls.stalled(stalled).items() if held)
        if left:
            reason = f"resume-clients did not take: still stalled: {_listed(left)}"
            for fault in faults:
                ledger.failed(fault.id, reason)
            raise FaultError(reason)
        for fault in faults:
            ledger.healed(fault.id)
        return {"processes": sorted(stalled), "before their time": released}


def _listed(processes: list[int]) -> str:
    return ", ".join(map(str, processes))
