"""A cluster that records what is done to it, and lies on demand; and a nemesis context around it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.nemesis.shaped_links import ShapedLinks

from foreshock.harness.capabilities import ClockReading, Grudge
from foreshock.harness.errors import Definite, Indefinite
from foreshock.harness.ledger import FaultLedger, read_ledger
from foreshock.harness.nemesis import NemesisContext
from foreshock.harness.randomness import RandomStream
from foreshock.harness.runtime import TimeoutExpired

NODES = ("n1", "n2", "n3", "n4", "n5")


class BackgroundTask:
    """A spawned coroutine, which runs when it is waited for."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
        self._coroutine.close()

    async def wait(self) -> Any:
        return await self._coroutine


class InstantRuntime:
    """Sleeps take no time; a bound that is to expire does so at once."""

    simulated = True

    def __init__(self) -> None:
        self.slept_ns = 0
        self.spawned: dict[str, BackgroundTask] = {}
        self.expire = False

    def now(self) -> int:
        return self.slept_ns

    async def sleep(self, duration_ns: int) -> None:
        self.slept_ns += duration_ns

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> BackgroundTask:
        task = self.spawned[name] = BackgroundTask(coroutine)
        return task

    async def timeout(self, coroutine: Coroutine[Any, Any, Any], duration_ns: int) -> Any:
        if self.expire:
            coroutine.close()
            raise TimeoutExpired("too late")
        return await coroutine


