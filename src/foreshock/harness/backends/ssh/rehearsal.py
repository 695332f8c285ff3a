"""An ssh cluster that connects to nothing: each script is written down, with the host that would run it, as whom."""

from __future__ import annotations

from typing import Final, cast

from foreshock.harness.backends.on_hosts.clock_tools import ClockTools
from foreshock.harness.backends.on_hosts.packet_disciplines import HTB, NETEM
from foreshock.harness.backends.on_hosts.packet_rules import SS, find_means
from foreshock.harness.backends.ssh import node_scripts
from foreshock.harness.backends.ssh.cluster import SshCluster
from foreshock.harness.backends.ssh.facts import Facts, facts_script
from foreshock.harness.backends.ssh.host import SshHost
from foreshock.harness.backends.ssh.places import Place
from foreshock.harness.capabilities import Partition
from foreshock.harness.cluster import ClusterSpecification
from foreshock.harness.host import HostResult
from foreshock.harness.rehearsal.recording import ASSUMED_PID, Recorder, RecordingHost
from foreshock.harness.runtime import Runtime

_ADDRESSES: Final = "192.0.2."
"""Of a network that is for documentation alone (RFC 5737); the harness is assumed to be at its end."""


class RehearsedSshCluster(SshCluster):
    """Deploys nothing, and writes down what a deployment and each fault would run on which host."""

    def __init__(self, specification: ClusterSpecification, runtime: Runtime, recorder: Recorder) -> None:
        super().__init__(specification, runtime)
        self._recorder = recorder
        for name, place in self.fleet.places.items():
            self.fleet.hosts[name] = cast(SshHost, _RecordingSshHost(place, recorder))

    async def process_on_host(self, name: str) -> int | None:
        """A pid that stands for the one to come."""
        return ASSUMED_PID + self.node_names.index(name)

    async def find_packet_means(self) -> None:
        """All that a kernel can have is assumed to be there."""
        for name in self.node_names:
            await self.root(name).run(find_means())
        self._packets.means = dict.fromkeys(self.node_names, frozenset({HTB, NETEM, SS}))

    async def make_tools(self, name: str) -> ClockTools:
        """Where the shim would be."""
        folder = f"{self.control_directory(name)}/clock-tools"
        self._recorder.add(self.fleet.places[name].shown, f"(compile the clock shim in {folder})")
        return ClockTools.inside(folder)

    async def deploy(self) -> None:
        """Write down what is looked at, made and started."""
        for index, name in enumerate(self.node_names, start=1):
            await self.host(name).run(facts_script(self.target.binaries, self.target.packages))
            self.fleet.facts[name] = _assumed(self.options.reached_at().get(name, f"{_ADDRESSES}{index}"))
            self.fleet.addresses[name] = self.fleet.facts[name].connection[2]
        self._make_nodes()
        for name in self.node_names:
            await self._prepare(name)
        await self._prepare_faults()
        for name in self.node_names:
            await self.write_node(name)
            await self.start_node(name)

    async def _check_links(self) -> None:
        if Partition in self.specification.needs:
            await self.cut({})

    async def teardown(self) -> None:
        """Write down what is undone, ended and removed."""
        run = self.specification.run
        for name in self.node_names:
            host, root = self.host(name), self.root(name)
            for step in self.steps_back(name):
                await (root if step.root else host).run(step.script)
            await host.run(node_scripts.end_processes(run))
            for step in self.last_steps(name):
                await (root if step.root else host).run(step.script)
            await host.run(node_scripts.remove_files(self.base, run))


class _RecordingSshHost(RecordingHost):
    """Writes down also what root would run."""

    def __init__(self, place: Place, recorder: Recorder) -> None:
        super().__init__(place.node, f"{place.node} (ssh {place.shown})", recorder)
        self._as_root = RecordingHost(place.node, f"{place.node} (ssh {place.shown}, as root)", recorder)

    @property
    def lost(self) -> bool:
        """It never is."""
        return False

    async def run_as_root(self, script: str, *, timeout_ms: int = 10_000) -> HostResult:
        """Write the script down."""
        return await self._as_root.run(script, timeout_ms=timeout_ms)

    async def upload_as_root(self, data: bytes, remote_path: str, *, mode: int) -> None:
        """Write down which file would be put where."""
        await self._as_root.upload(data, remote_path, mode=mode)


def _assumed(address: str) -> Facts:
    return Facts(
        boot="assumed",
        user_id=0,
        system="Linux",
        python="3.11",
        connection=(f"{_ADDRESSES}254", 50_000, address, 22),
        gateways=frozenset(),
        missing_programs=(),
        missing_packages=(),
    )
