"""A cluster whose nodes live on hosts of the user's own, reached by ssh."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from foreshock.harness import live_runs
from foreshock.harness.backends.docker.pod_init import PORT as PROBE_PORT
from foreshock.harness.backends.on_hosts.clock_tools import ClockTools, tools_on
from foreshock.harness.backends.on_hosts.disks import programs as disk_programs
from foreshock.harness.backends.on_hosts.versions import VERSION_VARIABLE
from foreshock.harness.backends.readiness import wait_until_ready
from foreshock.harness.backends.ssh import node_scripts
from foreshock.harness.backends.ssh.faults import SshFaults, inverse_of
from foreshock.harness.backends.ssh.fleet import Fleet
from foreshock.harness.backends.ssh.healing import Leftover, Step, end_on_host
from foreshock.harness.backends.ssh.options import SshOptions
from foreshock.harness.backends.ssh.places import places_of
from foreshock.harness.backends.ssh.remote_node import RemoteNode
from foreshock.harness.backends.ssh.watch import INCIDENTS_MAX, HostWatch
from foreshock.harness.backends.together import run_all
from foreshock.harness.capabilities import Partition, Shape
from foreshock.harness.cluster import ClusterSpecification, Endpoint, Node
from foreshock.harness.errors import DeployError, HarnessError, UsageError
from foreshock.harness.further_ports import further_ports
from foreshock.harness.host import HostResult
from foreshock.harness.live_runs import LiveRunEntry
from foreshock.harness.runtime import Runtime
from foreshock.harness.target import Target

_log = logging.getLogger("foreshock.ssh")
_BACK_TIMEOUT_S: Final = 20.0
_GIVEN_UP_TIMEOUT_S: Final = 30.0
_MEND_TIMEOUT_MS: Final = 15_000
_LISTEN_ANYWHERE: Final = "0.0.0.0"


class SshCluster(SshFaults):
    """The nodes of one test on the hosts that the user named."""

    def __init__(self, specification: ClusterSpecification, runtime: Runtime) -> None:
        self.specification = specification
        self.target: Target[Any] = specification.target
        self.options = cast(SshOptions, specification.options)
        self.fleet = Fleet(places_of(self.options, specification.node_names))
        self._runtime = runtime
        self.base = f"{self.options.remote_directory}/foreshock"
        self._watches: dict[str, HostWatch] = {}
        self._nodes: tuple[Node, ...] = ()
        self.remotes: dict[str, RemoteNode] = {}
        self._claimed: set[str] = set()
        self._without_layer: set[str] = set()
        self._tools: Mapping[str, ClockTools] = {}
        self.incidents: list[str] = []
        """What befell the hosts without anybody having asked for it, each a sentence."""
        self._entry: LiveRunEntry | None = None
        if self.target.shared_directory:
            raise UsageError(
                "the nodes of this target share the memory of one host: use --backend process or docker"
            )

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes in order of index; known once the hosts were asked."""
        if not self._nodes:
            raise HarnessError("the nodes are not known before the cluster is deployed")
        return self._nodes

    def inverse(self, fault: str, nodes: frozenset[str]) -> Mapping[str, Any]:
        """What ``SshBackend.heal`` needs to undo the fault."""
        return inverse_of(self, fault, nodes)

    # --- the life of the cluster ------------------------------------------------------------------------------

    async def deploy(self) -> None:
        """Connect to every host, look whether all is well there, then upload, start, and wait until all are ready.

        Nothing is changed on any host before every host was found to be fit. Raises ``DeployError``.
        """
        try:
            await self.fleet.connect(self.node_folder)
            await self._look()
            self._register()
            await run_all([self._prepare(name) for name in self.node_names])
            for watch in self._watches.values():
                watch.start()
            await self._prepare_faults()
            self._register()  # what undoes faults may be known only now
            await self.fleet.each(self.node_names, self.write_node)
            await run_all([self.start_node(name) for name in self.node_names])
            await self._wait_until_ready()
        except DeployError:
            raise
        except HarnessError as error:
            raise DeployError(str(error)) from error

    def _register(self) -> None:
        """Write down how another process cleans up after this one."""
        self._entry = live_runs.register(
            self.specification.run,
            backend="ssh",
            directory=self.specification.directory,
            places=msgspec.to_builtins(self._leftover()),
        )

    async def fetch_logs(self, directory: Path) -> None:
        """Fetch each node's log to ``directory/<node>/node.log``; raises ``HarnessError``."""

        started = {name for name in self._claimed if self.remote(name).started}
        await self.fleet.try_each(started, lambda name: self.remote(name).fetch_log(directory))

    async def teardown(self) -> None:
        """End every process of the run, undo every fault, remove every file, and say what befell the hosts.

        Raises ``HarnessError`` at the end for a host that could not be cleaned, and for what happened on the way.
        """
        await self.fleet.calls.all_ended(_GIVEN_UP_TIMEOUT_S)  # what a cancelled deployment was still making
        lost = [host for host in self.fleet.hosts.values() if host.lost]
        await asyncio.gather(*(host.wait_until_there(_BACK_TIMEOUT_S) for host in lost))
        await self.stop_watching()
        left, run = self._leftover(), self.specification.run

        async def end(name: str) -> None:
            if self.fleet.hosts[name].lost:
                raise HarnessError(
                    f"the host of node {name} ({self.fleet.places[name].shown}) is out of reach and was not cleaned: "
                    "run foreshock clean when it is back"
                )
            connection = self.fleet.connections[name]
            done = await self.fleet.calls.call(lambda: end_on_host(connection, left, run))
            _log.debug("%s", "; ".join(done))
            self._claimed.discard(name)

        errors, self.incidents = self.incidents, []
        try:
            await self.fleet.try_each(set(self._claimed), end)
        except HarnessError as error:
            errors = [*errors, str(error)]
        finally:
            await self.fleet.close()
        if self._entry is not None and not self._claimed:
            self._entry.close()
        if errors:
            raise HarnessError("; ".join(errors))

    async def stop_watching(self) -> None:
        """Look after the hosts no more; idempotent."""
        for watch in self._watches.values():
            await watch.stop()

    async def states(self) -> Mapping[str, str]:
        """The state of each node; ``unreachable`` where its host is out of reach, and nobody knows."""
        names = [name for name in self.node_names if name in self._claimed]
        found = await asyncio.gather(*(self.remote(name).shown_state() for name in names))
        return {name: state for name, state in zip(names, found, strict=True) if state is not None}

    # --- deploying --------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """See that every host is fit, and work out the nodes."""
        await self.fleet.look(
            binaries=self.target.binaries,
            packages=self.target.packages,
            packets=self._needs_packets,
            reached_at=self.options.reached_at(),
        )
        await self.fleet.check_rights([kind for kind in self.fault_kinds() if self.needs_root(kind)])
        self._make_nodes()
        self._watches = {
            name: HostWatch(host, self.fleet.facts[name].boot, partial(self._mend, name), self._report)
            for name, host in self.fleet.hosts.items()
        }

    def _make_nodes(self) -> None:
        """Work out the nodes from what is known of their hosts."""
        port = self.target.port
        peers = {name: Endpoint(host=at, port=port) for name, at in self.fleet.addresses.items()}
        self._nodes = tuple(self._node(name, index, peers) for index, name in enumerate(self.node_names))
        self.remotes = {
            name: RemoteNode(host, self.base, self.specification.run)
            for name, host in self.fleet.hosts.items()
        }

    def _node(self, name: str, index: int, peers: Mapping[str, Endpoint]) -> Node:
        address = self.fleet.addresses[name]
        # An address that the host does not know as its own, behind some translation, cannot be listened on.
        own = address == self.fleet.facts[name].connection[2]
        listen_host = address if own else _LISTEN_ANYWHERE
        return Node(
            name=name,
            index=index,
            endpoint=peers[name],
            listen=Endpoint(host=listen_host, port=peers[name].port),
            peers={peer: endpoint for peer, endpoint in peers.items() if peer != name},
            data_directory=f"{self.node_folder(name)}/data",
            cluster=self.specification.run,
            address=peers[name],
            version=next(iter(self.target.versions), None),
            clock_file=self.clock_file_of(name),
            further=further_ports(self.target.further_ports, name, listen_host, self.fleet.addresses),
        )

    async def _prepare(self, name: str) -> None:
        """Claim the node's host, make its folders and write its files."""
        self._claimed.add(name)
        await self.remote(name).prepare(self.target.files())
        if self._needs_packets:
            program = resources.files("foreshock.harness.backends.docker") / "pod_init.py"
            host = self.fleet.hosts[name]
            await host.upload(program.read_bytes(), f"{self.folder}/probe.py", mode=0o600)
            await self._start_probe(name, host.run)

    async def _prepare_faults(self) -> None:
        """Put in place what the faults of this test need; raises ``HarnessError``."""
        await self._check_links()
        if Shape in self.specification.needs:
            await self.find_packet_means()
        await self.make_clocks()
        if self.preloads:
            self._tools = await self.fleet.each(self.node_names, self.make_tools)
        await self.make_groups()
        if self.wants_disks:
            await self.start_disks()

    async def make_tools(self, name: str) -> ClockTools:
        """Have what shows a node skewed clocks compiled for its host."""
        folder = f"{self.control_directory(name)}/clock-tools"
        await self.host(name).run(f"mkdir {folder}")
        return await tools_on(self.host(name), folder)

    def clock_tools(self, name: str) -> ClockTools | None:
        """Where the shim and its reader are on the node's host, once they were made."""
        return self._tools.get(name)

    async def write_node(self, name: str) -> None:
        """Write down, on its host, how the node is to be started."""
        node = next(node for node in self.nodes if node.name == name)
        environment = dict(self.target.environment(node))
        environment |= self.clock_environment(self.clock_tools(name), name, environment)
        if node.version is not None:
            environment[VERSION_VARIABLE] = node.version
        await self.remote(name).write([*self.starter(name), *self.target.command(node)], environment)

    async def start_node(self, name: str) -> None:
        """Start one node unless it runs; on a host that was started anew its disk layer goes first."""
        if name in self._without_layer:
            self._layers = {**self._layers, name: await self._start_disk(name, disk_programs())}
            self._without_layer.discard(name)
        await self.remote(name).start()

    def note_versions(self, versions: Mapping[str, str]) -> None:
        """From now on these nodes are of these versions."""
        self._nodes = tuple(
            msgspec.structs.replace(node, version=versions.get(node.name, node.version))
            for node in self.nodes
        )

    async def _start_probe(self, name: str, run: Callable[[str], Awaitable[HostResult]]) -> None:
        result = await run(node_scripts.probe(self.folder, self.specification.run, PROBE_PORT))
        if result.exit_code:
            raise DeployError(
                f"the probe on the host of node {name} does not come up (it needs UDP port {PROBE_PORT}): "
                f"{result.stderr.strip() or 'it said nothing'}"
            )

    async def _check_links(self) -> None:
        if not self._needs_packets:
            return
        if Partition in self.specification.needs:
            await self.cut(
                {}
            )  # says now if rules cannot be made; a chain that is made is also undone at the end
        names = self.node_names
        every = frozenset((a, b) for a in names for b in names if a != b)
        deaf = sorted(pair for pair, arrived in (await self.heard(every)).items() if not arrived)
        if deaf:
            sender, receiver = deaf[0]
            raise DeployError(
                f"nothing that {sender} sends to {receiver} ({self.address(receiver)}, UDP port {PROBE_PORT}) is "
                "heard there, and no fault is in force: let it pass the firewall, or see ssh.addresses"
            )

    async def _wait_until_ready(self) -> None:
        await wait_until_ready(
            self._nodes,
            lambda node: self.target.ready(node, self._runtime),
            self._runtime,
            timeout_ms=self.specification.ready_timeout_ms,
            exited=lambda name: self.remote(name).exit_status(),
            read_log=lambda name: self.remote(name).log_tail(),
        )

    # --- within -----------------------------------------------------------------------------------------------

    @property
    def _needs_packets(self) -> bool:
        return bool(self.specification.needs & {Partition, Shape})

    def _leftover(self) -> Leftover:
        return Leftover(
            hosts=self.fleet.places,
            base=self.base,
            steps={name: self.steps_back(name) for name in self.node_names},
            last_steps={name: self.last_steps(name) for name in self.node_names},
        )

    async def _mend(self, name: str, rebooted: bool) -> str:
        """The host is there again: nothing that was in force stays so. Nobody else uses it before this returned."""
        connection = self.fleet.connections[name]

        async def run(script: str, *, root: bool = False) -> HostResult:
            return await self.fleet.calls.call(lambda: connection.run(script, _MEND_TIMEOUT_MS, root=root))

        if name not in self._claimed:
            return "nothing was there yet"
        resume = Step(root=False, script=node_scripts.resume(self.node_folder(name)))
        for step in (*self.steps_back(name), resume):
            result = await run(step.script, root=step.root)
            if result.exit_code:
                raise HarnessError(f"what was in force there cannot be undone: {result.stderr.strip()}")
        self.note_undone(name)
        if not rebooted:
            return "what was in force there was undone"
        if self._needs_packets:
            await self._start_probe(name, run)
        if self.wants_disks:
            self._without_layer.add(name)
        return "its node ended with it, and what was in force there is gone"

    def _report(self, incident: str) -> None:
        _log.error("%s", incident)
        if len(self.incidents) < INCIDENTS_MAX:
            self.incidents.append(incident)
