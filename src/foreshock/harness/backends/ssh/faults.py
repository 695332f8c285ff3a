"""What can be done to nodes on hosts of the user's own. How they got there is the business of the cluster."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

from foreshock.harness.backends import grudge_rules, link_probes
from foreshock.harness.backends.on_hosts import control_groups
from foreshock.harness.backends.on_hosts.disks import HostDisks
from foreshock.harness.backends.on_hosts.packets import HostPackets
from foreshock.harness.backends.on_hosts.resources import HostResources
from foreshock.harness.backends.on_hosts.settable_clocks import SettableClocks
from foreshock.harness.backends.on_hosts.versions import HostVersions, check_version
from foreshock.harness.backends.pause_means import check_means
from foreshock.harness.backends.ssh import node_scripts
from foreshock.harness.backends.ssh.fleet import Fleet
from foreshock.harness.backends.ssh.healing import BY_USER, Step
from foreshock.harness.backends.ssh.host import RootHost, SshHost
from foreshock.harness.backends.ssh.options import SshOptions
from foreshock.harness.backends.ssh.remote_node import ALIVE, RemoteNode, folder_of
from foreshock.harness.capabilities import (
    Clock,
    Disk,
    Grudge,
    Kill,
    Partition,
    Pause,
    PowerCut,
    Shape,
    Starve,
    Upgrade,
)
from foreshock.harness.cluster import ClusterSpecification, Node
from foreshock.harness.errors import FaultError

_log = logging.getLogger("foreshock.ssh")
KINDS: Final[Mapping[type[Any], str]] = {
    Kill: "kill",
    Pause: "pause",
    PowerCut: "power",
    Upgrade: "upgrade",
    Disk: "disk",
    Partition: "partition",
    Shape: "packet",
    Clock: "clock",
    Starve: "starve",
}
"""By what name the ledger knows the faults that a capability brings about."""


class SshFaults(HostVersions, HostPackets, SettableClocks, HostDisks, HostResources):
    """Kill, Pause, Partition and Upgrade, beside what is written for every host."""

    specification: ClusterSpecification
    options: SshOptions
    fleet: Fleet
    remotes: Mapping[str, RemoteNode]
    base: str
    """The folder on each host in which the runs have theirs."""
    grouped = False
    """Whether the nodes are in control groups of ours."""

    # --- what a cluster on hosts is ---------------------------------------------------------------------------

    @property
    @abstractmethod
    def nodes(self) -> tuple[Node, ...]:
        """The nodes, in order of index."""

    @property
    def node_names(self) -> tuple[str, ...]:
        """The names of the nodes, in order."""
        return self.specification.node_names

    def host(self, name: str) -> SshHost:
        """The host of a node, as its user; raises ``FaultError`` for a name that is none."""
        return self.fleet.host(name)

    def root(self, name: str) -> RootHost:
        """The host of a node, as root: by sudo where the user is not root himself."""
        return RootHost(self.host(name))

    def address(self, name: str) -> str:
        """The address by which the other nodes reach this one."""
        self.host(name)
        return self.fleet.addresses[name]

    def remote(self, name: str) -> RemoteNode:
        """The node on its host; raises ``FaultError`` for a name that is none."""
        self.host(name)
        return self.remotes[name]

    @property
    def folder(self) -> str:
        """The run's folder on each host."""
        return f"{self.base}/{self.specification.run}"

    @property
    def probe_directory(self) -> str:
        """Where the probe's process has its files."""
        return f"{self.folder}/probe"

    def control_directory(self, name: str) -> str:
        """A folder beside the node's data."""
        return f"{self.node_folder(name)}/control"

    def node_folder(self, name: str) -> str:
        """A node's folder on its host."""
        return folder_of(self.base, self.specification.run, name)

    async def process_on_host(self, name: str) -> int | None:
        """The node's pid on its host."""
        state, about = await self.remote(name).state()
        return int(about) if state in ALIVE else None

    # --- undoing ----------------------------------------------------------------------------------------------

    def undo_script(self, fault: str, name: str) -> str | None:
        """What undoes a fault on one host."""
        match fault:
            case "partition":
                return grudge_rules.remove()
            case "pause":
                return node_scripts.resume(self.node_folder(name))
            case "kill" | "power" | "upgrade":
                return node_scripts.start_if_there(self.node_folder(name), self.specification.run)
            case "starve" if self.wants_groups:
                return _all_of([*self._lift_limits(name), super().undo_script(fault, name)])
        return super().undo_script(fault, name)

    def fault_kinds(self) -> tuple[str, ...]:
        """The kinds of faults, as the ledger has them, that the test can bring about."""
        return tuple(name for kind, name in KINDS.items() if kind in self.specification.needs)

    def steps_back(self, name: str) -> tuple[Step, ...]:
        """What undoes on one host every fault that the test can bring about, whether or not it is in force."""
        kinds = [kind for kind in self.fault_kinds() if kind not in ("kill", "power", "upgrade")]
        if not self.nodes_known:
            kinds = [kind for kind in kinds if kind != "disk"]
        scripts = [(self.needs_root(kind), self.undo_script(kind, name)) for kind in kinds]
        return tuple(Step(root=root, script=script) for root, script in scripts if script is not None)

    def needs_root(self, kind: str) -> bool:
        """Whether only root brings about and undoes faults of this kind."""
        return kind not in BY_USER or (kind == "clock" and self.sets_wall_clocks)

    @property
    def nodes_known(self) -> bool:
        """Whether the hosts have been asked already, so that there are nodes."""
        return bool(self.fleet.addresses)

    # --- Kill and Upgrade -------------------------------------------------------------------------------------

    async def kill(self, nodes: frozenset[str]) -> None:
        """Kill the nodes' process groups and wait until they are gone."""
        await self.fleet.each(nodes, lambda name: self.remote(name).kill())

    async def start(self, nodes: frozenset[str]) -> None:
        """Start the nodes again on the same data; one that runs is left alone."""
        await self.fleet.each(nodes, self.start_node)

    @abstractmethod
    async def start_node(self, name: str) -> None:
        """Start one node unless it runs."""

    async def running(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Whether each node's process exists on its host."""
        return {name: state in ALIVE for name, state in (await self._states_of(nodes)).items()}

    async def upgrade(self, nodes: frozenset[str], version: str) -> None:
        """Kill the nodes, and start each again as another version of its program, on the same data."""
        check_version(version, self.specification.target.versions)
        await self.kill(nodes)
        self.note_versions(dict.fromkeys(nodes, version))
        await self.fleet.each(nodes, self.write_node)
        await self.start(nodes)

    @abstractmethod
    def note_versions(self, versions: Mapping[str, str]) -> None:
        """From now on these nodes are of these versions."""

    @abstractmethod
    async def write_node(self, name: str) -> None:
        """Write down, on its host, how the node is to be started."""

    # --- Pause ------------------------------------------------------------------------------------------------

    def pause_means(self) -> tuple[str, ...]:
        """By what the nodes can be stopped."""
        return ("signal",)

    async def pause(self, nodes: frozenset[str], means: str | None = None) -> None:
        """Stop the nodes' process groups (SIGSTOP)."""
        check_means(means, self.pause_means())
        await self.fleet.each(nodes, lambda name: self.remote(name).pause())

    async def resume(self, nodes: frozenset[str]) -> None:
        """Let the nodes' process groups go on (SIGCONT)."""
        await self.fleet.each(nodes, lambda name: self.remote(name).resume())

    async def paused(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Whether the host sees each node's process stopped."""
        return {name: state == "paused" for name, state in (await self._states_of(nodes)).items()}

    # --- Partition --------------------------------------------------------------------------------------------

    async def cut(self, grudge: Grudge) -> None:
        """Put the grudge's rules into every host at once, in place of those in force; raises ``FaultError``."""
        for receiver, senders in grudge.items():
            for name in (receiver, *sorted(senders)):
                self.host(name)
        await self.fleet.each(
            self.node_names, lambda name: self._refuse_all(name, grudge.get(name, frozenset()))
        )

    async def heard(self, pairs: frozenset[tuple[str, str]]) -> Mapping[tuple[str, str], bool]:
        """Which of the (sender, receiver) pairs of hosts pass one-way datagrams now."""
        return await link_probes.heard(
            self.fleet.hosts, self.fleet.addresses, pairs, directory=self.probe_directory
        )

    # --- Starve -----------------------------------------------------------------------------------------------

    def starve_kinds(self) -> frozenset[str]:
        """All three where nodes have groups; without, only what prlimit(1) does."""
        return frozenset({"files", *(("cpu", "memory") if self.grouped else ())})

    async def limit_group(self, name: str, resource: str, limit: int | None) -> None:
        """Limit the node's group; raises ``FaultError``."""
        if not self.grouped:
            raise FaultError(f"node {name} is in no control group: only where one logs in as root it is")
        change = control_groups.limit_cpu if resource == "cpu" else control_groups.limit_memory
        result = await self.root(name).run(change(self._group(name), limit))
        if result.exit_code:
            raise FaultError(f"the {resource} of node {name} cannot be limited: {result.stderr.strip()}")

    def read_group(self, name: str, pid: int | None) -> str | None:
        """What the kernel shows of the node's group, which is there without its process too."""
        del pid
        return control_groups.read(self._group(name)) if self.grouped else None

    @property
    def wants_groups(self) -> bool:
        """Whether the test is to starve nodes, on hosts where a node may enter a group by itself: as root."""
        users = any(connection.uses_sudo for connection in self.fleet.connections.values())
        return Starve in self.specification.needs and not users

    async def make_groups(self) -> None:
        """Put every node into a group of its own where the test is to starve nodes and every host can have one."""
        if not self.wants_groups:
            return
        made = await self.fleet.each(
            self.node_names, lambda name: self.root(name).run(control_groups.make(self._group(name)))
        )
        failed = {name: result.stderr.strip() for name, result in made.items() if result.exit_code}
        if failed:
            _log.warning("nodes can only be starved of files: %s", failed)
            await self.fleet.each(self.node_names, lambda name: self.root(name).run(self._remove_group()))
        self.grouped = not failed

    def starter(self, name: str) -> Sequence[str]:
        """What the command of a node is put after so that it starts in its group."""
        return control_groups.starter(self._group(name)) if self.grouped else ()

    def last_steps(self, name: str) -> tuple[Step, ...]:
        """What is done on one host when no process of the run is left on it, before its files are removed."""
        steps = []
        if self.wants_disks and self.nodes_known:
            steps.append(Step(root=False, script=self.unmount_script(name)))
        if self.wants_groups:
            steps.append(Step(root=True, script=self._remove_group()))
        return tuple(steps)

    # --- within -----------------------------------------------------------------------------------------------

    async def _refuse_all(self, name: str, senders: frozenset[str]) -> None:
        source, _, _, port = self.fleet.facts[name].connection
        script = grudge_rules.refuse((self.fleet.addresses[s] for s in senders), spared=(source, port))
        result = await self.root(name).run(script)
        if result.exit_code:
            raise FaultError(f"iptables on the host of node {name} failed: {result.stderr.strip()}")

    async def _states_of(self, nodes: frozenset[str]) -> dict[str, str]:
        found = await self.fleet.each(nodes, lambda name: self.remote(name).state())
        return {name: state for name, (state, _) in found.items()}

    def _group(self, name: str) -> str:
        return control_groups.group_of(self.specification.run, name)

    def _remove_group(self) -> str:
        return control_groups.remove(control_groups.group_of_run(self.specification.run))

    def _lift_limits(self, name: str) -> list[str]:
        group = self._group(name)
        return [control_groups.limit_cpu(group, None), control_groups.limit_memory(group, None)]


def inverse_of(cluster: SshFaults, fault: str, nodes: frozenset[str]) -> Mapping[str, Any]:
    """What ``SshBackend.heal`` needs to undo a fault: a script for each host, which the registry of live runs knows."""
    everywhere = fault in ("partition", "packet")
    touched = frozenset(cluster.node_names) if everywhere else nodes
    return {
        "backend": "ssh",
        "fault": fault,
        "run": cluster.specification.run,
        "scripts": cluster.undo_scripts(fault, touched),
        "as_root": cluster.needs_root(fault),
    }


def _all_of(scripts: Sequence[str | None]) -> str:
    """One script that does all of them, each in a shell of its own, and fails where one did."""
    return "".join(f"(\n{script}\n) || exit 1\n" for script in scripts if script is not None)
