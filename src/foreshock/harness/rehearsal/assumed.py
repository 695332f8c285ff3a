"""What a rehearsal assumes to be seen: each fault as it was asked for, and gone when it was undone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foreshock.harness.capabilities import (
    PROBE_BYTES,
    ClockReading,
    DiskFault,
    DiskReading,
    Grudge,
    Link,
    LinkReading,
    LinkShape,
)
from foreshock.harness.cluster import Cluster, ClusterSpecification, Endpoint, Node
from foreshock.harness.further_ports import further_ports
from foreshock.harness.packet_fates import Fates, pacer_of
from foreshock.harness.rehearsal.recording import Recorder
from foreshock.harness.runtime import Runtime

SHAPE_KINDS = frozenset({"delay", "loss", "duplicate", "reorder", "corrupt", "rate", "reset", "names"})
DISK_KINDS = frozenset({"full", "slow-sync", "failing-sync", "read-only", "bit-flip"})
_ERRORS = {"full": "ENOSPC", "read-only": "EROFS"}
BASE_DELAY_US = 100

logger = logging.getLogger("foreshock")


class AssumedCluster:
    """Offers every capability: acts as the backend's cluster would, where there is one, and sees what is expected.

    ``acting`` is a cluster of the backend whose hosts and engine write down what they are told.
    """

    def __init__(
        self,
        specification: ClusterSpecification,
        runtime: Runtime,
        recorder: Recorder,
        acting: Cluster | None,
    ) -> None:
        self._specification = specification
        self._runtime = runtime
        self._recorder = recorder
        self._acting: Any = acting
        self._down: set[str] = set()
        self._stopped: set[str] = set()
        self._grudge: Grudge = {}
        self._wall_ns: dict[str, int] = {}
        self._drift: dict[str, tuple[int, int, bool]] = {}
        self._gained_ns: dict[str, int] = {}
        self._shapes: Mapping[Link, LinkShape] = {}
        self._nameless: frozenset[str] = frozenset()
        self._disks: dict[str, DiskFault] = {}
        self._starved: dict[str, dict[str, int]] = {}
        self._versions: dict[str, str] = {}

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes, as the backend would have them or with names for addresses."""
        if self._acting is not None:
            return tuple(self._acting.nodes)
        names, port = self._specification.node_names, self._specification.target.port
        places = {name: Endpoint(host=name, port=port) for name in names}
        further, hosts = self._specification.target.further_ports, {name: name for name in names}
        return tuple(
            Node(
                name=name,
                index=index,
                endpoint=places[name],
                listen=places[name],
                peers={peer: places[peer] for peer in names if peer != name},
                data_directory=f"/{name}/data",
                cluster=self._specification.run,
                address=places[name],
                further=further_ports(further, name, name, hosts),
            )
            for index, name in enumerate(names)
        )

    async def deploy(self) -> None:
        """Write down what a deployment runs."""
        if self._acting is not None:
            await self._acting.deploy()

    async def teardown(self) -> None:
        """Write down what a teardown runs."""
        if self._acting is not None:
            await self._acting.teardown()

    async def fetch_logs(self, directory: Path) -> None:
        """There are no logs."""

    async def states(self) -> Mapping[str, str]:
        """What is assumed."""
        return {
            name: "killed" if name in self._down else "paused" if name in self._stopped else "running"
            for name in self._specification.node_names
        }

    def inverse(self, fault: str, nodes: frozenset[str]) -> Mapping[str, Any]:
        """What the backend writes into the ledger."""
        if self._acting is None:
            return {"backend": "rehearsal", "fault": fault, "nodes": sorted(nodes)}
        inverse: Mapping[str, Any] = self._acting.inverse(fault, nodes)
        return inverse

    async def _act(self, name: str, *arguments: Any, **more: Any) -> None:
        """Have the backend's cluster do it, as far as it gets without a real answer."""
        method = getattr(self._acting, name, None)
        if method is None:
            return
        try:
            await method(*arguments, **more)
        except Exception as error:  # noqa: BLE001 - whatever it makes of an answer that nobody gave
            logger.debug("in the rehearsal %s ended early: %r", name, error)
            self._recorder.add("-", f"(what {name} does next depends on what these answer)")

    # --- nodes ------------------------------------------------------------------------------------------------

    async def kill(self, nodes: frozenset[str]) -> None:
        """The nodes are down."""
        await self._act("kill", nodes)
        self._down |= nodes
        self._stopped -= nodes

    async def start(self, nodes: frozenset[str]) -> None:
        """The nodes run."""
        await self._act("start", nodes)
        self._down -= nodes

    async def running(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Which were not killed."""
        return {name: name not in self._down for name in sorted(nodes)}

    def pause_means(self) -> tuple[str, ...]:
        """Those of the backend."""
        means: tuple[str, ...] = self._acting.pause_means() if self._acting is not None else ("simulated",)
        return means

    async def pause(self, nodes: frozenset[str], means: str | None = None) -> None:
        """The nodes are stopped."""
        await self._act("pause", nodes, means)
        self._stopped |= nodes

    async def resume(self, nodes: frozenset[str]) -> None:
        """The nodes go on."""
        await self._act("resume", nodes)
        self._stopped -= nodes

    async def paused(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Which were stopped."""
        return {name: name in self._stopped for name in sorted(nodes)}

    async def cut_power(self, nodes: frozenset[str]) -> None:
        """The nodes are down."""
        await self._act("cut_power", nodes)
        self._down |= nodes
        self._stopped -= nodes

    async def unsynced_lost(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """It is."""
        return dict.fromkeys(sorted(nodes), True)

    async def upgrade(self, nodes: frozenset[str], version: str) -> None:
        """The nodes run in that version."""
        await self._act("upgrade", nodes, version)
        self._versions |= dict.fromkeys(nodes, version)
        self._down -= nodes

    async def versions(self, nodes: frozenset[str]) -> Mapping[str, str]:
        """The versions that were asked for; before that the first one."""
        first = next(iter(self._specification.target.versions), "")
        return {name: self._versions.get(name, first) for name in sorted(nodes)}

    # --- links ------------------------------------------------------------------------------------------------

    async def cut(self, grudge: Grudge) -> None:
        """The grudge is in force."""
        await self._act("cut", grudge)
        self._grudge = dict(grudge)

    async def heard(self, pairs: frozenset[Link]) -> Mapping[Link, bool]:
        """Who is heard under the grudge."""
        return {(a, b): a not in self._grudge.get(b, ()) for a, b in sorted(pairs)}

    def shape_kinds(self) -> frozenset[str]:
        """Those of the backend."""
        kinds = getattr(self._acting, "shape_kinds", None)
        return SHAPE_KINDS if kinds is None else frozenset(kinds())

    async def shape(self, links: Mapping[Link, LinkShape]) -> None:
        """The shapes are in force."""
        await self._act("shape", links)
        self._shapes = dict(links)

    async def probe_links(
        self, links: frozenset[Link], *, count: int, interval_us: int
    ) -> Mapping[Link, LinkReading]:
        """What would become of the probes, drawn packet by packet."""
        await self._runtime.sleep(count * interval_us * 1_000)
        return {link: self._reading(link, count, interval_us) for link in sorted(links)}

    def _reading(self, link: Link, count: int, interval_us: int) -> LinkReading:
        shape = self._shapes.get(link, LinkShape())
        fates = Fates(shape, self._runtime.random(f"rehearsal/{link[0]}/{link[1]}").bits)
        pacer = pacer_of(shape)
        arrivals: list[tuple[int, int]] = []  # when, and which
        corrupted = duplicates = 0
        delays_us = []
        for number in range(count):
            sent_ns = number * interval_us * 1_000
            if link[0] in self._grudge.get(link[1], ()) or fates.lost():
                continue
            corrupted += fates.corrupted()
            duplicates += fates.duplicated()
            due_ns = sent_ns + fates.delay_ns() + BASE_DELAY_US * 1_000
            if pacer is not None:
                due_ns = pacer.departs_ns(due_ns, PROBE_BYTES - 28)
            arrivals.append((due_ns, number))
            delays_us.append((due_ns - sent_ns) // 1_000)
        overtaken, latest = 0, -1
        for _, number in sorted(arrivals):
            overtaken += number < latest
            latest = max(latest, number)
        delays_us.sort()
        spread = (delays_us[0], delays_us[len(delays_us) // 2], delays_us[-1]) if delays_us else (0, 0, 0)
        return LinkReading(
            sent=count,
            arrived=len(arrivals),
            duplicates=duplicates,
            overtaken=overtaken,
            corrupted=corrupted,
            delay_us=spread,
        )

    async def reset_connections(self, links: frozenset[Link]) -> Mapping[Link, int]:
        """There was one connection on each link, and it is gone."""
        await self._act("reset_connections", links)
        return dict.fromkeys(sorted(links), 1)

    async def break_names(self, nodes: frozenset[str]) -> None:
        """The nodes find no name."""
        await self._act("break_names", nodes)
        self._nameless = nodes

    async def names_found(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Who finds names."""
        return {name: name not in self._nameless for name in sorted(nodes)}

    # --- clocks, disks, resources -----------------------------------------------------------------------------

    async def jump_clocks(self, by_ns: Mapping[str, int]) -> None:
        """The wall clocks are so far off."""
        await self._act("jump_clocks", by_ns)
        for name, ns in by_ns.items():
            self._wall_ns[name] = self._wall_ns.get(name, 0) + ns

    async def drift_clocks(self, drift_ppm: Mapping[str, int], *, wall_only: bool = False) -> None:
        """The clocks gain so much."""
        await self._act("drift_clocks", drift_ppm, wall_only=wall_only)
        now_ns = self._runtime.now()
        for name, ppm in drift_ppm.items():
            self._wall_ns[name] = self._wall_offset_ns(name)
            self._gained_ns[name] = self._monotonic_gain_ns(name)
            self._drift[name] = (ppm, now_ns, wall_only)

    async def reset_clocks(self, nodes: frozenset[str]) -> None:
        """The clocks are right."""
        await self._act("reset_clocks", nodes)
        for name in sorted(nodes):
            self._gained_ns[name] = self._monotonic_gain_ns(name)
            self._wall_ns.pop(name, None)
            self._drift.pop(name, None)

    async def read_clocks(self, nodes: frozenset[str]) -> Mapping[str, ClockReading]:
        """What the clocks show."""
        now_ns = self._runtime.now()
        return {
            name: ClockReading(
                wall_offset_ns=self._wall_offset_ns(name),
                monotonic_ns=now_ns + self._monotonic_gain_ns(name),
                true_ns=now_ns,
            )
            for name in sorted(nodes)
        }

    def _since_drift_ns(self, name: str) -> int:
        ppm, began_ns, _ = self._drift.get(name, (0, 0, False))
        return (self._runtime.now() - began_ns) * ppm // 1_000_000

    def _wall_offset_ns(self, name: str) -> int:
        return self._wall_ns.get(name, 0) + self._since_drift_ns(name)

    def _monotonic_gain_ns(self, name: str) -> int:
        wall_only = self._drift.get(name, (0, 0, False))[2]
        return self._gained_ns.get(name, 0) + (0 if wall_only else self._since_drift_ns(name))

    def disk_kinds(self) -> frozenset[str]:
        """Those of the backend."""
        kinds = getattr(self._acting, "disk_kinds", None)
        return DISK_KINDS if kinds is None else frozenset(kinds())

    async def break_disks(self, faults: Mapping[str, DiskFault]) -> None:
        """The disks fail so."""
        await self._act("break_disks", faults)
        self._disks |= faults

    async def mend_disks(self, nodes: frozenset[str]) -> None:
        """The disks are whole."""
        await self._act("mend_disks", nodes)
        self._disks = {name: fault for name, fault in self._disks.items() if name not in nodes}

    async def read_disks(self, nodes: frozenset[str]) -> Mapping[str, DiskReading]:
        """What trying them shows."""
        return {name: _disk_reading(self._disks.get(name)) for name in sorted(nodes)}

    def starve_kinds(self) -> frozenset[str]:
        """Those of the backend."""
        kinds = getattr(self._acting, "starve_kinds", None)
        return frozenset({"cpu", "memory", "files"}) if kinds is None else frozenset(kinds())

    async def starve(self, resource: str, levels: Mapping[str, int]) -> None:
        """The limits are in force."""
        await self._act("starve", resource, levels)
        for name, level in levels.items():
            self._starved.setdefault(name, {})[resource] = level

    async def feed(self, nodes: frozenset[str]) -> None:
        """No limit is."""
        await self._act("feed", nodes)
        for name in nodes:
            self._starved.pop(name, None)

    async def starved(self, nodes: frozenset[str]) -> Mapping[str, Mapping[str, int]]:
        """The limits in force."""
        await self._act("starved", nodes)
        return {name: dict(self._starved.get(name, {})) for name in sorted(nodes)}


def _disk_reading(fault: DiskFault | None) -> DiskReading:
    kind = None if fault is None else fault.kind
    error = _ERRORS.get(kind or "", "ok")
    return DiskReading(
        write=error,
        sync="EIO" if kind == "failing-sync" else error if kind == "read-only" else "ok",
        sync_ms=fault.delay_ms if fault is not None and kind == "slow-sync" else 0,
        intact=kind != "bit-flip",
    )
