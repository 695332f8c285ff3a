"""Nodes that say what the time is, and what must hold of their clocks on every backend."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from relay_target import RelayTarget, ask, ask_when_up, specification

from foreshock.harness.capabilities import Clock, ClockReading
from foreshock.harness.cluster import ClusterSpecification, Node

SECOND = 1_000_000_000
MOMENT_NS = 5_000_000
TOLD = """
    if kind == "clocks":
        import time
        return [time.time_ns(), time.monotonic_ns()]
"""


class ClockedTarget(RelayTarget):
    """A program in Python that knows nothing of tests: its clocks are skewed behind its back."""

    def files(self) -> dict[str, bytes]:
        program = super().files()["relay.py"].decode()
        return {
            "relay.py": program.replace('    if kind == "note":', f'{TOLD}    if kind == "note":').encode()
        }


def clocked(directory: Any, nodes: int = 2) -> ClusterSpecification:
    spec = specification(directory, ClockedTarget, nodes=nodes)
    return msgspec.structs.replace(spec, needs=frozenset({Clock}))


async def ahead_s(node: Node) -> float:
    """How far the node itself believes to be ahead of this process."""
    wall_ns, _ = await ask(node, do="clocks")
    return float(wall_ns - time.time_ns()) / SECOND


def gained_ppm(before: ClockReading, after: ClockReading) -> tuple[int, int]:
    """At what pace the wall clock and the monotonic clock ran between two readings."""
    elapsed_ns = after.true_ns - before.true_ns
    wall_ns = after.wall_offset_ns - before.wall_offset_ns
    monotonic_ns = after.monotonic_ns - before.monotonic_ns - elapsed_ns
    return wall_ns * 1_000_000 // elapsed_ns, monotonic_ns * 1_000_000 // elapsed_ns


async def check_clocks(cluster: Any, backend: Any) -> None:
    """Jumps, drifts, a restart, a pause, and healing by the inverse alone: as the nodes see it, and as it is read."""
    n1, n2 = cluster.nodes
    both = frozenset({"n1", "n2"})
    await cluster.jump_clocks({"n1": 3600 * SECOND})
    await cluster.jump_clocks({"n1": -600 * SECOND, "n2": -7 * SECOND})
    assert 2990 < await ahead_s(n1) < 3010
    assert -17 < await ahead_s(n2) < 3
    began = await cluster.read_clocks(both)
    assert abs(began["n1"].wall_offset_ns - 3000 * SECOND) < MOMENT_NS
    assert abs(began["n2"].wall_offset_ns + 7 * SECOND) < MOMENT_NS
    assert not any(reading.by_file for reading in began.values())
    await cluster.drift_clocks({"n1": 500_000})
    await cluster.drift_clocks({"n2": -500_000}, wall_only=True)
    for name, wanted in (("n1", (500_000, 500_000)), ("n2", (-500_000, 0))):
        pace = await _pace(cluster, name)
        assert max(abs(ppm - due) for ppm, due in zip(pace, wanted, strict=True)) < 25_000, (name, pace)
    monotonic_ns = (await ask(n1, do="clocks"))[1]
    await cluster.kill(frozenset({"n1"}))
    await cluster.pause(frozenset({"n2"}))
    down = await cluster.read_clocks(both)
    assert down["n1"].monotonic_ns >= monotonic_ns
    await cluster.resume(frozenset({"n2"}))
    await cluster.start(frozenset({"n1"}))
    await ask_when_up(n1, do="clocks")
    assert await ahead_s(n1) > 2990
    assert (await ask(n1, do="clocks"))[1] > monotonic_ns
    inverse = cluster.inverse("clock", both)
    assert set(inverse["scripts"]) == both
    for _ in range(2):
        assert "clock undone on n1, n2" in await asyncio.to_thread(backend.heal, inverse)
    assert [abs(await ahead_s(node)) < 10 for node in (n1, n2)] == [True, True]
    healed = await cluster.read_clocks(both)
    assert max(abs(reading.wall_offset_ns) for reading in healed.values()) < MOMENT_NS
    assert max(map(abs, await _pace(cluster, "n1"))) < 25_000
    assert healed["n1"].monotonic_ns > down["n1"].monotonic_ns


async def _pace(cluster: Any, name: str) -> tuple[int, int]:
    before = (await cluster.read_clocks(frozenset({name})))[name]
    await asyncio.sleep(0.1)  # some time must pass for a pace to show
    return gained_ppm(before, (await cluster.read_clocks(frozenset({name})))[name])
