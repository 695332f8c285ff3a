"""Which nodes run; and starting those again that have ended by themselves of a fault, once it is healed."""

from __future__ import annotations

from typing import Final

from foreshock.harness.capabilities import Kill
from foreshock.harness.cluster import capability
from foreshock.harness.nemesis import NemesisContext

HELD_DOWN: Final = ("kill", "power", "upgrade")
"""Kinds of faults under which a node is down because they say so: whoever struck it starts it."""


async def running_nodes(context: NemesisContext) -> frozenset[str]:
    """The nodes that have a process; all of them where the cluster cannot say so."""
    every = frozenset(context.nodes)
    kill = capability(context.cluster, Kill)  # type: ignore[type-abstract]
    if kill is None:
        return every
    running = await kill.running(every)
    return frozenset(node for node in context.nodes if running.get(node, False))


async def start_fallen(context: NemesisContext, nodes: frozenset[str]) -> list[str]:
    """Start those of the nodes that are down and that no other fault holds down; returns them, in order of name."""
    kill = capability(context.cluster, Kill)  # type: ignore[type-abstract]
    if kill is None:
        return []
    faults = [fault for kind in HELD_DOWN for fault in context.ledger.open_faults(kind)]
    held = {node for fault in faults for node in fault.nodes}
    fallen = sorted(nodes - await running_nodes(context) - held)
    if fallen:
        await kill.start(frozenset(fallen))
    return fallen
