"""The clock nemesis: clocks of nodes jump, drift, or jump to and fro.

A *jump* sets a node's wall clock, as an administrator or a time server does; a *drift* lets all its clocks run fast
or slow, or only the wall clock, which a time server slews; a *strobe* sets the wall clock forward and back again many
times a second (Jepsen's word). Monotonic clocks do not jump in the real world, so they do not here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, NamedTuple, cast

import msgspec

from foreshock.harness.capabilities import Clock, ClockReading
from foreshock.harness.errors import FaultError, HarnessError
from foreshock.harness.fault_values import (
    WrongValueError,
    check_by_node,
    check_common_value,
    check_name,
)
from foreshock.harness.generator.base import Liftable
from foreshock.harness.nemesis import Nemesis, NemesisContext, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.harness.runtime import Task
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.leaders import nodes_of_spec
from foreshock.nemesis.node_specs import NODE_SPECS, named_nodes
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
    "drift-wall": "wall clocks run fast or slow, and all else goes by clocks that run true",
    "strobe": "wall clocks are set forward and back many times a second",
}
USUAL: Final = "jump,drift,strobe"
"""What is drawn unless the user says otherwise. A drift of the wall clocks alone is a part of a drift of all."""
DRIFTS: Final = frozenset({"drift", "drift-wall"})
DRIFT_PPM_MIN: Final = 7_000
"""What drifts less gains less in the time of the observation than can be told from none (``RATE_TOLERANCE_NS``)."""
DRIFT_PPM_MAX: Final = 500_000
JUMP_MS_MAX: Final = 86_400_000


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
    ] = USUAL
    targets: Annotated[
        str,
        msgspec.Meta(
            description=f"whose clocks, separated by commas, drawn anew each time: {', '.join(NODE_SPECS)}"
        ),
    ] = "one,minority,majority,primaries,all"
    jump_ms_max: Annotated[
        int, msgspec.Meta(description="the longest jump or strobe, in ms", ge=1, le=JUMP_MS_MAX)
    ] = 10_000
    drift_percent_max: Annotated[
        int,
        msgspec.Meta(
            description="the fastest drift, in percent of the time that passes; crystals drift by 0.01",
            ge=1,
            le=DRIFT_PPM_MAX // 10_000,
        ),
    ] = 5

    def __post_init__(self) -> None:
        chosen(self.kinds, KINDS, option="kinds")
        chosen(self.targets, NODE_SPECS, option="targets")


class Gained(NamedTuple):
    """What clocks have gained on true ones, and in what time of those."""

    wall_ns: int
    monotonic_ns: int
    elapsed_ns: int


class ClockNemesis(Nemesis[ClockOptions]):
    """``skew-clocks`` (value: the kind; the result says whose clocks and by how much) and ``reset-clocks``."""

    name = "clock"
    Options = ClockOptions
    requires = frozenset({Clock})
    values: ClassVar[Mapping[str, Collection[str]]] = {"skew-clocks": tuple(KINDS)}
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="clock", starts=("skew-clocks",), stops=("reset-clocks",), color="#3a7d44"),
    )

    def __init__(self, options: ClockOptions, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._rng = context.rng.stream("clocks")
        self._strobe: Task[None] | None = None

    @classmethod
    def check_value(cls, f: str, value: Any, nodes: Sequence[str]) -> None:
        """A kind, or a table of a kind with whose clocks and by how much: what is not there is drawn."""
        if f == "skew-clocks" and isinstance(value, Mapping):
            check_table(value, nodes)
        else:
            super().check_value(f, value, nodes)

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
            return await self._start(operation.value)
        return await self._stop()

    async def _start(self, asked: Any) -> Mapping[str, Any]:
        context = self.context
        value = await self._decided(asked if isinstance(asked, Mapping) else {"kind": asked})
        kind, amounts = value["kind"], value["drift_ppm" if value["kind"] in DRIFTS else "jump_ms"]
        nodes = frozenset(amounts)
        fault = context.ledger.planned(
            "clock", nodes, value=value, inverse=context.cluster.inverse("clock", nodes)
        )
        try:
            if kind in DRIFTS:
                observed = await self._drift(amounts, wall_only=kind == "drift-wall")
            else:
                observed = await self._jump(amounts)
                if kind == "strobe":
                    self._begin_strobe(amounts, value["every_ms"] * MILLISECOND_NS, fault)
        except HarnessError as error:
            context.ledger.failed(fault, str(error))
            raise
        context.ledger.verified(fault, observed)
        return value

    async def _decided(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What was asked for, with all that was left open drawn; raises ``FaultError`` for what makes no sense."""
        context, rng = self.context, self._rng
        try:
            check_table(asked, context.nodes)
        except ValueError as problem:
            raise FaultError(f"skew-clocks cannot do as it is told: {problem}") from None
        kind = asked["kind"]
        key, least, most = (
            ("drift_ppm", DRIFT_PPM_MIN, self.options.drift_percent_max * 10_000)
            if kind in DRIFTS
            else ("jump_ms", 1, self.options.jump_ms_max)
        )
        given = asked.get(key)
        if isinstance(given, Mapping):
            amounts = {node: given[node] for node in context.nodes if node in given}
        else:
            picked = named_nodes(asked, context.nodes) or await self._pick(asked.get("spec"))
            amounts = {
                node: self._amount(least, most) if given is None else given
                for node in context.nodes
                if node in picked
            }
        value: dict[str, Any] = {"kind": kind, key: amounts}
        if "every_ms" not in asked and (kind == "strobe" or given is None):
            asked = {**asked, "every_ms": rng.between(*STROBE_MS)}  # with amounts for all kinds alike
        return value | {"every_ms": asked["every_ms"]} if kind == "strobe" else value

    async def _pick(self, spec: str | None) -> frozenset[str]:
        if spec is None:
            spec = self._rng.choice(chosen(self.options.targets, NODE_SPECS, option="targets"))
        return await nodes_of_spec(self.context, spec, self._rng)

    def _amount(self, least: int, most: int) -> int:
        """The most there may be, or anything, or little; either way."""
        rng = self._rng
        size = max(least, rng.choice((most, rng.between(1, most), rng.between(1, max(1, most // 20)))))
        return size if rng.chance(1, 2) else -size

    async def _jump(self, jump_ms: Mapping[str, int]) -> Mapping[str, Any]:
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
        return {node: ns // MILLISECOND_NS for node, ns in seen.items()} | _by_file(after)

    async def _drift(self, drift_ppm: Mapping[str, int], *, wall_only: bool) -> Mapping[str, Any]:
        await self._clocks.drift_clocks(drift_ppm, wall_only=wall_only)
        seen, readings = await self._gained(frozenset(drift_ppm))
        wrong = []
        for node, ppm in drift_ppm.items():
            gained = seen[node]
            gain_ns = gained.elapsed_ns * ppm // 1_000_000
            wanted = {"wall clock": (gained.wall_ns, gain_ns)}
            wanted["monotonic clock"] = (gained.monotonic_ns, 0 if wall_only else gain_ns)
            wrong += [
                f"the {clock} of {node} gained {ns} ns in place of {due_ns} ns in {gained.elapsed_ns} ns"
                for clock, (ns, due_ns) in wanted.items()
                if abs(ns - due_ns) > RATE_TOLERANCE_NS + abs(due_ns) // 4
            ]
        if wrong:
            raise FaultError(f"skew-clocks did not take: {', '.join(wrong)}")
        observed = {
            node: (gained.wall_ns if wall_only else gained.monotonic_ns) * 1_000_000 // gained.elapsed_ns
            for node in drift_ppm
            if (gained := seen[node])
        }
        return observed | _by_file(readings)

    async def _gained(self, nodes: frozenset[str]) -> tuple[dict[str, Gained], Mapping[str, ClockReading]]:
        """By how much each node's clocks gain on true ones, in what time; and what they show at its end."""
        before = await self._clocks.read_clocks(nodes)
        await self.context.runtime.sleep(OBSERVE_NS)
        after = await self._clocks.read_clocks(nodes)
        gained = {}
        for node in sorted(nodes):
            first, last = before[node], after[node]
            elapsed_ns = max(1, last.true_ns - first.true_ns)
            gained[node] = Gained(
                wall_ns=last.wall_offset_ns - first.wall_offset_ns,
                monotonic_ns=last.monotonic_ns - first.monotonic_ns - elapsed_ns,
                elapsed_ns=elapsed_ns,
            )
        return gained, after

    def _begin_strobe(self, jump_ms: Mapping[str, int], period_ns: int, fault: int) -> None:
        """Jump back and forth from now on; the clocks have jumped once. It takes the place of a strobe before it."""
        self._end_strobe()

        async def strobe() -> None:
            sign = 1
            for _ in range(STROBE_JUMPS_MAX):
                await self.context.runtime.sleep(period_ns)
                sign = -sign
                try:
                    await self._clocks.jump_clocks(
                        {node: sign * ms * MILLISECOND_NS for node, ms in jump_ms.items()}
                    )
                except HarnessError as error:
                    self.context.ledger.failed(fault, f"the strobe went no further: {error}")
                    return

        self._strobe = self.context.runtime.spawn(strobe(), name="strobe")

    def _end_strobe(self) -> None:
        if self._strobe is not None:
            self._strobe.cancel()
            self._strobe = None

    async def _stop(self) -> Mapping[str, Any]:
        ledger = self.context.ledger
        faults = ledger.open_faults("clock")
        nodes = frozenset(node for fault in faults for node in fault.nodes)
        self._end_strobe()
        try:
            if nodes:
                await self._reset(nodes)
        except HarnessError as error:
            for fault in faults:
                ledger.failed(fault.id, str(error))
            raise
        for fault in faults:
            ledger.healed(fault.id)
        ended = [fault.failure for fault in faults if fault.failure and fault.verified_ns is not None]
        if ended:
            raise FaultError(f"skew-clocks did not last: {ended[0]}")
        return {"nodes": sorted(nodes)}

    async def _reset(self, nodes: frozenset[str]) -> None:
        await self._clocks.reset_clocks(nodes)
        gained, shown = await self._gained(nodes)
        wrong = [
            f"{node} is {shown[node].wall_offset_ns // MILLISECOND_NS} ms ahead and gained "
            f"{gained[node].monotonic_ns} ns in {gained[node].elapsed_ns} ns"
            for node in sorted(nodes)
            if abs(shown[node].wall_offset_ns) > OFFSET_TOLERANCE_NS
            or max(abs(gained[node].wall_ns), abs(gained[node].monotonic_ns)) > RATE_TOLERANCE_NS
        ]
        if wrong:
            raise FaultError(f"reset-clocks did not take: {', '.join(wrong)}")

    @property
    def _clocks(self) -> Clock:
        return cast(Clock, self.context.cluster)


def check_table(table: Mapping[str, Any], nodes: Sequence[str]) -> None:
    """A table of a skew: its kind; whose clocks (``nodes`` or a ``spec``); how much of it, for all or by node.

    Raises ``ValueError``. What is not there is drawn.
    """
    check_common_value(None, table, nodes)
    kind = table.get("kind")
    if kind not in KINDS:
        raise WrongValueError(f"its kind {kind!r:.200} is none of {', '.join(KINDS)}")
    if "spec" in table:
        check_name(table["spec"], NODE_SPECS, what="its spec")
    key, least, most = (
        ("drift_ppm", DRIFT_PPM_MIN, DRIFT_PPM_MAX) if kind in DRIFTS else ("jump_ms", 1, JUMP_MS_MAX)
    )
    given = table.get(key, least)
    if isinstance(given, Mapping):
        check_by_node(given, nodes, what=f"its {key}")
        if not given:
            raise WrongValueError(f"its {key} names no node")
    for amount in given.values() if isinstance(given, Mapping) else (given,):
        if type(amount) is not int or not least <= abs(amount) <= most:
            raise WrongValueError(
                f"its {key} is {amount!r:.200}, and must be a whole number from {least} up to {most}, either way "
                "(or such by node)"
            )
    period_ms = table.get("every_ms", STROBE_MS[0])
    if type(period_ms) is not int or not 1 <= period_ms <= JUMP_MS_MAX:
        raise WrongValueError(f"its every_ms is {period_ms!r:.200}, and must be a whole number of at least 1")


def _by_file(readings: Mapping[str, ClockReading]) -> dict[str, list[str]]:
    """Whose clocks nobody could look at, for the ledger: there only the file that they follow was read."""
    names = sorted(node for node, reading in readings.items() if reading.by_file)
    return {"down, so by file": names} if names else {}
