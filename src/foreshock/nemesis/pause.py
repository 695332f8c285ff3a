"""The pause nemesis: nodes are stopped in their tracks (SIGSTOP or the freezer) and resumed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, cast

import msgspec

from foreshock.harness.backends.pause_means import check_means
from foreshock.harness.capabilities import Pause
from foreshock.harness.errors import UsageError
from foreshock.harness.nemesis import NemesisContext, Shade
from foreshock.harness.options import Options, nearest
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.node_fault import NodeFaultNemesis, Words
from foreshock.nemesis.node_specs import NODE_SPECS
from foreshock.nemesis.running import running_nodes

TARGETS = "one,minority,majority,primaries,all"
ANY = "any"


class PauseOptions(Options, frozen=True, kw_only=True):
    """What may be paused."""

    targets: Annotated[
        str,
        msgspec.Meta(
            description=f"which nodes to pause, separated by commas, drawn anew each time: {', '.join(NODE_SPECS)}"
        ),
    ] = TARGETS
    means: Annotated[
        str,
        msgspec.Meta(
            description="by what nodes are stopped: signal, freezer, ... as the backend has it; any: drawn each time"
        ),
    ] = ANY

    def __post_init__(self) -> None:
        chosen(self.targets, NODE_SPECS, option="targets")


class PauseNemesis(NodeFaultNemesis[PauseOptions]):
    """``pause`` (value: a node spec) and ``resume``, which resumes every node that is paused."""

    name = "pause"
    Options = PauseOptions
    requires = frozenset({Pause})
    values: ClassVar[Mapping[str, Collection[str]]] = {"pause": tuple(NODE_SPECS)}
    words = Words(kind="pause", start="pause", stop="resume", struck="paused")
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="pause", starts=("pause",), stops=("resume",), color="#edae49"),
    )

    def __init__(self, options: PauseOptions, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._means_rng = context.rng.stream("means")
        known = self._cluster.pause_means()
        if options.means not in (ANY, *known):
            raise UsageError(
                f"nodes cannot be paused by {options.means!r} here{nearest(options.means, (ANY, *known))}"
            )
        self._means = known[0]

    def targets(self) -> tuple[str, ...]:
        """The node specs of the options."""
        return chosen(self.options.targets, NODE_SPECS, option="targets")

    async def candidates(self) -> frozenset[str]:
        """The nodes that run, where the cluster can say so: a dead node cannot be paused."""
        return await running_nodes(self.context)

    def details(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """By what means: as asked for, as the option says, or drawn."""
        known = self._cluster.pause_means()
        wanted = asked.get("means", self.options.means)
        if wanted == ANY:
            wanted = self._means_rng.choice(known)
        self._means = check_means(str(wanted), known)
        return {"means": self._means}

    async def strike(self, nodes: frozenset[str]) -> None:
        """Pause, by the means of :meth:`details`."""
        await self._cluster.pause(nodes, self._means)

    def observed(self, nodes: frozenset[str]) -> Any:
        """That each is paused, and by what."""
        return dict.fromkeys(sorted(nodes), f"paused ({self._means})")

    async def undo(self, nodes: frozenset[str]) -> None:
        """Resume."""
        await self._cluster.resume(nodes)

    async def struck(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Which nodes are stopped; one that was killed since is not."""
        return await self._cluster.paused(nodes)

    @property
    def _cluster(self) -> Pause:
        return cast(Pause, self.context.cluster)
