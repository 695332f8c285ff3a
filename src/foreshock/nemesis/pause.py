"""The pause nemesis: nodes are stopped in their tracks (SIGSTOP or the freezer) and resumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, cast

import msgspec

from foreshock.harness.capabilities import Kill, Pause
from foreshock.harness.cluster import capability
from foreshock.harness.nemesis import Shade
from foreshock.harness.options import Options
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.node_fault import NodeFaultNemesis, Words
from foreshock.nemesis.node_specs import NODE_SPECS

TARGETS = "one,minority,majority,primaries,all"


class PauseOptions(Options, frozen=True, kw_only=True):
    """What may be paused."""

    targets: Annotated[
        str,
        msgspec.Meta(
            description=f"which nodes to pause, separated by commas, drawn anew each time: {', '.join(NODE_SPECS)}"
        ),
    ] = TARGETS

    def __post_init__(self) -> None:
        chosen(self.targets, NODE_SPECS, option="targets")


class PauseNemesis(NodeFaultNemesis[PauseOptions]):
    """``pause`` (value: a node spec) and ``resume``, which resumes every node that is paused."""

    name = "pause"
    Options = PauseOptions
    requires = frozenset({Pause})
    words = Words(kind="pause", start="pause", stop="resume", struck="paused")
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="pause", starts=("pause",), stops=("resume",), color="#edae49"),
    )

    def targets(self) -> tuple[str, ...]:
        """The node specs of the options."""
        return chosen(self.options.targets, NODE_SPECS, option="targets")

    async def candidates(self) -> frozenset[str]:
        """The nodes that run, where the cluster can say so: a dead node cannot be paused."""
        every = frozenset(self.context.nodes)
        kill = capability(self.context.cluster, Kill)  # type: ignore[type-abstract]
        if kill is None:
            return every
        running = await kill.running(every)
        return frozenset(node for node in self.context.nodes if running.get(node, False))

    async def strike(self, nodes: frozenset[str]) -> None:
        """Pause."""
        await self._cluster.pause(nodes)

    async def undo(self, nodes: frozenset[str]) -> None:
        """Resume."""
        await self._cluster.resume(nodes)

    async def struck(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Which nodes are stopped; one that was killed since is not."""
        return await self._cluster.paused(nodes)

    @property
    def _cluster(self) -> Pause:
        return cast(Pause, self.context.cluster)
