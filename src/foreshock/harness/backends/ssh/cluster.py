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
from foreshock.harness.backends import grudge_rules, link_probes
from foreshock.harness.backends.docker.pod_init import PORT as PROBE_PORT
from foreshock.harness.backends.on_hosts.clocks import HostClocks
from foreshock.harness.backends.on_hosts.disks import HostDisks
from foreshock.harness.backends.on_hosts.packets import HostPackets
from foreshock.harness.backends.on_hosts.resources import HostResources
from foreshock.harness.backends.pause_means import check_means
from foreshock.harness.backends.readiness import wait_until_ready
from foreshock.harness.backends.ssh import node_scripts
from foreshock.harness.backends.ssh.fleet import Fleet
from foreshock.harness.backends.ssh.healing import BY_USER, Leftover, end_on_host
from foreshock.harness.backends.ssh.host import RootHost, SshHost
from foreshock.harness.backends.ssh.options import SshOptions
from foreshock.harness.backends.ssh.places import places_of
from foreshock.harness.backends.ssh.remote_node import ALIVE, RemoteNode, folder_of
from foreshock.harness.backends.ssh.watch import INCIDENTS_MAX, HostWatch
from foreshock.harness.backends.together import run_all
from foreshock.harness.capabilities import Clock, Disk, Grudge, Kill, Partition, Pause, Shape, Starve
from foreshock.harness.cluster import ClusterSpecification, Endpoint, Node
from foreshock.harness.errors import DeployError, FaultError, HarnessError, UsageError
from foreshock.harness.host import HostResult
from foreshock.harness.live_runs import LiveRunEntry
from foreshock.harness.runtime import Runtime
from foreshock.harness.target import Target

_log = logging.getLogger("foreshock.ssh")
_BACK_TIMEOUT_S: Final = 20.0
_GIVEN_UP_TIMEOUT_S: Final = 30.0
_MEND_TIMEOUT_MS: Final = 15_000
_KINDS: Final[Mapping[type[Any], str]] = {
    Kill: "kill",
    Pause: "pause",
    Partition: "partition",
    Shape: "packet",
    Clock: "clock",
    Disk: "disk",
    Starve: "starve",
}
"""By what name the ledger knows the faults that a capability brings about."""

_LISTEN_ANYWHERE: Final = "0.0.0.0"


