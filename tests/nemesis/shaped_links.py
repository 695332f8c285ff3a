"""A network whose probes show just what its shapes say, and that can be made to lie."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock.harness.capabilities import PROBE_BYTES, Link, LinkReading, LinkShape

MILLION = 1_000_000
USUAL_US = (40, 60, 300)


class ShapedLinks:
    """The capability ``Shape``, as a recording cluster has it."""

    def __init__(self) -> None:
        self.shapes: dict[Link, LinkShape] = {}
        self.carries = frozenset(
            {"delay", "loss", "duplicate", "reorder", "corrupt", "rate", "reset", "names"}
        )
        self.connections: dict[Link, int] = {}
        self.nameless: frozenset[str] = frozenset()
        self.probed: list[tuple[frozenset[Link], int, int]] = []
        self.also_shaped: dict[Link, LinkShape] = {}
        """What is in force although nobody asked for it."""
        self.scale_percent = 100
        """How much of each amount is really done."""

    def shape_kinds(self) -> frozenset[str]:
        return self.carries

    async def shape(self, links: Mapping[Link, LinkShape]) -> None:
        if self._called("shape", dict(links)):
            self.shapes = dict(links)

    async def probe_links(
        self, links: frozenset[Link], *, count: int, interval_us: int
    ) -> Mapping[Link, LinkReading]:
        self.probed.append((links, count, interval_us))
        in_force = self.shapes | self.also_shaped
        return {link: self._reading(in_force.get(link, LinkShape()), count, interval_us) for link in links}

    async def reset_connections(self, links: frozenset[Link]) -> Mapping[Link, int]:
        self._called("reset_connections", sorted(links))
        return {link: self.connections.get(link, 0) for link in links}

    async def break_names(self, nodes: frozenset[str]) -> None:
        if self._called("break_names", sorted(nodes)):
            self.nameless = nodes

    async def names_found(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        return {node: node not in self.nameless for node in nodes}

    def _called(self, name: str, what: object) -> bool:
        raise NotImplementedError

    def _reading(self, shape: LinkShape, count: int, interval_us: int) -> LinkReading:
        def events(of: int, chance_ppm: int) -> int:
            return of * chance_ppm * self.scale_percent // 100 // MILLION

        arrived = count - events(count, shape.loss_ppm)
        queued_us = 0
        if shape.rate_bytes_per_s:
            queued_us = count * max(0, PROBE_BYTES * MILLION // shape.rate_bytes_per_s - interval_us)
        later_us = (shape.delay_us * self.scale_percent // 100, queued_us * self.scale_percent // 100)
        delays_us = (
            USUAL_US[0] + later_us[0],
            USUAL_US[1] + later_us[0] + later_us[1] // 2,
            USUAL_US[2] + sum(later_us),
        )
        return LinkReading(
            sent=count,
            arrived=arrived,
            duplicates=events(arrived, shape.duplicate_ppm),
            overtaken=events(arrived, shape.reorder_ppm),
            corrupted=events(arrived, shape.corrupt_ppm),
            delay_us=delays_us if arrived else (0, 0, 0),
        )
