"""The disks of simulated nodes, as a nemesis breaks and tries them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from foreshock.harness.backends.on_hosts.disk_kinds import KINDS
from foreshock.harness.capabilities import DiskFault, DiskReading
from foreshock.harness.simulation.disk import SimDisk
from foreshock.harness.simulation.knobs import MILLISECOND
from foreshock.harness.simulation.runtime import SimRuntime

DISK_KINDS: Final = KINDS


class SimulatedDisks:
    """Offers ``Disk`` for the machines of a simulated world."""

    def __init__(self, runtime: SimRuntime) -> None:
        self._disk_runtime = runtime

    def disk_kinds(self) -> frozenset[str]:
        """All kinds that there are."""
        return frozenset(DISK_KINDS)

    async def break_disks(self, faults: Mapping[str, DiskFault]) -> None:
        """Let the nodes' disks fail so."""
        for name in sorted(faults):
            self._disk(name).break_down(faults[name])

    async def mend_disks(self, nodes: frozenset[str]) -> None:
        """Let the nodes' disks do what disks do."""
        for name in sorted(nodes):
            self._disk(name).mend()

    async def read_disks(self, nodes: frozenset[str]) -> Mapping[str, DiskReading]:
        """Try the nodes' disks as a program would."""
        return {name: await self._try_disk(self._disk(name)) for name in sorted(nodes)}

    def _disk(self, name: str) -> SimDisk:
        return self._disk_runtime.world.machine(name).disk

    async def _try_disk(self, disk: SimDisk) -> DiskReading:
        runtime = self._disk_runtime
        outcome = runtime.channel(1)
        began_ns = runtime.now()
        disk.try_sync(lambda said, _: outcome.put(said))
        synced = await outcome.get()
        return DiskReading(
            write=disk.try_write(),
            sync=synced,
            sync_ms=(runtime.now() - began_ns) // MILLISECOND,
            intact=disk.try_read(),
        )
