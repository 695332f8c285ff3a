"""A cluster whose nodes live in containers of a Docker engine."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import docker
import msgspec

from foreshock.harness import live_runs
from foreshock.harness.backends import grudge_rules, link_probes
from foreshock.harness.backends.docker.containers import (
    CONTROL,
    DATA,
    SHARED,
    NodeContainers,
    endpoint_of,
    make_network,
    make_shared_volume,
)
from foreshock.harness.backends.docker.engine import EngineCalls, connect, explained, reaches_containers
from foreshock.harness.backends.docker.host import PodHost, tar_of
from foreshock.harness.backends.docker.images import CLOCK_FOLDER, ImageBuilder
from foreshock.harness.backends.docker.leftovers import (
    NODE,
    ROLE,
    containers_of_run,
    labels_of_run,
    remove_run,
)
from foreshock.harness.backends.docker.resources import ContainerResources
from foreshock.harness.backends.on_hosts.clock_tools import ClockTools
from foreshock.harness.backends.on_hosts.clocks import HostClocks
from foreshock.harness.backends.on_hosts.disks import PACKAGES as DISK_PACKAGES
from foreshock.harness.backends.on_hosts.disks import HostDisks
from foreshock.harness.backends.on_hosts.packets import HostPackets
from foreshock.harness.backends.on_hosts.versions import VERSION_VARIABLE, HostVersions, check_version
from foreshock.harness.backends.process_identity import identify
from foreshock.harness.backends.readiness import wait_until_ready
from foreshock.harness.backends.together import run_all, try_all
from foreshock.harness.capabilities import Grudge, Shape
from foreshock.harness.cluster import ClusterSpecification, Endpoint, Node
from foreshock.harness.errors import DeployError, FaultError, HarnessError
from foreshock.harness.further_ports import further_ports
from foreshock.harness.live_runs import LiveRunEntry
from foreshock.harness.runtime import Runtime
from foreshock.harness.store import NODES
from foreshock.harness.target import Target

T = TypeVar("T")

_LISTEN_ANYWHERE: Final = "0.0.0.0"
_GIVEN_UP_TIMEOUT_S: Final = 90.0
_RULES_TIMEOUT_MS: Final = 10_000
# Who is in the container's cgroup and was started from outside the pod's processes, the oldest first.
_FIRST_PROCESS: Final = """\
for file in $(grep -ls {identity} /proc/[0-9]*/cgroup | sort -t/ -k3n); do
  grep -q '^PPid:[[:space:]]*0$' "${{file%/cgroup}}/status" && basename "${{file%/cgroup}}"
