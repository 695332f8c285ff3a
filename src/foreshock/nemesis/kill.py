"""The kill nemesis: nodes are killed (SIGKILL) and started again on the data that they had."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, ClassVar, Generic, cast

import msgspec

from foreshock.harness.capabilities import Kill
from foreshock.harness.nemesis import Shade
from foreshock.harness.options import Options
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.node_fault import NodeFaultNemesis, OptionsT_co, Words
from foreshock.nemesis.node_specs import NODE_SPECS

TARGETS = "one,minority,majority,primaries,all"


class KillOptions(Options, frozen=True, kw_only=True):
    """What may be killed."""

    targets: Annotated[
        str,
        msgspec.Meta(
            description=f"which nodes to kill, separated by commas, drawn anew each time: {', '.join(NODE_SPECS)}"
        ),
    ] = TARGETS

    def __post_init__(self) -> None:
        chosen(self.targets, NODE_SPECS, option="targets")


class DownNemesis(NodeFaultNemesis[OptionsT_co], Generic[OptionsT_co]):
    """A fault that leaves nodes without a process, which their start undoes."""

    async def candidates(self) -> frozenset[str]:
        """Every node, also one that is down already."""
        return frozenset(self.context.nodes)

    async def undo(self, nodes: frozenset[str]) -> None:
        """Start again."""
        await self._cluster.start(nodes)

    async def struck(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Which nodes have no process."""
        running = await self._cluster.running(nodes)
        return {node: not running.get(node, False) for node in sorted(nodes)}

    @property
    def _cluster(self) -> Kill:
        return cast(Kill, self.context.cluster)


class KillNemesis(DownNemesis[KillOptions]):
    """``kill`` (value: a node spec) and ``start``, which starts every node that is down, for whatever reason."""

    name = "kill"
    Options = KillOptions
    requires = frozenset({Kill})
    values: ClassVar[Mapping[str, Collection[str]]] = {"kill": tuple(NODE_SPECS)}
    words = Words(kind="kill", start="kill", stop="start", struck="down", alike=("power",))
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="kill", starts=("kill",), stops=("start",), color="#d1495b"),
    )

    def targets(self) -> tuple[str, ...]:
        """The node specs of the options."""
        return chosen(self.options.targets, NODE_SPECS, option="targets")

    async def strike(self, nodes: frozenset[str]) -> None:
        """Kill."""
        await self._cluster.kill(nodes)