class SshCluster(HostPackets, HostClocks, HostDisks, HostResources):
    """The nodes of one test on the hosts that the user named. Offers Kill, Pause and Partition."""

    def __init__(self, specification: ClusterSpecification, runtime: Runtime) -> None:
        self.specification = specification
        self.target: Target[Any] = specification.target
        self.options = cast(SshOptions, specification.options)
        self._fleet = Fleet(places_of(self.options, specification.node_names))
        self._runtime = runtime
        self._base = f"{self.options.remote_directory}/foreshock"
        self._folder = f"{self._base}/{specification.run}"
        self._watches: dict[str, HostWatch] = {}
        self._nodes: tuple[Node, ...] = ()
        self._remotes: dict[str, RemoteNode] = {}
        self._claimed: set[str] = set()
        self._incidents: list[str] = []
        self._entry: LiveRunEntry | None = None
        if self.target.shared_directory:
            raise UsageError(
                "the nodes of this target share the memory of one host: use --backend process or docker"
            )

    # --- what a cluster on hosts is ---------------------------------------------------------------------------

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes in order of index; known once the hosts were asked."""
        if not self._nodes:
            raise HarnessError("the nodes are not known before the cluster is deployed")
        return self._nodes

    @property
    def node_names(self) -> tuple[str, ...]:
        """The names of the nodes, in order."""
        return self.specification.node_names

    def host(self, name: str) -> SshHost:
        """The host of a node, as its user; raises ``FaultError`` for a name that is none."""
        return self._fleet.host(name)

    def root(self, name: str) -> RootHost:
        """The host of a node, as root: by sudo where the user is not root himself."""
        return RootHost(self.host(name))

    def address(self, name: str) -> str:
        """The address by which the other nodes reach this one."""
        self.host(name)
        return self._fleet.addresses[name]

    def control_directory(self, name: str) -> str:
        """A folder beside the node's data."""
        return f"{self._node_folder(name)}/control"

    async def process_on_host(self, name: str) -> int | None:
        """The node's pid on its host."""
        state, about = await self._remote(name).state()
        return int(about) if state in ALIVE else None

    def undo_script(self, fault: str, name: str) -> str | None:
        """What undoes a fault on one host."""
        match fault:
            case "partition":
                return grudge_rules.remove()
            case "pause":
                return node_scripts.resume(self._node_folder(name))
            case "kill":
                return node_scripts.start(self._node_folder(name), self.specification.run)
        return super().undo_script(fault, name)

    def inverse(self, fault: str, nodes: frozenset[str]) -> Mapping[str, Any]:
        """What ``SshBackend.heal`` needs: the hosts, and a script for each."""
        touched = frozenset(self.node_names) if fault in ("partition", "packet") else nodes
        return {
            "backend": "ssh",
            "fault": fault,
            "run": self.specification.run,
            "hosts": {name: msgspec.to_builtins(self._fleet.places[name]) for name in sorted(touched)},
            "scripts": self.undo_scripts(fault, touched),
        }

    # --- the life of the cluster ------------------------------------------------------------------------------

    async def deploy(self) -> None:
        """Connect to every host, look whether all is well there, then upload, start, and wait until all are ready.

        Nothing is changed on any host before every host was found to be fit. Raises ``DeployError``.
        """
        try:
            await self._fleet.connect(self._node_folder)
            self._remotes = {
                name: RemoteNode(host, self._base, self.specification.run)
                for name, host in self._fleet.hosts.items()
            }
            await self._look()
            self._entry = live_runs.register(
                self.specification.run,
                backend="ssh",
                directory=self.specification.directory,
                places=msgspec.to_builtins(self._leftover()),
            )
            await run_all([self._prepare(node) for node in self._nodes])
            for watch in self._watches.values():
                watch.start()
            await self._check_links()
            await run_all([remote.start() for remote in self._remotes.values()])
            await self._wait_until_ready()
        except DeployError:
            raise
        except HarnessError as error:
            raise DeployError(str(error)) from error

    async def fetch_logs(self, directory: Path) -> None:
        """Fetch each node's log to ``directory/<node>/node.log``; raises ``HarnessError``."""

        await self._fleet.try_each(self._claimed, lambda name: self._remote(name).fetch_log(directory))

    async def teardown(self) -> None:
        """End every process of the run, undo every fault, remove every file, and say what befell the hosts.

        Raises ``HarnessError`` at the end for a host that could not be cleaned, and for what happened on the way.
        """
        await self._fleet.calls.all_ended(_GIVEN_UP_TIMEOUT_S)  # what a cancelled deployment was still making
        lost = [host for host in self._fleet.hosts.values() if host.lost]
        await asyncio.gather(*(host.wait_until_there(_BACK_TIMEOUT_S) for host in lost))
        for watch in self._watches.values():
            await watch.stop()
        left, run = self._leftover(), self.specification.run

        async def end(name: str) -> None:
            if self._fleet.hosts[name].lost:
                raise HarnessError(
                    f"the host of node {name} ({self._fleet.places[name].shown}) is out of reach and was not cleaned: "
                    "run foreshock clean when it is back"
                )
            connection = self._fleet.connections[name]
            done = await self._fleet.calls.call(lambda: end_on_host(connection, left, run))
            _log.debug("%s", "; ".join(done))
            self._claimed.discard(name)

        errors, self._incidents = self._incidents, []
        try:
            await self._fleet.try_each(set(self._claimed), end)
        except HarnessError as error:
            errors = [*errors, str(error)]
        finally:
            await self._fleet.close()
        if self._entry is not None and not self._claimed:
            self._entry.close()
        if errors:
            raise HarnessError("; ".join(errors))

    async def states(self) -> Mapping[str, str]:
        """The state of each node; ``lost`` also where its host is out of reach."""
        names = [name for name in self.node_names if name in self._claimed]
        found = await asyncio.gather(*(self._remote(name).shown_state() for name in names))
        return dict(zip(names, found, strict=True))

    # --- Kill and Pause ---------------------------------------------------------------------------------------

    async def kill(self, nodes: frozenset[str]) -> None:
        """Kill the nodes' process groups and wait until they are gone."""
        await self._fleet.each(nodes, lambda name: self._remote(name).kill())

    async def start(self, nodes: frozenset[str]) -> None:
        """Start the nodes again on the same data; one that runs is left alone."""
        await self._fleet.each(nodes, lambda name: self._remote(name).start())

    async def running(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Whether each node's process exists on its host."""
        return {name: state in ALIVE for name, state in (await self._states_of(nodes)).items()}

    def pause_means(self) -> tuple[str, ...]:
        """By what the nodes can be stopped."""
        return ("signal",)

    async def pause(self, nodes: frozenset[str], means: str | None = None) -> None:
        """Stop the nodes' process groups (SIGSTOP)."""
        check_means(means, self.pause_means())
        await self._fleet.each(nodes, lambda name: self._remote(name).pause())

    async def resume(self, nodes: frozenset[str]) -> None:
        """Let the nodes' process groups go on (SIGCONT)."""
        await self._fleet.each(nodes, lambda name: self._remote(name).resume())

    async def paused(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Whether the host sees each node's process stopped."""
        return {name: state == "paused" for name, state in (await self._states_of(nodes)).items()}

    # --- Partition --------------------------------------------------------------------------------------------

    async def cut(self, grudge: Grudge) -> None:
        """Put the grudge's rules into every host at once, in place of those in force; raises ``FaultError``."""
        for receiver, senders in grudge.items():
            for name in (receiver, *sorted(senders)):
                self.host(name)
        await self._fleet.each(
            frozenset(self._fleet.hosts), lambda name: self._refuse(name, grudge.get(name, frozenset()))
        )

    async def heard(self, pairs: frozenset[tuple[str, str]]) -> Mapping[tuple[str, str], bool]:
        """Which of the (sender, receiver) pairs of hosts pass one-way datagrams now."""
        return await link_probes.heard(
            self._fleet.hosts, self._fleet.addresses, pairs, directory=f"{self._folder}/probe"
        )

    async def _refuse(self, name: str, senders: frozenset[str]) -> None:
        source, _, _, port = self._fleet.facts[name].connection
        script = grudge_rules.refuse((self._fleet.addresses[s] for s in senders), spared=(source, port))
        result = await self.root(name).run(script)
        if result.exit_code:
            raise FaultError(f"iptables on the host of node {name} failed: {result.stderr.strip()}")

    # --- deploying --------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """See that every host is fit, and work out the nodes."""
        await self._fleet.look(
            binaries=self.target.binaries,
            packages=self.target.packages,
            packets=self._needs_packets,
            reached_at=self.options.reached_at(),
        )
        await self._fleet.check_rights([kind for kind in self._fault_kinds() if kind not in BY_USER])
        port = self.target.port
        peers = {name: Endpoint(host=at, port=port) for name, at in self._fleet.addresses.items()}
        self._nodes = tuple(self._node(name, index, peers) for index, name in enumerate(self.node_names))
        self._watches = {
            name: HostWatch(host, self._fleet.facts[name].boot, partial(self._mend, name), self._report)
            for name, host in self._fleet.hosts.items()
        }

    def _node(self, name: str, index: int, peers: Mapping[str, Endpoint]) -> Node:
        address = self._fleet.addresses[name]
        # An address that the host does not know as its own, behind some translation, cannot be listened on.
        own = address == self._fleet.facts[name].connection[2]
        return Node(
            name=name,
            index=index,
            endpoint=peers[name],
            listen=Endpoint(host=address if own else _LISTEN_ANYWHERE, port=peers[name].port),
            peers={peer: endpoint for peer, endpoint in peers.items() if peer != name},
            data_directory=f"{self._node_folder(name)}/data",
            cluster=self.specification.run,
            version=self.target.versions[0] if self.target.versions else None,
        )

    async def _prepare(self, node: Node) -> None:
        """Claim the node's host, make its folders and write its files."""
        name = node.name
        self._claimed.add(name)
        await self._remote(name).prepare(
            list(self.target.command(node)), self.target.environment(node), self.target.files()
        )
        if self._needs_packets:
            program = resources.files("foreshock.harness.backends.docker") / "pod_init.py"
            host = self._fleet.hosts[name]
            await host.upload(program.read_bytes(), f"{self._folder}/probe.py", mode=0o600)
            await self._start_probe(name, host.run)

    async def _start_probe(self, name: str, run: Callable[[str], Awaitable[HostResult]]) -> None:
        result = await run(node_scripts.probe(self._folder, self.specification.run, PROBE_PORT))
        if result.exit_code:
            raise DeployError(
                f"the probe on the host of node {name} does not come up (it needs UDP port {PROBE_PORT}): "
                f"{result.stderr.strip() or 'it said nothing'}"
            )

    async def _check_links(self) -> None:
        if not self._needs_packets:
            return
        await self.cut({})
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
            exited=lambda name: self._remote(name).exit_status(),
            read_log=lambda name: self._remote(name).log_tail(),
        )

    # --- within -----------------------------------------------------------------------------------------------

    @property
    def _needs_packets(self) -> bool:
        return bool(self.specification.needs & {Partition, Shape})

    def _fault_kinds(self) -> tuple[str, ...]:
        """The kinds of faults, as the ledger has them, that the test can bring about."""
        kinds = (_KINDS.get(kind) for kind in self.specification.needs)
        return tuple(sorted(kind for kind in kinds if kind is not None))

    def _node_folder(self, name: str) -> str:
        return folder_of(self._base, self.specification.run, name)

    def _remote(self, name: str) -> RemoteNode:
        """The node on its host; raises ``FaultError`` for a name that is none."""
        self._fleet.host(name)
        return self._remotes[name]

    def _leftover(self) -> Leftover:
        kinds = [kind for kind in self._fault_kinds() if kind not in BY_USER]
        scripts = {
            name: tuple(script for kind in kinds if (script := self.undo_script(kind, name)) is not None)
            for name in self.node_names
        }
        return Leftover(hosts=self._fleet.places, base=self._base, scripts=scripts)

    async def _states_of(self, nodes: frozenset[str]) -> dict[str, str]:
        found = await self._fleet.each(nodes, lambda name: self._remote(name).state())
        return {name: state for name, (state, _) in found.items()}

    async def _mend(self, name: str, rebooted: bool) -> str:
        """The host is there again: nothing that was in force stays so. Nobody else uses it before this returned."""
        connection = self._fleet.connections[name]

        async def run(script: str, *, root: bool = False) -> HostResult:
            return await self._fleet.calls.call(lambda: connection.run(script, _MEND_TIMEOUT_MS, root=root))

        if name not in self._claimed:
            return "nothing was there yet"
        scripts = [(script, True) for script in self._leftover().scripts[name]]
        scripts.append((node_scripts.resume(self._node_folder(name)), False))
        for script, root in scripts:
            result = await run(script, root=root)
            if result.exit_code:
                raise HarnessError(f"what was in force there cannot be undone: {result.stderr.strip()}")
        if not rebooted:
            return "what was in force there was undone"
        if self._needs_packets:
            await self._start_probe(name, run)
        return "its node ended with it, and what was in force there is gone"

    def _report(self, incident: str) -> None:
        _log.error("%s", incident)
        if len(self._incidents) < INCIDENTS_MAX:
            self._incidents.append(incident)
