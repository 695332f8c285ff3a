"""The starve nemesis: nodes are kept short of processor, memory or descriptors, and fed again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, cast

import msgspec

from foreshock.harness.capabilities import Starve
from foreshock.harness.errors import FaultError, HarnessError, UsageError
from foreshock.harness.fault_values import check_by_node
from foreshock.harness.generator.base import Liftable
from foreshock.harness.ledger import Fault
from foreshock.harness.nemesis import Nemesis, NemesisContext, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options, nearest
from foreshock.harness.randomness import RandomStream
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.leaders import nodes_of_spec
from foreshock.nemesis.node_specs import NODE_SPECS
from foreshock.nemesis.running import running_nodes, start_fallen
from foreshock.nemesis.schedule import Faults, FaultSchedule

OBSERVE_ATTEMPTS_MAX: Final = 10
OBSERVE_PAUSE_NS: Final = 100_000_000

RESOURCES: Final[Mapping[str, tuple[int, int]]] = {"cpu": (2, 25), "memory": (102, 130), "files": (0, 8)}
"""Every resource with the least and the greatest level that is drawn, in the units of ``Starve.starve``."""

MEANINGS: Final[Mapping[str, str]] = {
    "cpu": "a few percent of one core",
    "memory": "little more than it uses, no swap",
    "files": "a few descriptors beyond those it has open",
}

Limits = Mapping[str, Mapping[str, int]]


class StarveOptions(Options, frozen=True, kw_only=True):
    """Of what to starve whom."""

    kinds: Annotated[
        str,
        msgspec.Meta(
            description=(
                "of what, separated by commas, drawn anew each time: "
                + ", ".join(f"{name} ({meaning})" for name, meaning in MEANINGS.items())
                + "; any: whatever the backend can"
            )
        ),
    ] = "any"
    targets: Annotated[
        str,
        msgspec.Meta(
            description=f"which nodes, separated by commas, drawn anew each time: {', '.join(NODE_SPECS)}"
        ),
    ] = "one,minority,primaries,all"

    def __post_init__(self) -> None:
        chosen(self.kinds, (*RESOURCES, "any"), option="kinds")
        chosen(self.targets, NODE_SPECS, option="targets")


class StarveNemesis(Nemesis[StarveOptions]):
    """``starve`` (value: the resource; the result carries the levels) and ``feed``, which gives back all of it.

    A node that runs out of memory, or cannot open what it must, may end: it is started again when it is fed.
    """

    name = "starve"
    Options = StarveOptions
    requires = frozenset({Starve})
    fells = frozenset({"starve"})
    values: ClassVar[Mapping[str, Collection[str]]] = {"starve": tuple(RESOURCES)}
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="starve", starts=("starve",), stops=("feed",), color="#8d6a3f"),
    )

    def __init__(self, options: StarveOptions, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._rng = context.rng.stream("starve")
        known = [name for name in RESOURCES if name in self._cluster.starve_kinds()]
        kinds = chosen(options.kinds, (*RESOURCES, "any"), option="kinds")
        for kind in kinds:
            if kind != "any" and kind not in known:
                raise UsageError(f"nodes cannot be starved of {kind!r} here{nearest(kind, known)}")
        self._kinds = tuple(name for kind in kinds for name in (known if kind == "any" else (kind,)))

    @classmethod
    def check_value(cls, f: str, value: Any, nodes: Sequence[str]) -> None:
        """A resource, or a table with ``resource`` and ``levels`` (or ``nodes``, or a ``spec``)."""
        if f != "starve" or not isinstance(value, Mapping):
            super().check_value(f, value, nodes)
            return
        super().check_value(f, value.get("resource"), nodes)
        super().check_value("", {key: value[key] for key in ("nodes",) if key in value}, nodes)
        if "levels" in value:
            check_by_node(value["levels"], nodes, what="its levels")
            if not all(type(level) is int and level >= 0 for level in value["levels"].values()):
                raise ValueError("its levels must be whole numbers, not below 0")
        elif value.get("spec", "one") not in NODE_SPECS:
            raise ValueError(
                f"its spec {value['spec']!r} is not known{nearest(str(value['spec']), NODE_SPECS)}"
            )

    @property
    def fs(self) -> frozenset[str]:
        """The two operations."""
        return frozenset({"starve", "feed"})

    def generator(self) -> Liftable:
        """Shortages without end, each followed by plenty."""
        return FaultSchedule.first(Faults("starve", "feed", self._kinds), self.context)

    def final_generator(self) -> Liftable:
        """One step that feeds every node, and starts those that have ended of hunger."""
        return Operation(f="feed")

    async def invoke(self, operation: Operation) -> Any:
        """Starve or feed; what did not take, or did not end, is a ``FaultError``."""
        if operation.f == "starve":
            return await self._start(operation.value)
        return await self.feed()

    async def inflict(self, resource: str, levels: Mapping[str, int], *, running: bool = True) -> int:
        """Starve exactly these nodes, with all that belongs to a fault; returns its number in the ledger.

        ``running``: whether they are to have a process now; of one that has none only the group is looked at.
        """
        context, nodes = self.context, frozenset(levels)
        before = await self._cluster.starved(nodes)
        fault = context.ledger.planned(
            "starve",
            nodes,
            value={"resource": resource, "levels": dict(sorted(levels.items())), "before": _shown(before)},
            inverse=context.cluster.inverse("starve", nodes),
        )
        try:
            await self._cluster.starve(resource, levels)
            after, missed = await self._observe(resource, nodes, before)
            if missed and running:
                missed = await self._still_there(missed)
            if missed:
                raise FaultError(
                    f"starve did not take: {', '.join(missed)} {'have' if len(missed) > 1 else 'has'} as much "
                    f"{resource} as before"
                )
        except HarnessError as error:
            context.ledger.failed(fault, str(error))
            raise
        context.ledger.verified(fault, _shown({name: _of(after, name, resource) for name in sorted(nodes)}))
        return fault

    async def feed(self) -> Mapping[str, Any]:
        """Give all nodes that are short of something what they had, and start those that ended of it."""
        context = self.context
        faults = context.ledger.open_faults("starve")
        nodes = frozenset(node for fault in faults for node in fault.nodes)
        if not nodes:
            return {"nodes": []}
        try:
            few = _short_of_files(await self._cluster.starved(nodes), faults)
            await self._cluster.feed(nodes)
            await self._confirm_fed(nodes, faults)
            started = await start_fallen(context, nodes)
        except HarnessError as error:
            for fault in faults:
                context.ledger.failed(fault.id, str(error))
            raise
        for fault in faults:
            context.ledger.healed(fault.id)
        starved = {node for fault in faults if fault.value["resource"] == "files" for node in fault.nodes}
        gone = sorted(
            starved - few
        )  # such a limit ends with its process, which was started again or has ended
        return (
            {"nodes": sorted(nodes)}
            | ({"started": started} if started else {})
            | ({"gone before": gone} if gone else {})
        )

    # --- within ---------------------------------------------------------------------------------------------

    async def _start(self, value: Any) -> Mapping[str, Any]:
        asked: Mapping[str, Any] = value if isinstance(value, Mapping) else {"resource": value}
        resource = str(asked.get("resource"))
        if resource not in self._cluster.starve_kinds():
            known = sorted(self._cluster.starve_kinds())
            raise FaultError(f"nodes cannot be starved of {resource!r} here{nearest(resource, known)}")
        alive = await running_nodes(self.context)
        levels = asked.get("levels")
        if levels is None:
            nodes = await self._picked(asked, alive)
            levels = {node: draw_level(resource, self._rng) for node in nodes}
        levels = {node: level for node, level in sorted(levels.items()) if node in alive}
        if not levels:
            return {"resource": resource, "levels": {}, "note": "there was no node to starve"}
        await self.inflict(resource, levels)
        return {"resource": resource, "levels": levels}

    async def _picked(self, asked: Mapping[str, Any], alive: frozenset[str]) -> list[str]:
        if "nodes" in asked:
            return sorted(asked["nodes"])
        targets = chosen(self.options.targets, NODE_SPECS, option="targets")
        spec = str(asked.get("spec") or self._rng.choice(targets))
        present = [node for node in self.context.nodes if node in alive]
        return sorted(await nodes_of_spec(self.context, spec, self._rng, present))

    async def _observe(
        self, resource: str, nodes: frozenset[str], before: Limits
    ) -> tuple[Limits, list[str]]:
        """Look until each node has less than before; what was seen last, and the nodes that have not."""
        for attempt in range(OBSERVE_ATTEMPTS_MAX):
            if attempt:
                await self.context.runtime.sleep(OBSERVE_PAUSE_NS)
            after = await self._cluster.starved(nodes)
            missed = [node for node in sorted(nodes) if not _less(before, after, node, resource)]
            if not missed:
                break
        return after, missed

    async def _still_there(self, nodes: Sequence[str]) -> list[str]:
        """Those of the nodes that still run: one that ended of hunger shows no limit, and proves that it was there."""
        alive = await running_nodes(self.context)
        return [node for node in nodes if node in alive]

    async def _confirm_fed(self, nodes: frozenset[str], faults: Sequence[Fault]) -> None:
        """See that no group is limited any more, and that every process may have open what it might before."""
        for attempt in range(OBSERVE_ATTEMPTS_MAX):
            if attempt:
                await self.context.runtime.sleep(OBSERVE_PAUSE_NS)
            after = await self._cluster.starved(nodes)
            few = _short_of_files(after, faults)
            hungry = sorted(
                node for node in nodes if node in few or {"cpu", "memory"} & set(after.get(node, {}))
            )
            if not hungry:
                return
        raise FaultError(f"feed did not take: still limited: {', '.join(hungry)}")

    @property
    def _cluster(self) -> Starve:
        return cast(Starve, self.context.cluster)


def draw_level(resource: str, rng: RandomStream) -> int:
    """How little of a resource a node is left."""
    least, greatest = RESOURCES[resource]
    return rng.between(least, greatest)


def _less(before: Limits, after: Limits, node: str, resource: str) -> bool:
    now, then = after.get(node, {}).get(resource), before.get(node, {}).get(resource)
    if now is None or resource != "files":
        return now is not None  # a group has no limit unless we set one
    return then is None or now < then


def _short_of_files(limits: Limits, faults: Sequence[Fault]) -> set[str]:
    """The nodes whose process may have less open than before the first of the faults."""
    might: dict[str, int] = {}
    for fault in faults:
        for node, before in fault.value["before"].items():
            might[node] = max(might.get(node, 0), before.get("files", 0))
    return {node for node, most in might.items() if limits.get(node, {}).get("files", most) < most}


def _of(limits: Limits, node: str, resource: str) -> Mapping[str, int]:
    return {key: value for key, value in limits.get(node, {}).items() if key == resource}


def _shown(limits: Limits) -> Mapping[str, Mapping[str, int]]:
    return {node: dict(sorted(limits.get(node, {}).items())) for node in sorted(limits)}