class RecordingCluster(ShapedLinks):
    """Does as it is told, writes down each call with what the ledger held then, and can be made to lie."""

    def __init__(self, ledger_path: Path, now: Callable[[], int]) -> None:
        super().__init__()
        self._ledger_path = ledger_path
        self.now = now
        self.offsets_ns: dict[str, int] = {}
        self.drifts_ppm: dict[str, int] = {}
        self.wall_only = False
        """Whether only the wall clocks drift."""
        self.lag_ns = 0
        """How much later than asked for every reading of a clock is taken."""
        self.calls: list[tuple[str, Any]] = []
        self.planned_before: list[int] = []
        self.down: set[str] = set()
        self.stopped: set[str] = set()
        self.means: tuple[str, ...] = ("signal",)
        self.paused_by: list[str | None] = []
        self.starves = frozenset({"cpu", "memory", "files"})
        self.short: dict[str, dict[str, int]] = {name: {} for name in NODES}
        self.dies_of: set[str] = set()
        self.runs: dict[str, str] = dict.fromkeys(NODES, "1")
        self.grudge: dict[str, frozenset[str]] = {}
        self.ignores: set[str] = set()
        """Methods that do nothing although they return."""
        self.deaf: set[tuple[str, str]] = set()
        """Pairs that never hear, cut or not."""
        self.losses = 0
        """How many observations of the network lose every datagram before one gets through."""

    def inverse(self, fault: str, nodes: frozenset[str]) -> Mapping[str, Any]:
        return {"backend": "recording", "fault": fault, "nodes": sorted(nodes)}

    def _called(self, name: str, what: Any) -> bool:
        self.calls.append((name, what))
        self.planned_before.append(len(read_ledger(self._ledger_path)))
        return name not in self.ignores

    async def kill(self, nodes: frozenset[str]) -> None:
        if self._called("kill", sorted(nodes)):
            self.down |= nodes
            self.stopped -= nodes

    async def start(self, nodes: frozenset[str]) -> None:
        if self._called("start", sorted(nodes)):
            self.down -= nodes

    async def running(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        return {node: node not in self.down for node in nodes}

    async def cut_power(self, nodes: frozenset[str]) -> None:
        if self._called("cut_power", sorted(nodes)):
            self.down |= nodes
            self.stopped -= nodes

    async def jump_clocks(self, by_ns: Mapping[str, int]) -> None:
        if self._called("jump_clocks", dict(by_ns)):
            self.offsets_ns = {name: self.offsets_ns.get(name, 0) + ns for name, ns in by_ns.items()}

    async def drift_clocks(self, drift_ppm: Mapping[str, int], *, wall_only: bool = False) -> None:
        if self._called("drift_clocks", dict(drift_ppm)):
            self.drifts_ppm = dict(drift_ppm)
            self.wall_only = wall_only

    async def reset_clocks(self, nodes: frozenset[str]) -> None:
        if self._called("reset_clocks", sorted(nodes)):
            self.offsets_ns.clear()
            self.drifts_ppm.clear()

    async def read_clocks(self, nodes: frozenset[str]) -> Mapping[str, ClockReading]:
        now_ns = self.now() + self.lag_ns
        gained_ns = {name: now_ns * self.drifts_ppm.get(name, 0) // 1_000_000 for name in nodes}
        return {
            name: ClockReading(
                wall_offset_ns=self.offsets_ns.get(name, 0) + gained_ns[name],
                monotonic_ns=now_ns if self.wall_only else now_ns + gained_ns[name],
                true_ns=now_ns,
                by_file=name in self.down,
            )
            for name in nodes
        }

    def pause_means(self) -> tuple[str, ...]:
        return self.means

    async def unsynced_lost(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        return dict.fromkeys(sorted(nodes), True)

    async def pause(self, nodes: frozenset[str], means: str | None = None) -> None:
        self.paused_by.append(means)
        if self._called("pause", sorted(nodes)):
            self.stopped |= nodes

    async def resume(self, nodes: frozenset[str]) -> None:
        if self._called("resume", sorted(nodes)):
            self.stopped -= nodes

    async def paused(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        return {node: node in self.stopped for node in nodes}

    def starve_kinds(self) -> frozenset[str]:
        return self.starves

    async def starve(self, resource: str, levels: Mapping[str, int]) -> None:
        if self._called("starve", (resource, dict(levels))):
            for name, level in levels.items():
                self.short[name][resource] = level
                if resource in self.dies_of:
                    self.down.add(name)

    async def feed(self, nodes: frozenset[str]) -> None:
        if self._called("feed", sorted(nodes)):
            for name in nodes:
                self.short[name].clear()

    async def starved(self, nodes: frozenset[str]) -> Mapping[str, Mapping[str, int]]:
        """The limits of a group stay when the process is gone, as those of a container do."""
        every = {name: {"files": 1024, **self.short[name]} for name in nodes}
        return {
            name: {key: value for key, value in limits.items() if key != "files" or name not in self.down}
            for name, limits in every.items()
        }

    async def upgrade(self, nodes: frozenset[str], version: str) -> None:
        if self._called("upgrade", (sorted(nodes), version)):
            self.runs |= dict.fromkeys(nodes, version)
            self.down -= nodes

    async def versions(self, nodes: frozenset[str]) -> Mapping[str, str]:
        return {name: self.runs[name] for name in nodes if name not in self.down}

    async def cut(self, grudge: Grudge) -> None:
        if self._called("cut", {receiver: sorted(senders) for receiver, senders in sorted(grudge.items())}):
            self.grudge = dict(grudge)

    async def heard(self, pairs: frozenset[tuple[str, str]]) -> Mapping[tuple[str, str], bool]:
        if self.losses:
            self.losses -= 1
            return dict.fromkeys(pairs, False)
        return {
            (sender, receiver): sender not in self.grudge.get(receiver, ())
            and (sender, receiver) not in self.deaf
            for sender, receiver in pairs
        }


class RecordingStalls:
    """Clients that move one step at each look unless they are stalled, and that can be made to ignore it."""

    def __init__(self) -> None:
        self.clients: tuple[int, ...] = (0, 1, 2, 3, 4)
        self.held: dict[int, int] = {}
        self.ignores: set[str] = set()
        """``stall``: a stalled client moves; ``release``: it stays where it is."""
        self._steps = 0

    def processes(self) -> tuple[int, ...]:
        return self.clients

    def living(self, processes: frozenset[int]) -> frozenset[int]:
        return frozenset(client for client in self.clients if client % 5 in {p % 5 for p in processes})

    def stall(self, processes: frozenset[int], duration_ns: int) -> None:
        self.held |= dict.fromkeys(processes, duration_ns)

    def release(self, processes: frozenset[int]) -> None:
        if "release" not in self.ignores:
            self.held = {process: ns for process, ns in self.held.items() if process not in processes}

    def stalled(self, processes: frozenset[int]) -> Mapping[int, bool]:
        return {process: process in self.held for process in sorted(processes)}

    def steps(self, processes: frozenset[int]) -> Mapping[int, int]:
        self._steps += 1
        moves = "stall" in self.ignores
        return {
            process: self._steps if moves or process not in self.held else 0 for process in sorted(processes)
        }


class RecordingMembership:
    """A cluster whose members change as they are told, or that refuses, or leaves whoever asks in doubt."""

    def __init__(self) -> None:
        self.now: set[str] | None = set(NODES)
        """The members; ``None`` when nobody leads."""
        self.calls: list[tuple[str, str, str]] = []
        self.refuses: set[str] = set()
        self.doubts: dict[str, bool] = {}
        """Nodes whose changes are left in doubt, and whether they come about."""
        self.fewest = len(NODES)

    async def add(self, name: str, via: str) -> None:
        self._change("add", name, via)

    async def remove(self, name: str, via: str) -> None:
        self._change("remove", name, via)

    def _change(self, what: str, name: str, via: str) -> None:
        assert self.now is not None
        self.calls.append((what, name, via))
        if name in self.refuses:
            raise Definite("another change is under way")
        if self.doubts.get(name, True):
            (self.now.add if what == "add" else self.now.discard)(name)
            self.fewest = min(self.fewest, len(self.now))
        if name in self.doubts:
            raise Indefinite("the connection was lost")

    async def members(self) -> frozenset[str] | None:
        return None if self.now is None else frozenset(self.now)


class World:
    """All that a nemesis test looks at."""

    def __init__(self, path: Path) -> None:
        self.runtime = InstantRuntime()
        self.ledger_path = path / "faults.jsonl"
        self.ledger = FaultLedger(self.ledger_path, self.runtime.now)
        self.cluster = RecordingCluster(self.ledger_path, self.runtime.now)
        self.stalls = RecordingStalls()
        self.membership = RecordingMembership()
        self.leaders: frozenset[str] | None = frozenset({"n3"})
        self.unready: set[str] = set()

    async def ready(self, name: str) -> bool:
        return name not in self.unready and name not in self.cluster.down

    def context(self, seed: int = 1) -> NemesisContext:
        async def primaries() -> frozenset[str] | None:
            return self.leaders

        ask: Callable[[], Awaitable[frozenset[str] | None]] = primaries
        return NemesisContext(
            nodes=NODES,
            interval_ns=5_000_000_000,
            rng=RandomStream(seed, "nemesis"),
            runtime=self.runtime,  # type: ignore[arg-type]
            cluster=self.cluster,  # type: ignore[arg-type]
            ledger=self.ledger,
            primaries=ask,
            stalls=self.stalls,
            ready=self.ready,
            versions=("1", "2", "3"),
            membership=self.membership,
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
