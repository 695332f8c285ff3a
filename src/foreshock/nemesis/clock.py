"""The clock nemesis: clocks of nodes jump, drift, or jump to and fro.

A *jump* sets a node's wall clock, as an administrator or a time server does; a *drift* lets all its clocks run fast
or slow; a *strobe* sets the wall clock forward and back again many times a second (Jepsen's word). Monotonic clocks
do not jump in the real world, so they do not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, cast

import msgspec

from foreshock.harness.capabilities import Clock, ClockReading
from foreshock.harness.errors import FaultError, HarnessError
from foreshock.harness.generator.base import Liftable
from foreshock.harness.nemesis import Nemesis, NemesisContext, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.harness.runtime import Task
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.leaders import known_primaries
from foreshock.nemesis.node_specs import NODE_SPECS, pick_nodes
from foreshock.nemesis.schedule import Faults, FaultSchedule

MILLISECOND_NS: Final = 1_000_000
OBSERVE_NS: Final = 200 * MILLISECOND_NS
"""For how long a drift is observed."""
OFFSET_TOLERANCE_NS: Final = 50 * MILLISECOND_NS
"""How far from what it should be a clock may be read: it takes a moment to set one, and to read it."""
RATE_TOLERANCE_NS: Final = 1 * MILLISECOND_NS
STROBE_MS: Final = (10, 200)
"""The shortest and the longest time between two jumps of a strobe."""
STROBE_JUMPS_MAX: Final = 100_000

KINDS: Final[Mapping[str, str]] = {
    "jump": "wall clocks are set forward or back",
    "drift": "all clocks run fast or slow",
    "strobe": "wall clocks are set forward and back many times a second",
}


class ClockOptions(Options, frozen=True, kw_only=True):
    """What happens to clocks, and how much of it."""

    kinds: Annotated[
        str,
        msgspec.Meta(
            description=(
                "what happens to clocks, separated by commas, drawn anew each time: "
                + ", ".join(f"{name} ({meaning})" for name, meaning in KINDS.items())
            )
        ),
    ] = ",".join(KINDS)
    targets: Annotated[
        str,
        msgspec.Meta(
            description=f"whose clocks, separated by commas, drawn anew each time: {', '.join(NODE_SPECS)}"
        ),
    ] = "one,minority,majority,primaries,all"
    jump_ms_max: Annotated[
        int, msgspec.Meta(description="the longest jump or strobe, in ms", ge=1, le=86_400_000)
    ] = 10_000
    drift_percent_max: Annotated[
        int,
        msgspec.Meta(
            description="the fastest drift, in percent of the time that passes; crystals drift by 0.01",
            ge=1,
            le=50,
        ),
    ] = 5

    def __post_init__(self) -> None:
        chosen(self.kinds, KINDS, option="kinds")
        chosen(self.targets, NODE_SPECS, option="targets")


class ClockNemesis(Nemesis[ClockOptions]):
    """``skew-clocks`` (value: the kind; the result says whose clocks and by how much) and ``reset-clocks``."""

    name = "clock"
    Options = ClockOptions
    requires = frozenset({Clock})
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="clock", starts=("skew-clocks",), stops=("reset-clocks",), color="#3a7d44"),
    )

    def __init__(self, options: ClockOptions, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._rng = context.rng.stream("clocks")
        self._strobe: Task[None] | None = None

    @property
    def fs(self) -> frozenset[str]:
        """The two operations."""
        return frozenset({"skew-clocks", "reset-clocks"})

    def generator(self) -> Liftable:
        """Faults of the chosen kinds without end."""
        kinds = chosen(self.options.kinds, KINDS, option="kinds")
        return FaultSchedule.first(Faults("skew-clocks", "reset-clocks", kinds), self.context)

    def final_generator(self) -> Liftable:
        """One step that sets every clock right."""
        return Operation(f="reset-clocks")

    async def invoke(self, operation: Operation) -> Any:
        """Skew or reset; clocks that do not show what they should are a ``FaultError``."""
        if operation.f == "skew-clocks":
            return await self._start(str(operation.value))
        return await self._stop()

    async def _start(self, kind: str) -> Mapping[str, Any]:
        context, rng = self.context, self._rng
        spec = rng.choice(chosen(self.options.targets, NODE_SPECS, option="targets"))
        primaries = await known_primaries(context) if spec == "primaries" else frozenset()
        picked = pick_nodes(spec, context.nodes, primaries, rng)
        nodes = [node for node in context.nodes if node in picked]
        if kind == "drift":
            amounts = {node: self._amount(self.options.drift_percent_max * 10_000) for node in nodes}
            value: dict[str, Any] = {"kind": kind, "drift_ppm": amounts}
        else:
            amounts = {node: self._amount(self.options.jump_ms_max) for node in nodes}
            value = {"kind": kind, "jump_ms": amounts}
        period_ms = rng.between(*STROBE_MS)
        if kind == "strobe":
            value["every_ms"] = period_ms
        fault = context.ledger.planned(
            "clock", picked, value=value, inverse=context.cluster.inverse("clock", picked)
        )
        try:
            if kind == "drift":
                observed = await self._drift(amounts)
            else:
                observed = await self._jump(amounts)
                if kind == "strobe":
                    self._begin_strobe(amounts, period_ms * MILLISECOND_NS)
        except HarnessError as error:
            context.ledger.failed(fault, str(error))
            raise
        context.ledger.verified(fault, observed)
        return value

    def _amount(self, most: int) -> int:
        """The most there may be, or anything, or little; either way."""
        rng = self._rng
        size = rng.choice((most, rng.between(1, most), rng.between(1, max(1, most // 20))))
        return size if rng.chance(1, 2) else -size

    async def _jump(self, jump_ms: Mapping[str, int]) -> Mapping[str, int]:
        nodes = frozenset(jump_ms)
        by_ns = {node: ms * MILLISECOND_NS for node, ms in jump_ms.items()}
        before = await self._clocks.read_clocks(nodes)
        await self._clocks.jump_clocks(by_ns)
        after = await self._clocks.read_clocks(nodes)
        seen = {node: after[node].wall_offset_ns - before[node].wall_offset_ns for node in by_ns}
        wrong = [
            f"{node} by {seen[node] // MILLISECOND_NS} ms in place of {jump_ms[node]} ms"
            for node, ns in by_ns.items()
            if abs(seen[node] - ns) > min(OFFSET_TOLERANCE_NS, abs(ns) // 2)
        ]
        if wrong:
            raise FaultError(f"skew-clocks did not take: jumped {', '.join(wrong)}")
        return {node: ns // MILLISECOND_NS for node, ns in seen.items()}

    async def _drift(self, drift_ppm: Mapping[str, int]) -> Mapping[str, int]:
        await self._clocks.drift_clocks(drift_ppm)
        seen, elapsed_ns = await self._gained(frozenset(drift_ppm))
        wrong = []
        for node, ppm in drift_ppm.items():
            gain_ns = elapsed_ns * ppm // 1_000_000
            if abs(seen[node] - gain_ns) > RATE_TOLERANCE_NS + abs(gain_ns) // 4:
                wrong.append(f"{node} gained {seen[node]} ns in place of {gain_ns} ns in {elapsed_ns} ns")
        if wrong:
            raise FaultError(f"skew-clocks did not take: {', '.join(wrong)}")
        return {node: seen[node] * 1_000_000 // elapsed_ns for node in drift_ppm}

    async def _gained(self, nodes: frozenset[str]) -> tuple[dict[str, int], int]:
        """By how much each node's monotonic clock gains on the harness's, and in what time."""
        runtime = self.context.runtime
        began_ns, before = runtime.now(), await self._clocks.read_clocks(nodes)
        await runtime.sleep(OBSERVE_NS)
        ended_ns, after = runtime.now(), await self._clocks.read_clocks(nodes)
        elapsed_ns = max(1, ended_ns - began_ns)
        gained = {
            node: after[node].monotonic_ns - before[node].monotonic_ns - elapsed_ns for node in sorted(nodes)
        }
        return gained, elapsed_ns

    def _begin_strobe(self, jump_ms: Mapping[str, int], period_ns: int) -> None:
        """Jump back and forth from now on; the clocks have jumped once."""

        async def strobe() -> None:
            sign = 1
            for _ in range(STROBE_JUMPS_MAX):
                await self.context.runtime.sleep(period_ns)
                sign = -sign
                await self._clocks.jump_clocks(
                    {node: sign * ms * MILLISECOND_NS for node, ms in jump_ms.items()}
                )

        self._strobe = self.context.runtime.spawn(strobe(), name="strobe")

    async def _stop(self) -> Mapping[str, Any]:
        ledger = self.context.ledger
        faults = ledger.open_faults("clock")
        nodes = frozenset(node for fault in faults for node in fault.nodes)
        if self._strobe is not None:
            self._strobe.cancel()
            self._strobe = None
        try:
            if nodes:
                await self._reset(nodes)
        except HarnessError as error:
            for fault in faults:
                ledger.failed(fault.id, str(error))
            raise
        for fault in faults:
            ledger.healed(fault.id)
        return {"nodes": sorted(nodes)}

    async def _reset(self, nodes: frozenset[str]) -> None:
        await self._clocks.reset_clocks(nodes)
        gained, elapsed_ns = await self._gained(nodes)
        shown: Mapping[str, ClockReading] = await self._clocks.read_clocks(nodes)
        wrong = [
            f"{node} is {shown[node].wall_offset_ns // MILLISECOND_NS} ms ahead and gained {gained[node]} ns "
            f"in {elapsed_ns} ns"
            for node in sorted(nodes)
            if abs(shown[node].wall_offset_ns) > OFFSET_TOLERANCE_NS or abs(gained[node]) > RATE_TOLERANCE_NS
        ]
        if wrong:
            raise FaultError(f"reset-clocks did not take: {', '.join(wrong)}")

    @property
    def _clocks(self) -> Clock:
        return cast(Clock, self.context.cluster)
