"""Packets between nodes on one machine: delayed, lost and paced by the link proxies, on connections as TCP shows it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final

from foreshock.harness.backends.process.links import LinkProxy
from foreshock.harness.capabilities import Link, LinkReading, LinkShape
from foreshock.harness.errors import FaultError

KINDS: Final = frozenset({"delay", "loss", "rate", "reset"})
"""A stream shows nothing of packets that came twice, out of order or damaged but that they came late."""


class ProxyShaping(ABC):
    """What makes a cluster with a link proxy a :class:`~foreshock.harness.capabilities.Shape`."""

    @abstractmethod
    def links(self) -> LinkProxy:
        """The running proxy; raises ``HarnessError`` when there is none."""

    def shape_kinds(self) -> frozenset[str]:
        """What a proxy of streams can carry."""
        return KINDS

    async def shape(self, links: Mapping[Link, LinkShape]) -> None:
        """Put these shapes in force in place of all before; raises ``FaultError`` for what streams do not show."""
        for (sender, receiver), shape in links.items():
            if shape.duplicate_ppm or shape.reorder_ppm or shape.corrupt_ppm:
                raise FaultError(
                    f"the link proxy carries streams from {sender} to {receiver}: packets cannot be doubled, "
                    "reordered or corrupted there, only delayed, lost or paced"
                )
        await self.links().shape(links)

    async def probe_links(
        self, links: frozenset[Link], *, count: int, interval_us: int
    ) -> Mapping[Link, LinkReading]:
        """Numbered datagrams through the proxy, under the rules for the packets of nodes; raises ``FaultError``."""
        return await self.links().probe(links, count=count, interval_us=interval_us)

    async def reset_connections(self, links: frozenset[Link]) -> Mapping[Link, int]:
        """Reset both halves of every connection over the links; the system's list of them is asked afterwards."""
        return await self.links().reset(links)

    async def break_names(self, nodes: frozenset[str]) -> None:
        """Nodes on one machine share its resolver: raises ``FaultError``, but for no node."""
        if nodes:
            raise FaultError("names cannot be broken for single nodes on one machine: use --backend docker")

    async def names_found(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Raises ``FaultError``: there is no resolver that is a node's own."""
        raise FaultError(f"the nodes {', '.join(sorted(nodes))} have no resolver of their own on one machine")
