"""Packets between simulated nodes: whatever can happen to them, exactly and in virtual time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final

from foreshock.harness.capabilities import Link, LinkReading, LinkShape
from foreshock.harness.errors import FaultError
from foreshock.harness.simulation.world import SimWorld

LINK_KINDS: Final = frozenset({"delay", "loss", "duplicate", "reorder", "corrupt", "rate", "reset"})


class SimulatedLinks(ABC):
    """What makes a simulated cluster a :class:`~foreshock.harness.capabilities.Shape`."""

    @property
    @abstractmethod
    def world(self) -> SimWorld:
        """The simulated world that the nodes live in."""

    def shape_kinds(self) -> frozenset[str]:
        """Everything but names: simulated nodes know each other by theirs, and look up nothing."""
        return LINK_KINDS

    async def shape(self, links: Mapping[Link, LinkShape]) -> None:
        """Put these shapes in force, in place of all that were before."""
        self.world.shape(links)

    async def probe_links(
        self, links: frozenset[Link], *, count: int, interval_us: int
    ) -> Mapping[Link, LinkReading]:
        """Send numbered datagrams over the links and say what became of them."""
        return await self.world.probe_links(links, count=count, interval_ns=interval_us * 1_000)

    async def reset_connections(self, links: frozenset[Link]) -> Mapping[Link, int]:
        """Break every connection that a program at the sender opened to the receiver."""
        return self.world.reset_connections(links)

    async def break_names(self, nodes: frozenset[str]) -> None:
        """There is nothing to break: raises ``FaultError``, but for no node."""
        if nodes:
            raise FaultError("simulated nodes look up no names, so none can be broken: use --backend docker")

    async def names_found(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Raises ``FaultError``: simulated nodes have no resolver."""
        raise FaultError(f"the simulated nodes {', '.join(sorted(nodes))} look up no names")
