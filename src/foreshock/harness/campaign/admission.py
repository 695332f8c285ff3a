"""How many tests run at once: as many as cores, memory, ports and networks of this machine allow."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from foreshock.harness.plan import Resolved

MIB: Final = 1 << 20
HARNESS_BYTES: Final = 350 * MIB
"""What a process of ours needs, with all that a test imports."""
CORES_BY_HARNESS: Final = 0.2
CORES_BY_NODE: Final = {"process": 0.05, "docker": 0.07}
BYTES_BY_NODE: Final = {"process": 50 * MIB, "docker": 80 * MIB}
CORES_OF_ANOTHER: Final = 0.1
BYTES_OF_ANOTHER: Final = 256 * MIB
"""For each node of a backend that is not in these tables."""
PORTS_MAX: Final = 10_000
"""Of the ports of loopback, which other programs of this machine want as well."""
NETWORKS_MAX: Final = 12
"""An engine has addresses for about thirty networks, if nobody has told it of more."""
MEMORY_SHARE: Final = 0.8
"""Of the memory that was available when the campaign began this share is given to tests."""
MEMORY_INFORMATION: Final = Path("/proc/meminfo")
GROUP: Final = Path("/sys/fs/cgroup")


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What a test takes while it runs. ``alone``: what no two tests can have at once, such as hosts that are there."""

    cores: float
    memory_bytes: int
    simulated: bool = False
    ports: int = 0
    networks: int = 0
    alone: str = ""


class Room:
    """What this machine has to give to tests. With ``jobs`` cores are not counted: so many run, whatever they weigh."""

    def __init__(
        self, jobs: int | None, *, cores: int | None = None, memory_bytes: int | None = None
    ) -> None:
        self._jobs = jobs
        self.cores = cores or cores_here()
        self._memory_bytes = int(MEMORY_SHARE * (memory_bytes or available_bytes()))

    @property
    def jobs(self) -> int:
        """How many simulated tests run at once, each of which keeps a core busy."""
        return self._jobs or self.cores

    def admits(self, demand: Demand, running: Iterable[Demand]) -> bool:
        """Whether a test can be started beside those that run. Alone each of them can, whatever it takes."""
        others = list(running)
        if not others:
            return True
        together = [*others, demand]
        if self._jobs is not None and len(together) > self._jobs:
            return False
        return (
            (self._jobs is not None or self._has_cores_for(together))
            and sum(one.memory_bytes for one in together) <= self._memory_bytes
            and demand.memory_bytes <= available_bytes()
            and sum(one.ports for one in together) <= PORTS_MAX
            and sum(one.networks for one in together) <= NETWORKS_MAX
            and (not demand.alone or all(one.alone != demand.alone for one in others))
        )

    def _has_cores_for(self, together: Sequence[Demand]) -> bool:
        """Real tests mostly wait, and go before those that simulate: these take the cores that are left, or one."""
        real = math.fsum(one.cores for one in together if not one.simulated)
        simulated = sum(one.simulated for one in together)
        return real <= self.cores and simulated <= max(1, self.cores - int(real))


def demand_of(resolved: Resolved) -> Demand:
    """What a test takes."""
    if resolved.backend.simulated:
        return Demand(cores=1.0, memory_bytes=HARNESS_BYTES, simulated=True)
    backend, nodes = resolved.backend.name, len(resolved.plan.nodes)
    return Demand(
        cores=CORES_BY_HARNESS + nodes * CORES_BY_NODE.get(backend, CORES_OF_ANOTHER),
        memory_bytes=HARNESS_BYTES + nodes * BYTES_BY_NODE.get(backend, BYTES_OF_ANOTHER),
        ports=0
        if backend == "docker"
        else nodes * (nodes + 1),  # one that it listens on, and one for each link
        networks=1 if backend == "docker" else 0,
        alone=",".join(resolved.plan.nodes) if backend == "ssh" else "",
    )


def cores_here() -> int:
    """The cores that this process may use: of the machine, or fewer where it is confined to some, or to a quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (GROUP / "cpu.max").read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no control groups of version 2, or no quota ("max")
        return max(1, cores)


def available_bytes() -> int:
    """The memory that new processes can have now: of the machine, or less where a control group confines it."""
    available = 1 << 62
    try:
        for line in MEMORY_INFORMATION.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024
    except (
        OSError,
        ValueError,
        IndexError,
    ):  # another system than Linux: nothing is known, nothing is held back
        return available
    try:
        limit, used = int((GROUP / "memory.max").read_text()), int((GROUP / "memory.current").read_text())
    except (OSError, ValueError):  # no control groups of version 2, or no limit ("max")
        return available
    return max(0, min(available, limit - used + _given_back_bytes()))


def _given_back_bytes() -> int:
    """What counts as used in our control group and is given back when it is wanted: files that nobody reads now."""
    try:
        found = dict(line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
        return int(found.get("inactive_file", 0))
    except (OSError, ValueError):
        return 0
