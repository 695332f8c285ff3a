"""The slow-start nemesis: nodes are killed, come back late, and are slow until they have caught up."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Final, NamedTuple

import msgspec

from foreshock.harness.capabilities import Kill, Starve
from foreshock.harness.cluster import capability
from foreshock.harness.nemesis import NemesisContext, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.harness.randomness import RandomStream
from foreshock.nemesis.chain import Link
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.leaders import nodes_of_spec
from foreshock.nemesis.node_specs import NODE_SPECS, known_spec, named_nodes
from foreshock.nemesis.own_kills import KillingNemesis
from foreshock.nemesis.starve import StarveNemesis, StarveOptions

KILL: Final = "slow-start"
START: Final = "start-slowly"
END: Final = "end-slow-start"
CPU_PERCENT_MIN, CPU_PERCENT_MAX = 5, 30


class SlowStartOptions(Options, frozen=True, kw_only=True):
    """Which nodes come back late and slowly."""

    targets: Annotated[
        str,
        msgspec.Meta(
            description=(
                "which nodes are killed and come back slowly, separated by commas, drawn anew each time: "
                + ", ".join(NODE_SPECS)
            )
        ),
    ] = "one,minority,primaries"

    def __post_init__(self) -> None:
        chosen(self.targets, NODE_SPECS, option="targets")


class SlowStarts(NamedTuple):
    """Killed; started late; fed when it has had time to catch up."""

    targets: tuple[str, ...]

    def begin(self, rng: RandomStream) -> Link:
        """The kill."""
        return Link(KILL, rng.choice(self.targets))

    def follow(self, rng: RandomStream, done: Link, result: Mapping[str, Any]) -> Link | None:
        """The late start; then the end of the slowness."""
        del result
        if done.f == KILL:
            return Link(START, None, rng.between(100, 1200))
        return Link(END, None, rng.between(200, 1200)) if done.f == START else None


class SlowStartNemesis(KillingNemesis[SlowStartOptions]):
    """``slow-start`` (value: a node spec) kills, ``start-slowly`` starts with little CPU, ``end-slow-start`` ends.

    Where nodes cannot be kept short of processor they come back late, and not slowly.
    """

    name = "slow-start"
    Options = SlowStartOptions
    requires = frozenset({Kill})
    operations = (KILL, START, END)
    uses = frozenset({Starve})
    fells = frozenset({"starve"})
    values: ClassVar[Mapping[str, Collection[str]]] = {KILL: tuple(NODE_SPECS)}
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="slow-start", starts=(KILL,), stops=(END,), color="#a2666f"),
    )

    def __init__(self, options: SlowStartOptions, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._rng = context.rng.stream("slow-start")
        starve = capability(context.cluster, Starve)  # type: ignore[type-abstract]
        starves = starve is not None and "cpu" in starve.starve_kinds()
        self._starve = StarveNemesis(StarveOptions(kinds="cpu"), context) if starves else None

    def plot(self) -> SlowStarts:
        """Slow starts of the nodes that the options name."""
        return SlowStarts(chosen(self.options.targets, NODE_SPECS, option="targets"))

    async def invoke(self, operation: Operation) -> Any:
        """Kill, start slowly, or end; what did not take is a ``FaultError``."""
        if operation.f == KILL:
            return await self._fell(operation.value)
        if operation.f == START:
            return await self._start_slowly(operation.value if isinstance(operation.value, Mapping) else {})
        started = await self._kills.start()
        fed = {} if self._starve is None else await self._starve.feed()
        return {"nodes": sorted({*started, *fed.get("nodes", ())})}

    async def _fell(self, value: Any) -> Mapping[str, Any]:
        asked: Mapping[str, Any] = value if isinstance(value, Mapping) else {"spec": value}
        nodes = named_nodes(asked, self.context.nodes)
        if nodes is None:
            nodes = await nodes_of_spec(self.context, known_spec(asked.get("spec")), self._rng)
        struck = frozenset(await self._kills.running(nodes))
        if struck:
            await self._kills.kill(struck, {"slow-start": sorted(struck)})
        return {"nodes": sorted(struck)} | ({} if struck else {"note": "there was no node to kill"})

    async def _start_slowly(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        held = self._kills.held
        if not held:
            return {"nodes": [], "note": "there was no node to start"}
        if self._starve is None:
            return {"nodes": held, "started": await self._kills.start()}
        percent = asked.get("cpu_percent")
        if not isinstance(percent, int):
            percent = self._rng.between(CPU_PERCENT_MIN, CPU_PERCENT_MAX)
        await self._starve.inflict("cpu", dict.fromkeys(held, percent), running=False)
        return {"nodes": held, "started": await self._kills.start(), "cpu_percent": percent}
