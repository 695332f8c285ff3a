"""A cluster whose nodes are child processes on loopback, with a link proxy between each pair."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

import msgspec

from foreshock.harness import live_runs
from foreshock.harness.backends.link_proxy.owners import SENDER_VARIABLE
from foreshock.harness.backends.on_hosts.disks import HostDisks
from foreshock.harness.backends.on_hosts.versions import VERSION_VARIABLE, HostVersions, check_version
from foreshock.harness.backends.process.child import LOG_NAME, Child
from foreshock.harness.backends.process.clocks import LocalClocks
from foreshock.harness.backends.process.host import LocalHost, copy_tail
from foreshock.harness.backends.process.links import LinkProxy
from foreshock.harness.backends.process.ports import LOOPBACK, PortReservations, port_is_free
from foreshock.harness.backends.process.resources import ChildResources
from foreshock.harness.backends.process.shaping import ProxyShaping
from foreshock.harness.backends.process_identity import (
    NODE_VARIABLE,
    boot,
    end_processes_of_run,
    identify,
    machine,
)
from foreshock.harness.backends.readiness import NodeExited, wait_until_ready
from foreshock.harness.backends.together import try_all
from foreshock.harness.capabilities import Grudge
from foreshock.harness.cluster import ClusterSpecification, Endpoint, FurtherPort, Node
from foreshock.harness.errors import DeployError, FaultError, HarnessError, NotAvailable
from foreshock.harness.live_runs import LiveRunEntry
from foreshock.harness.runtime import Runtime
from foreshock.harness.target import Target

_log = logging.getLogger(__name__)
_ATTEMPTS: Final = 3
_LOG_BYTES_MAX: Final = 64 << 20
_SOURCES_FROM: Final = IPv4Address("127.0.1.1")
PROXY: Final = "link-proxy"
"""The name of the link proxy among the processes of a live run."""


class PortTakenError(DeployError):
    """Somebody else took a port between our probe and the node's start."""


