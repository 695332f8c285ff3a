"""The backend without machines: nodes are programs in the simulator, in virtual time.

The simulator's network, disks and processes *are* the capabilities: nothing is installed, nothing can be left behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from foreshock.harness.backends.on_hosts.versions import check_version
from foreshock.harness.backends.pause_means import check_means
from foreshock.harness.backends.simulated_disks import DISK_KINDS, SimulatedDisks
from foreshock.harness.backends.simulated_links import LINK_KINDS, SimulatedLinks
from foreshock.harness.capabilities import (
    Clock,
    ClockReading,
    Disk,
    Grudge,
    Kill,
    Partition,
    Pause,
    PowerCut,
    Shape,
    Upgrade,
)
from foreshock.harness.cluster import ClusterSpecification, Endpoint, Node
from foreshock.harness.errors import DeployError, FaultError, HarnessError, UsageError
from foreshock.harness.further_ports import further_ports
from foreshock.harness.options import Options
from foreshock.harness.runtime import Runtime, TimeoutExpired
from foreshock.harness.simulation.knobs import MILLISECOND
from foreshock.harness.simulation.machine import CRASHED, PAUSED, RUNNING, SimMachine
from foreshock.harness.simulation.program import Program
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.harness.simulation.world import SimWorld
from foreshock.harness.target import Target

READY_INTERVAL_NS = 20 * MILLISECOND
SIMULATED = "simulated"


class SimBackend:
    """Makes clusters of simulated nodes; needs a :class:`SimRuntime` and a target that can be simulated."""

    name = "sim"
    simulated = True
    Options = Options

    def __init__(self) -> None:
        self._clusters: WeakValueDictionary[str, SimCluster] = WeakValueDictionary()

    def available(self) -> str | None:
        """It runs everywhere."""
        return None

    def offers(self) -> frozenset[type[Any]]:
        """Everything that can be done to nodes."""
        return frozenset({Kill, Pause, Partition, PowerCut, Clock, Disk, Shape, Upgrade})

    def mechanisms(self) -> Mapping[str, str]:
        """Everything is simulated."""
        every = (
            "partition",
            "kill",
            "pause",
            "power",
            "clock/jump",
            "clock/drift",
            "clock/drift-wall",
            "clock/strobe",
            "upgrade",
            *(f"disk/{kind}" for kind in DISK_KINDS),
            *(f"packet/{kind}" for kind in sorted(LINK_KINDS)),
        )
        return dict.fromkeys(every, "simulated exactly")

    def cluster(self, specification: ClusterSpecification, runtime: Runtime) -> SimCluster:
        """A cluster that is not deployed yet; raises ``UsageError`` when the target cannot be simulated."""
        if not isinstance(runtime, SimRuntime):
            raise HarnessError(f"the sim backend runs in virtual time only, not on {type(runtime).__name__}")
        if not specification.target.can_simulate():
            raise _unsimulated(specification.target)
        cluster = self._clusters[specification.run] = SimCluster(specification, runtime)
        return cluster

    def heal(self, fault: Mapping[str, Any]) -> str:
        """Undo a fault by its inverse while its run lives; later there is nothing to do: it ended with the run."""
        cluster = self._clusters.get(str(fault.get("run")))
        if cluster is None:
            return "a simulated fault ends with its run: nothing to heal"
        return cluster.heal(str(fault["fault"]), fault["nodes"])

    def clean(self, run: str | None) -> list[str]:  # noqa: ARG002 - no run leaves anything
        """Nothing to do: a simulated cluster leaves nothing behind."""
        return []


class SimCluster(SimulatedDisks, SimulatedLinks):
    """The simulated nodes of one test; offers every capability that a backend can have."""

    def __init__(self, specification: ClusterSpecification, runtime: SimRuntime) -> None:
        super().__init__(runtime)
        self._specification = specification
        self._runtime = runtime
        self._unsimulated = False
        self._made_in: dict[str, str] = {}
        port = specification.target.port
        endpoints = {name: Endpoint(host=name, port=port) for name in specification.node_names}
        further, hosts = specification.target.further_ports, {name: name for name in specification.node_names}
        self._nodes = tuple(
            Node(
                name=name,
                index=index,
                endpoint=endpoints[name],
                listen=endpoints[name],
                peers={peer: endpoints[peer] for peer in specification.node_names if peer != name},
                data_directory=f"/{name}/data",
                cluster=specification.run,
                version=next(iter(specification.target.versions), None),
                further=further_ports(further, name, name, hosts),
            )
            for index, name in enumerate(specification.node_names)
        )

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes, in order of index."""
        return self._nodes

    @property
    def world(self) -> SimWorld:
        """The simulated world that the nodes live in."""
        return self._runtime.world

    async def deploy(self) -> None:
        """Start a program for each node and wait until the target calls each of them ready.

        Raises ``UsageError`` when the target, as it is set, cannot be simulated, and ``DeployError`` when a node
        crashes or is not ready in time.
        """
        for node in self._nodes:
            self.world.add(node.name, partial(self._program, node.index))
        deadline_ns = self._runtime.now() + self._specification.ready_timeout_ms * MILLISECOND
        for node in self._nodes:
            await self._wait_until_ready(node, deadline_ns)

    async def fetch_logs(self, directory: Path) -> None:
        """Write each node's log to ``directory/<node>/node.log``.

        Raises ``HarnessError`` when a log cannot be written, and when a node's program has raised: a bug of the node
        that looks like a kill from outside, and must not pass for one.
        """
        for name in self.world.states():
            path = directory / name / "node.log"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("".join(f"{line}\n" for line in self.world.logs(name)), encoding="utf-8")
            except OSError as error:
                raise HarnessError(
                    f"the log of {name} cannot be written to {path}: {error.strerror}"
                ) from error

        errors = self.world.program_errors
        if errors:
            first = errors[0]
            raise HarnessError(
                f"a node's program raised {len(errors)} times, and each time its node crashed; first {first.node} "
                f"after {first.time_ns // MILLISECOND} ms: {first.error} (the traceback is in {first.node}/node.log)"
            )

    async def teardown(self) -> None:
        """Kill every node and forget it."""
        self.world.clear()

    async def states(self) -> Mapping[str, str]:
        """``running``, ``paused``, ``killed`` or ``crashed`` by node."""
        return self.world.states()

    def inverse(self, fault: str, nodes: frozenset[str]) -> Mapping[str, Any]:
        """What ``SimBackend.heal`` needs to undo the fault."""
        return {
            "backend": "sim",
            "fault": fault,
            "run": self._specification.run,
            "nodes": sorted(nodes),
        }

    def heal(self, fault: str, nodes: Sequence[str]) -> str:
        """Undo a fault on those of the nodes that still suffer it; raises ``FaultError`` for one that is unknown."""
        states = self.world.states()
        match fault:
            case "partition":
                self.world.cut({})
                return "all is heard again"
            case "packet":
                self.world.shape({})
                return "no link has a shape"
            case "pause":
                struck = [name for name in nodes if states.get(name) == PAUSED]
                for name in struck:
                    self.world.resume(name)
                return f"resumed {', '.join(struck)}" if struck else "nothing to do: no node is paused"
            case "clock":
                for name in nodes:
                    self.world.clock(name).reset()
                return f"set the clocks of {', '.join(nodes)} right"
            case "disk":
                for name in nodes:
                    self.world.machine(name).disk.mend()
                return f"mended the disks of {', '.join(nodes)}"
            case "kill" | "power" | "upgrade":
                return self._start_those_down(nodes)
        raise FaultError(f"the sim backend knows no fault {fault!r}")

    def _start_those_down(self, nodes: Sequence[str]) -> str:
        states = self.world.states()
        struck = [name for name in nodes if name in states and states[name] not in (RUNNING, PAUSED)]
        for name in struck:
            self.world.start(name)
        return f"started {', '.join(struck)}" if struck else "nothing to do: no node is down"

    async def kill(self, nodes: frozenset[str]) -> None:
        """Kill the nodes; what they had written is there when they start again, synced or not."""
        for name in sorted(nodes):
            self.world.kill(name)

    async def cut_power(self, nodes: frozenset[str]) -> None:
        """Cut the nodes' power; what they had not synced is lost or torn."""
        for name in sorted(nodes):
            self.world.cut_power(name)

    async def unsynced_lost(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Whether nothing is left on each node's disk that would be gone after another cut."""
        disks = {name: self.world.machine(name).disk for name in sorted(nodes)}
        return {name: all(map(disk.is_durable, disk.names())) for name, disk in disks.items()}

    async def start(self, nodes: frozenset[str]) -> None:
        """Start the nodes again on the same disks."""
        for name in sorted(nodes):
            self.world.start(name)

    async def upgrade(self, nodes: frozenset[str], version: str) -> None:
        """Kill the nodes and start them as another version of their program, on the same disks."""
        check_version(version, self._specification.target.versions)
        await self.kill(nodes)
        self._nodes = tuple(
            msgspec.structs.replace(node, version=version) if node.name in nodes else node
            for node in self._nodes
        )
        await self.start(nodes)

    async def versions(self, nodes: frozenset[str]) -> Mapping[str, str]:
        """In which version the program that now runs on each node was made."""
        running = await self.running(nodes)
        return {
            name: self._made_in[name] for name in sorted(nodes) if running[name] and name in self._made_in
        }

    async def running(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Whether each node's program exists."""
        return {name: self.world.machine(name).state in (RUNNING, PAUSED) for name in sorted(nodes)}

    def pause_means(self) -> tuple[str, ...]:
        """There is one way: virtual time does not reach the node."""
        return (SIMULATED,)

    async def pause(self, nodes: frozenset[str], means: str | None = None) -> None:
        """Stop the nodes in their tracks."""
        check_means(means, self.pause_means())
        for name in sorted(nodes):
            self.world.pause(name)

    async def resume(self, nodes: frozenset[str]) -> None:
        """Let the nodes go on with all that they have missed."""
        for name in sorted(nodes):
            self.world.resume(name)

    async def paused(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Whether each node is stopped."""
        return {name: self.world.machine(name).state == PAUSED for name in sorted(nodes)}

    async def jump_clocks(self, by_ns: Mapping[str, int]) -> None:
        """Set the nodes' wall clocks forward, or back."""
        for name in sorted(by_ns):
            self.world.clock(name).jump(by_ns[name])

    async def drift_clocks(self, drift_ppm: Mapping[str, int], *, wall_only: bool = False) -> None:
        """Let the nodes' clocks, or their wall clocks alone, run fast or slow from now on."""
        for name in sorted(drift_ppm):
            clock = self.world.clock(name)
            (clock.drift_wall if wall_only else clock.drift)(drift_ppm[name] * 1_000)

    async def reset_clocks(self, nodes: frozenset[str]) -> None:
        """End all drift and set the wall clocks right."""
        for name in sorted(nodes):
            self.world.clock(name).reset()

    async def read_clocks(self, nodes: frozenset[str]) -> Mapping[str, ClockReading]:
        """What the nodes' clocks show now."""
        clocks = {name: self.world.clock(name) for name in sorted(nodes)}
        true_ns = self._runtime.now()
        return {
            name: ClockReading(
                wall_offset_ns=clock.wall_offset_ns(), monotonic_ns=clock.now(), true_ns=true_ns
            )
            for name, clock in clocks.items()
        }

    async def cut(self, grudge: Grudge) -> None:
        """Drop all that the grudge names, in place of the grudge before."""
        self.world.cut(grudge)

    async def heard(self, pairs: frozenset[tuple[str, str]]) -> Mapping[tuple[str, str], bool]:
        """Send one-way datagrams over the (sender, receiver) pairs and say which arrived."""
        return await self.world.heard(pairs)

    def _program(self, index: int, machine: SimMachine) -> Program:
        node = self._nodes[index]
        if node.version is not None:
            self._made_in[node.name] = node.version
        program: Program | None = self._specification.target.simulate(node, machine)
        if program is None:
            self._unsimulated = True
            raise _unsimulated(self._specification.target)
        return program

    async def _wait_until_ready(self, node: Node, deadline_ns: int) -> None:
        runtime, target = self._runtime, self._specification.target
        while (left_ns := deadline_ns - runtime.now()) > 0:
            try:
                if await runtime.timeout(target.ready(node, runtime), left_ns):
                    return
            except TimeoutExpired:
                break
            if self._unsimulated:
                raise _unsimulated(target)
            if self.world.states()[node.name] == CRASHED:
                raise DeployError(
                    f"the simulated node {node.name} crashed as it started: {self._last_line(node)}"
                )
            await runtime.sleep(READY_INTERVAL_NS)
        raise DeployError(
            f"the simulated node {node.name} was not ready within {self._specification.ready_timeout_ms} ms"
            f" of virtual time: {self._last_line(node)}"
        )

    def _last_line(self, node: Node) -> str:
        errors = [error.error for error in self.world.program_errors if error.node == node.name]
        lines = [line for line in self.world.logs(node.name) if not line.endswith(" --")]
        return errors[-1] if errors else lines[-1] if lines else "it logged nothing"


def _unsimulated(target: Target[Any]) -> UsageError:
    name = type(target).__name__
    return UsageError(
        f"the target {name} cannot be simulated: it needs a method simulate(node, machine), or another --backend"
    )
