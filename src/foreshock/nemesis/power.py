"""The power nemesis: the power of nodes is cut, and what they had not synced is lost."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, cast

import msgspec

from foreshock.harness.capabilities import Kill, PowerCut
from foreshock.harness.errors import FaultError
from foreshock.harness.nemesis import Shade
from foreshock.harness.options import Options
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.kill import DownNemesis
from foreshock.nemesis.node_fault import Words
from foreshock.nemesis.node_specs import NODE_SPECS

TARGETS = "one,minority,majority,primaries,all"


class PowerOptions(Options, frozen=True, kw_only=True):
    """Whose power may be cut."""

    targets: Annotated[
        str,
        msgspec.Meta(
            description=(
                "which nodes lose their power at once, separated by commas, drawn anew each time: "
                + ", ".join(NODE_SPECS)
            )
        ),
    ] = TARGETS

    def __post_init__(self) -> None:
        chosen(self.targets, NODE_SPECS, option="targets")


class PowerNemesis(DownNemesis[PowerOptions]):
    """``cut-power`` (value: a node spec) and ``restore-power``, which starts every node that is down.

    A killed node finds all that it had written when it starts again, for the kernel still had it. After a power cut
    there is only what was synced, and perhaps a part of the rest. That several nodes lose it in the same instant
    is the case that replication does not help with.
    """

    name = "power"
    Options = PowerOptions
    requires = frozenset({PowerCut, Kill})
    values: ClassVar[Mapping[str, Collection[str]]] = {"cut-power": tuple(NODE_SPECS)}
    words = Words(
        kind="power", start="cut-power", stop="restore-power", struck="without power", alike=("kill",)
    )
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="power", starts=("cut-power",), stops=("restore-power",), color="#6b2737"),
    )

    def targets(self) -> tuple[str, ...]:
        """The node specs of the options."""
        return chosen(self.options.targets, NODE_SPECS, option="targets")

    async def strike(self, nodes: frozenset[str]) -> None:
        """Cut the power, and see that what was written just before and not synced is gone."""
        power = cast(PowerCut, self.context.cluster)
        await power.cut_power(nodes)
        lost = await power.unsynced_lost(nodes)
        kept = [node for node in sorted(nodes) if not lost.get(node, False)]
        if kept:
            raise FaultError(f"cut-power did not take: what was not synced is still there: {', '.join(kept)}")

    def observed(self, nodes: frozenset[str]) -> Any:
        """That each is down, and has lost what it had not synced."""
        return dict.fromkeys(sorted(nodes), f"{self.words.struck}, what was not synced is gone")
