"""What every target whose nodes run ``node.pyz`` has for tests that skew clocks: it reads the clock file by itself."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from foreshock.harness.capabilities import ClockReading
from foreshock.harness.cluster import Node
from foreshock.harness.runtime import Runtime
from foreshock.targets.reference.admin_client import ask_status

_TIMEOUT_MS: Final = 1_000


class ClockPort:
    """Goes before ``Target`` among the bases of a target."""

    clock: ClassVar[Literal["port", "preload"] | None] = "port"

    async def read_clock(self, node: Node, runtime: Runtime) -> ClockReading | None:
        """What the node tells of its clocks with its status, beside its machine's own at the same moment."""
        status = await ask_status(node, runtime, timeout_ms=_TIMEOUT_MS)
        clocks = None if status is None else status.get("clock")
        if clocks is None:
            return None
        return ClockReading(
            wall_offset_ns=clocks["wall_ns"] - clocks["host_wall_ns"],
            monotonic_ns=clocks["monotonic_ns"],
            true_ns=clocks["host_monotonic_ns"],
        )
