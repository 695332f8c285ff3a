"""Asking the target who leads, within bounds: a cluster in trouble may not answer."""

from __future__ import annotations

from collections.abc import Sequence

from foreshock.harness.nemesis import NemesisContext
from foreshock.harness.randomness import RandomStream
from foreshock.harness.runtime import TimeoutExpired
from foreshock.nemesis.node_specs import pick_nodes

ASK_TIMEOUT_NS = 3_000_000_000


async def known_primaries(context: NemesisContext) -> frozenset[str]:
    """The nodes that say now that they lead; empty when nobody does, says so in time, or has such a notion."""

    async def ask() -> frozenset[str] | None:
        return await context.primaries()

    try:
        return await context.runtime.timeout(ask(), ASK_TIMEOUT_NS) or frozenset()
    except TimeoutExpired:
        return frozenset()


async def nodes_of_spec(
    context: NemesisContext, spec: str, rng: RandomStream, among: Sequence[str] | None = None
) -> frozenset[str]:
    """The nodes that a node spec means now, of all or of those that it is to be among, in order."""
    primaries = await known_primaries(context) if spec == "primaries" else frozenset()
    return pick_nodes(spec, context.nodes if among is None else among, primaries, rng)