done
true
"""
_STATES: Final = {"running": "running", "paused": "paused", "restarting": "running", "created": "killed"}


class DockerCluster(ContainerResources, HostVersions, HostPackets, HostClocks, HostDisks):
    """The nodes of one test, each a pod and a container that joins it. Offers Kill, Pause and Partition."""

    def __init__(self, specification: ClusterSpecification, runtime: Runtime) -> None:
        self.specification = specification
        self.target: Target[Any] = specification.target
        self._runtime = runtime
        self._directory = specification.directory.resolve()
        self._network = f"foreshock-{specification.run}"
        self._calls = EngineCalls()
        self._given_up = threading.Event()
        self._client: docker.APIClient | None = None
        self._containers: dict[str, NodeContainers] = {}
        self._hosts: dict[str, PodHost] = {}
        self._addresses: dict[str, str] = {}
        self._nodes: tuple[Node, ...] = ()
        self._entry: LiveRunEntry | None = None
        self._recipe: tuple[str, bytes | None] = ("", None)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes in order of index; known once the cluster is deployed."""
        if not self._nodes:
            raise HarnessError("the nodes are not known before the cluster is deployed")
        return self._nodes

    @property
    def node_names(self) -> tuple[str, ...]:
        """The names of the nodes, in order."""
        return self.specification.node_names

    def address(self, name: str) -> str:
        """The address of the node's pod."""
        self._node(name)
        return self._addresses[name]

    def control_directory(self, name: str) -> str:
        """A volume that pod and node both have."""
        self._node(name)
        return CONTROL

    async def process_on_host(self, name: str) -> int | None:
        """The node's pid as its pod counts: the two share their processes."""
        identity = self._node(name).identity
        if identity is None:
            return None
        found = (await self._hosts[name].run(_FIRST_PROCESS.format(identity=identity))).stdout.split()
        return int(found[0]) if found else None

    async def at_engine(self, name: str, action: Callable[[NodeContainers], T]) -> T:
        """Have something done at the engine for one node; raises ``FaultError`` for a name that is none."""
        containers = self._node(name)
        return await self._calls.call(lambda: action(containers))

    def identity(self, name: str) -> str | None:
        """The engine's id of the node's container; ``None`` before there is one."""
        return self._node(name).identity

    def layered(self, name: str) -> bool:
        """Whether the node lives among the mounts of its pod."""
        return self._node(name).layered

    def clock_tools(self, name: str) -> ClockTools | None:
        """Where the image has them."""
        del name
        return ClockTools.inside(CLOCK_FOLDER) if self.preloads else None

    def host(self, name: str) -> PodHost:
        """The pod of the node; raises ``FaultError`` for a name that is none."""
        self._node(name)
        return self._hosts[name]

    async def deploy(self) -> None:
        """Build the image if need be, start all pods and nodes at once, and wait until each node is ready.

        Raises ``DeployError`` with one sentence.
        """
        self.register_run()
        try:
            self._client = client = await self.engine_client()
            packages = (*self.target.packages, *(DISK_PACKAGES if self.wants_disks else ()))
            image = await self.image(client, packages)
            await self._start_pods(client, image)
            if Shape in self.specification.needs:
                await self.find_packet_means()
            if self.wants_disks:
                await self.start_disks()
            await self.make_clocks()
            files = {f"files/{name}": data for name, data in self.target.files().items()}
            archive = tar_of(files, 0o755) if files else None
            self._recipe = (image, archive)
            await run_all([self._start_node(node) for node in self._nodes])
            await self.wait_until_ready()
        except asyncio.CancelledError:
            self._given_up.set()
            raise
        except DeployError:
            raise
        except HarnessError as error:
            raise DeployError(str(error)) from error

    async def fetch_logs(self, directory: Path) -> None:
        """Write each node's log to ``directory/<node>/node.log``; raises ``HarnessError``."""
        await self._each(self._containers, lambda containers: containers.fetch_log(directory))

    async def teardown(self) -> None:
        """Remove the run's containers, volumes and network, also those still being made. Idempotent."""
        self._given_up.set()
        ended = await self._calls.all_ended(_GIVEN_UP_TIMEOUT_S)
        for host in self._hosts.values():
            host.close()
        if self._client is not None:
            client, run = self._client, self.specification.run
            await self._calls.call(lambda: remove_run(client, run))
            client.close()
        self._calls.close()
        if not ended:
            raise HarnessError("a call to the engine has not ended: run foreshock clean later, to be sure")
        if self._entry is not None:
            self._entry.close()

    async def states(self) -> Mapping[str, str]:
        """The state of each node, for the live view."""
        client, run = self._client, self.specification.run
        if client is None:
            return {}
        with explained("the states of the nodes cannot be had"):
            found = await self._calls.call(lambda: containers_of_run(client, run))
        states = {}
        for container in found:
            labels = container["Labels"]
            if labels.get(ROLE) == "node":
                name = labels[NODE]
                ended = "killed" if self._containers[name].killed else "lost"
                states[name] = _STATES.get(container["State"], ended)
        return dict(sorted(states.items()))

    def inverse(self, fault: str, nodes: frozenset[str]) -> Mapping[str, Any]:
        """What ``DockerBackend.heal`` needs to undo the fault: the names of containers, from which it finds all."""
        return {
            "backend": "docker",
            "fault": fault,
            "run": self.specification.run,
            "containers": {name: self._node(name).container for name in sorted(nodes)},
            "pods": {name: containers.pod for name, containers in self._containers.items()},
            "scripts": self.undo_scripts(fault, nodes),
        }

    # --- Kill ---------------------------------------------------------------------------------------------

    async def kill(self, nodes: frozenset[str]) -> None:
        """Kill the nodes' processes through the engine and wait until they are gone."""
        await self._each(nodes, NodeContainers.kill)

    async def start(self, nodes: frozenset[str]) -> None:
        """Start the nodes again on the same data and addresses; the rules in their pods are still in force."""
        await self._each(nodes, NodeContainers.start)

    async def upgrade(self, nodes: frozenset[str], version: str) -> None:
        """Make the nodes' containers anew, with another version of the program, on the same data and address."""
        check_version(version, self.target.versions)
        self._nodes = tuple(
            msgspec.structs.replace(node, version=version) if node.name in nodes else node
            for node in self.nodes
        )
        await try_all([self._remake(node) for node in self._nodes if node.name in nodes])

    async def running(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Whether the engine sees each node's process."""
        return await self._each(nodes, NodeContainers.running)

    # --- Partition ----------------------------------------------------------------------------------------

    async def cut(self, grudge: Grudge) -> None:
        """Put the grudge's rules into every pod at once, in place of those in force; raises ``FaultError``."""
        for receiver, senders in grudge.items():
            for name in (receiver, *sorted(senders)):
                self._node(name)
        await try_all([self._refuse(name, grudge.get(name, frozenset())) for name in self._hosts])

    async def heard(self, pairs: frozenset[tuple[str, str]]) -> Mapping[tuple[str, str], bool]:
        """Which of the (sender, receiver) pairs of pods pass one-way datagrams now."""
        return await link_probes.heard(self._hosts, self._addresses, pairs)

    # --- what a rehearsal does otherwise ------------------------------------------------------------------------

    def register_run(self) -> None:
        """Write down that the run lives, so that heal and clean find it."""
        self._entry = live_runs.register(self.specification.run, backend="docker", directory=self._directory)

    async def engine_client(self) -> docker.APIClient:
        """A client of the engine; raises ``HarnessError``."""
        return await self._calls.call(connect)

    async def image(self, client: docker.APIClient, packages: Sequence[str]) -> str:
        """An image that has the packages; raises ``DeployError``."""
        builder = ImageBuilder(client, self._given_up)
        ensure = builder.ensure_with_clock if self.preloads else builder.ensure
        return await self._calls.call(lambda: ensure(packages))

    def pod_host(self, name: str, pod: str, client: docker.APIClient) -> PodHost:
        """The host of a node whose pod has been started."""
        return PodHost(name, pod, client, self._calls, self.specification.run)

    # --- within ---------------------------------------------------------------------------------------------

    def _node(self, name: str) -> NodeContainers:
        try:
            return self._containers[name]
        except KeyError:
            raise FaultError(f"there is no node {name!r} (known: {', '.join(self._containers)})") from None

    async def _each(self, names: Iterable[str], action: Callable[[NodeContainers], Any]) -> dict[str, Any]:
        """Do something to each of the nodes, all at once; every one is tried before the first error is raised."""
        ordered = sorted(names)
        chosen = [self._node(name) for name in ordered]
        results = await try_all([self._calls.call(partial(action, each)) for each in chosen])
        return dict(zip(ordered, results, strict=True))

    async def _start_pods(self, client: docker.APIClient, image: str) -> None:
        harness = identify(os.getpid())
        if harness is None:
            raise DeployError("the harness cannot find its own process: is /proc hidden?")
        run, port = self.specification.run, self.target.port
        labels = labels_of_run(run, self._directory, harness)
        await self._calls.call(lambda: make_network(client, self._network, labels))
        every = (port, *self.target.further_ports.values())
        published = () if await self._calls.call(lambda: reaches_containers(client)) else every
        shared = f"foreshock-{run}-shared" if self.target.shared_directory else None
        if shared is not None:
            await self._calls.call(lambda: make_shared_volume(client, shared, labels))
        self._containers = {
            name: NodeContainers(client, run, name, labels, shared, layered=self.wants_disks)
            for name in self.specification.node_names
        }
        loopback_ports: dict[str, Mapping[int, int]] = {}

        async def start(name: str) -> None:
            containers = self._containers[name]
            address, loopback_ports[name] = await self._calls.call(
                lambda: containers.start_pod(image, self._network, published)
            )
            self._addresses[name] = address
            self._hosts[name] = self.pod_host(name, containers.pod, client)
            await self._refuse(name, frozenset())  # opens the shell, and says now if the pod has no iptables

        await run_all([start(name) for name in self._containers])
        names = self.specification.node_names
        self._hosts = {name: self._hosts[name] for name in names}
        self._addresses = {name: self._addresses[name] for name in names}  # peers stand in the order of nodes
        self._nodes = tuple(
            self._make_node(name, index, loopback_ports[name]) for index, name in enumerate(names)
        )

    def _make_node(self, name: str, index: int, published: Mapping[int, int]) -> Node:
        """The node, whose pod has an address by now; ``published`` says which of its ports are on the loopback."""
        address, port = self._addresses[name], self.target.port
        further = further_ports(self.target.further_ports, name, _LISTEN_ANYWHERE, self._addresses)
        return Node(
            name=name,
            index=index,
            endpoint=endpoint_of(address, port, published),
            listen=Endpoint(host=_LISTEN_ANYWHERE, port=port),
            peers={
                peer: Endpoint(host=at, port=port) for peer, at in self._addresses.items() if peer != name
            },
            data_directory=DATA,
            cluster=self.specification.run,
            shared_directory=SHARED if self.target.shared_directory else None,
            address=Endpoint(host=address, port=port),
            version=next(iter(self.target.versions), None),
            clock_file=self.clock_file_of(name),
            further={
                called: msgspec.structs.replace(
                    each, endpoint=endpoint_of(address, each.listen.port, published)
                )
                for called, each in further.items()
            },
        )

    async def _start_node(self, node: Node) -> None:
        environment = dict(self.target.environment(node))
        if node.version is not None:
            environment[VERSION_VARIABLE] = node.version
        environment |= self.clock_environment(self.clock_tools(node.name), node.name, environment)
        command, (image, files) = list(self.target.command(node)), self._recipe
        await self.at_engine(node.name, lambda each: each.start_node(image, command, environment, files))

    async def _remake(self, node: Node) -> None:
        await self.at_engine(node.name, lambda each: each.remove_node(self._directory / NODES))
        await self._start_node(node)

    async def _ready(self, node: Node) -> bool:
        if not await self.target.ready(node, self._runtime):
            return False
        if node.endpoint.host == self._addresses[node.name] or type(self.target).ready is not Target.ready:
            return True
        # Whoever publishes a port accepts connections before the node does, and a connection is all that the default
        # check asks for: so look from within whether somebody listens.
        listening = f"grep -Eq ':{node.listen.port:04X} 0+:0000 0A' /proc/net/tcp /proc/net/tcp6 2>/dev/null"
        return (await self._hosts[node.name].run(listening)).exit_code == 0

    async def wait_until_ready(self) -> None:
        """Wait until every node is; raises ``DeployError``."""

        async def exited(name: str) -> str | None:
            return await self._calls.call(self._node(name).exit_status)

        async def read_log(name: str) -> str:
            return await self._calls.call(self._node(name).last_log)

        await wait_until_ready(
            self._nodes,
            self._ready,
            self._runtime,
            timeout_ms=self.specification.ready_timeout_ms,
            exited=exited,
            read_log=read_log,
        )

    async def _refuse(self, name: str, senders: frozenset[str]) -> None:
        script = grudge_rules.refuse(self._addresses[sender] for sender in senders)
        result = await self._hosts[name].run(script, timeout_ms=_RULES_TIMEOUT_MS)
        if result.exit_code:
            raise FaultError(f"iptables in the pod of node {name} failed: {result.stderr.strip()}")