class ProcessCluster(ChildResources, HostVersions, LocalClocks, HostDisks, ProxyShaping):
    """The nodes of one test as processes of this machine."""

    python = sys.executable

    def __init__(self, specification: ClusterSpecification, runtime: Runtime) -> None:
        self.specification = specification
        self.target: Target[Any] = specification.target
        self.loop: asyncio.AbstractEventLoop | None = None
        self._runtime = runtime
        self._directory = specification.directory.resolve()
        self._nodes: tuple[Node, ...] = ()
        self._children: dict[str, Child] = {}
        self._ports = PortReservations()
        self._proxy: LinkProxy | None = None
        self._entry: LiveRunEntry | None = None
        for binary in self.target.binaries:
            if shutil.which(binary) is None and not _is_there(binary):
                packages = " ".join(self.target.packages)
                mend = f"install it (on Debian: apt-get install {packages})" if packages else "install it"
                raise NotAvailable(
                    f"the program {binary!r} is not {'here' if '/' in binary else 'on the PATH'}, and the target "
                    f"needs it to run as a process: {mend}, or use --backend docker"
                )
        if self.target.tells_addresses and sys.platform != "linux":
            raise NotAvailable(
                "the target's nodes tell each other their addresses, and links between processes can then only tell "
                "who connects on Linux: use --backend docker"
            )
        self.check_clocks()

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
        """All nodes are at the loopback address; their links differ by port."""
        self.child(name)
        return LOOPBACK

    def control_directory(self, name: str) -> str:
        """A folder beside the node's data."""
        return str(self.child(name).control)

    async def process_on_host(self, name: str) -> int | None:
        """The node's pid."""
        child = self.child(name)
        return child.identity.pid if child.identity is not None and child.running() else None

    def host(self, name: str) -> LocalHost:
        """This machine as the host of the node; raises ``FaultError`` for a name that is none."""
        return LocalHost(name, self.child(name).folder, {NODE_VARIABLE: self.specification.run})

    async def deploy(self) -> None:
        """Start the link proxy and every node, and wait until all are ready; raises ``DeployError``.

        A port that somebody else took meanwhile costs another attempt with other ports.
        """
        self.loop = asyncio.get_running_loop()
        run = self.specification.run
        self._entry = live_runs.register(run, backend="process", directory=self._directory)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._attempt()
            except PortTakenError as error:
                await self._stop_all()
                if attempt == _ATTEMPTS:
                    raise
                _log.warning("%s; trying other ports", error)
            else:
                return

    async def fetch_logs(self, directory: Path) -> None:
        """Copy each node's log to ``directory/<node>/`` unless it is written there already."""
        for child in self._children.values():
            await asyncio.to_thread(_copy_log, child, directory)

    async def teardown(self) -> None:
        """End every process of the run and remove its data; the logs stay. Idempotent."""
        await self._stop_all()
        if self._children:
            await asyncio.to_thread(end_processes_of_run, self.specification.run)
            await self.remove_groups()
        for child in self._children.values():
            child.remove_files()
        _remove_folder(self._shared)
        if self._data_root.exists() and not any(self._data_root.iterdir()):
            self._data_root.rmdir()
        if self._entry is not None:
            self._entry.close()

    async def states(self) -> Mapping[str, str]:
        """The state of each node, for the live view."""
        return {name: child.state() for name, child in self._children.items()}

    def inverse(self, fault: str, nodes: frozenset[str]) -> Mapping[str, Any]:
        """What ``ProcessBackend.heal`` needs to undo the fault."""
        processes = {
            name: child.identity for name, child in self._children.items() if name in nodes and child.identity
        }
        return {
            "backend": "process",
            "fault": fault,
            "run": self.specification.run,
            "machine": machine(),
            "boot": boot(),
            "processes": {
                name: {"pid": identity.pid, "started": identity.started, "place": identity.place}
                for name, identity in sorted(processes.items())
            },
            "scripts": self.undo_scripts(fault, nodes),
        }

    # --- Kill ---------------------------------------------------------------------------------------------

    async def kill(self, nodes: frozenset[str]) -> None:
        """Kill the nodes' process groups and wait until they are gone."""
        await try_all([self._kill(name) for name in sorted(nodes)])

    async def start(self, nodes: frozenset[str]) -> None:
        """Start the nodes again on the same data and ports; one that runs is left alone."""
        for node in self.nodes:
            if node.name in nodes:
                self._start(node)
        self._register_processes()

    async def upgrade(self, nodes: frozenset[str], version: str) -> None:
        """Kill the nodes, and start each again as another version of its program, on the same data and port."""
        check_version(version, self.target.versions)
        await self.kill(nodes)
        self._nodes = tuple(
            msgspec.structs.replace(node, version=version) if node.name in nodes else node
            for node in self.nodes
        )
        await self.start(nodes)

    async def running(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Whether each node's process exists."""
        return {name: self.child(name).running() for name in sorted(nodes)}

    # --- Partition ----------------------------------------------------------------------------------------

    async def cut(self, grudge: Grudge) -> None:
        """Stall the links that the grudge names, and no others."""
        for receiver, senders in grudge.items():
            for name in (receiver, *sorted(senders)):
                self.child(name)
        await self.links().cut(grudge)

    async def heard(self, pairs: frozenset[tuple[str, str]]) -> Mapping[tuple[str, str], bool]:
        """Which of the (sender, receiver) links relay datagrams now."""
        return await self.links().heard(pairs)

    # --- within ---------------------------------------------------------------------------------------------

    @property
    def _data_root(self) -> Path:
        return self._directory / "data"

    @property
    def _sources(self) -> Mapping[str, str]:
        """The loopback address from which each node must connect, where that is how links tell senders apart."""
        names = self.specification.node_names if self.target.tells_addresses else ()
        return {name: str(_SOURCES_FROM + index) for index, name in enumerate(names)}

    @property
    def _shared(self) -> Path:
        """The directory that all nodes share. A node's name has no dot, so it is none of theirs."""
        return self._data_root / "shared.directory"

    def child(self, name: str) -> Child:
        """The process of a node; raises ``FaultError`` for a name that is none."""
        try:
            return self._children[name]
        except KeyError:
            raise FaultError(f"there is no node {name!r} (known: {', '.join(self._children)})") from None

    def links(self) -> LinkProxy:
        """The link proxy; raises ``HarnessError`` while it does not run."""
        if self._proxy is None:
            raise HarnessError("the links between the nodes are not up: the cluster is not deployed")
        return self._proxy

    async def _attempt(self) -> None:
        names = self.specification.node_names
        self._children = {name: self.new_child(name) for name in names}
        if self.target.shared_directory:
            self.make_shared()
        files = self.target.files()
        for child in self._children.values():
            child.prepare(files)
        await self.make_groups()
        # The ports of the nodes, then those of each further kind.
        kinds = tuple(self.target.further_ports)
        ports = [Endpoint(host=LOOPBACK, port=p) for p in self._ports.reserve(len(names) * (1 + len(kinds)))]
        listens = dict(zip(names, ports, strict=False))
        further = {
            kind: dict(zip(names, ports[number * len(names) :], strict=False))
            for number, kind in enumerate(kinds, 1)
        }
        proxy = self._proxy = await self.start_proxy(listens, further)
        self._nodes = tuple(
            Node(
                name=name,
                index=index,
                endpoint=listens[name],
                listen=listens[name],
                peers={peer: proxy.endpoint(name, peer) for peer in names if peer != name},
                address=proxy.front(name),
                source=self._sources.get(name),
                data_directory=str(self._children[name].data),
                cluster=self.specification.run,
                shared_directory=str(self._shared) if self.target.shared_directory else None,
                version=next(iter(self.target.versions), None),
                clock_file=self.clock_file_of(name),
                further={
                    kind: FurtherPort(
                        endpoint=at[name],
                        listen=at[name],
                        peers={peer: proxy.endpoint(name, peer, kind) for peer in names if peer != name},
                        address=proxy.front(name, kind),
                    )
                    for kind, at in further.items()
                },
            )
            for index, name in enumerate(names)
        )
        await self.make_clocks()
        if self.wants_disks:
            await self.start_disks()
        for node in self._nodes:
            # A stranger's listener would answer the first question whether the node is ready.
            self.check_port(node, "it is in use")
            self._start(node)
        self._register_processes()
        await self.wait_until_ready()

    # --- what a rehearsal does otherwise ------------------------------------------------------------------------

    def new_child(self, name: str) -> Child:
        """The process of a node, before it is started."""
        return Child(name, self._data_root / name, self._log(name))

    def make_shared(self) -> None:
        """Make the directory that the nodes share; raises ``DeployError``."""
        _make_folder(self._shared)

    async def start_proxy(
        self, listens: Mapping[str, Endpoint], further: Mapping[str, Mapping[str, Endpoint]]
    ) -> LinkProxy:
        """Start the link proxy; raises ``HarnessError``."""
        environment = {**os.environ, NODE_VARIABLE: self.specification.run}
        log = self._directory / f"{PROXY}.log"
        return await LinkProxy.start(listens, log, environment, self._sources, further)

    async def wait_until_ready(self) -> None:
        """Wait until every node is; raises ``DeployError``."""

        async def exited(name: str) -> str | None:
            return self.child(name).exit_status()

        async def read_log(name: str) -> str:
            return self.child(name).log_tail()

        try:
            await wait_until_ready(
                self._nodes,
                lambda node: self.target.ready(node, self._runtime),
                self._runtime,
                timeout_ms=self.specification.ready_timeout_ms,
                exited=exited,
                read_log=read_log,
            )
        except NodeExited as error:
            self.check_port(next(node for node in self._nodes if node.name == error.node), str(error))
            raise

    def _log(self, name: str) -> Path:
        return self._directory / "nodes" / name / LOG_NAME

    def check_port(self, node: Node, found: str) -> None:
        """Raises ``PortTakenError`` when somebody else has the node's port."""
        for place in (node.listen, *(port.listen for port in node.further.values())):
            if not port_is_free(place.port):
                raise PortTakenError(
                    f"port {place.port} of node {node.name} was taken by another process: {found}"
                )

    def _start(self, node: Node) -> None:
        environment = {
            **os.environ,
            **self.target.environment(node),
            NODE_VARIABLE: self.specification.run,
            **({} if node.version is None else {VERSION_VARIABLE: node.version}),
            **({} if node.source is None else {SENDER_VARIABLE: node.name}),
        }
        environment |= self.clock_environment(self.clock_tools(node.name), node.name, environment)
        command, starter = self.target.command(node), self.starter(node.name)
        self.child(node.name).start(command, environment, starter)

    async def _kill(self, name: str) -> None:
        await self.thaw(name)
        await self.child(name).kill()

    def _register_processes(self) -> None:
        if self._entry is None:
            return
        processes = {name: child.identity for name, child in self._children.items()}
        processes[PROXY] = None if self._proxy is None else self._proxy.identity
        processes.update({f"{name}.disk": identify(pid) for name, pid in self._layers.items()})
        self._entry.started({name: identity for name, identity in processes.items() if identity is not None})

    async def _stop_all(self) -> None:
        stubborn = []
        for child in self._children.values():
            try:
                await self._kill(child.name)
            except HarnessError as error:
                stubborn.append(str(error))
            child.sweep()
        if self._nodes:
            try:
                await self.stop_disks()
            except HarnessError as error:
                stubborn.append(str(error))
        if self._proxy is not None:
            await self._proxy.close()
            self._proxy = None
        self._ports.release()
        if stubborn:
            raise HarnessError("; ".join(stubborn))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DeployError(f"the directory that the nodes share cannot be made: {error}") from error


def _remove_folder(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HarnessError(f"the directory that the nodes share cannot be removed: {error}") from error


def _copy_log(child: Child, directory: Path) -> None:
    destination = directory.resolve() / child.name / LOG_NAME
    if destination == child.log or not child.log.exists():
        return
    destination.parent.mkdir(parents=True, exist_ok=True)
    copy_tail(child.log, destination, _LOG_BYTES_MAX)


def _is_there(path: str) -> bool:
    """Whether there is such a file; its path, from the root, may have a ``*`` in it."""
    return path.startswith("/") and any(Path("/").glob(path.lstrip("/")))
