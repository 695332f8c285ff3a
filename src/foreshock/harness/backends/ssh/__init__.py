"""The ``ssh`` backend: nodes on hosts that the user names, over one connection a host that is kept open.

Keys, the agent and the user's ssh configuration open hosts, never a password. The client library is imported when it is
first needed, not before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from foreshock.harness import live_runs
from foreshock.harness.backends.on_hosts.clock_kinds import clock_mechanisms
from foreshock.harness.backends.on_hosts.disk_kinds import layer_mechanisms
from foreshock.harness.backends.on_hosts.packet_kinds import packet_mechanisms
from foreshock.harness.backends.ssh.options import SshOptions
from foreshock.harness.capabilities import (
    Clock,
    Disk,
    Kill,
    Partition,
    Pause,
    PowerCut,
    Shape,
    Starve,
    Upgrade,
)
from foreshock.harness.cluster import Cluster, ClusterSpecification
from foreshock.harness.live_runs import LiveRun
from foreshock.harness.runtime import Runtime

if TYPE_CHECKING:
    from foreshock.harness.rehearsal.recording import Command, Recorder


class SshBackend:
    """Nodes on hosts of the user's own."""

    name = "ssh"
    simulated = False
    Options = SshOptions

    def available(self) -> str | None:
        """``None`` on every POSIX system; whether the keys that are here open a host is seen when one is named."""
        if os.name != "posix":
            return "the ssh backend needs a POSIX system: use --backend docker, or sim."
        return None

    def offers(self) -> frozenset[type[Any]]:
        """What hosts that run Linux can carry; whether they do is found out when a test is deployed."""
        return frozenset((Kill, Pause, Partition, Shape, Clock, Disk, PowerCut, Starve, Upgrade))

    def mechanisms(self) -> Mapping[str, str]:
        """By what each kind of fault is carried out here."""
        return {
            "partition": "iptables on the host",
            "kill": "SIGKILL to the process group",
            "pause/signal": "SIGSTOP to the process group",
            **packet_mechanisms(here=False),
            **clock_mechanisms(),
            **layer_mechanisms(),
            "starve/cpu": "a control group, where one logs in as root",
            "starve/memory": "a control group, where one logs in as root",
            "starve/files": "prlimit on the host",
            "upgrade": "the process ended, another version started on the same data",
        }

    def hosts_of(self, options: SshOptions) -> tuple[str, ...]:
        """The hosts that ``ssh.hosts`` names."""
        return tuple(options.places())

    def cluster(self, specification: ClusterSpecification, runtime: Runtime) -> Cluster:
        """Prepare a cluster; nothing is connected yet. Raises ``UsageError`` for hosts that are not known."""
        from foreshock.harness.backends.ssh.cluster import SshCluster
        from foreshock.harness.backends.ssh.places import check_named

        cluster = SshCluster(specification, runtime)
        check_named(cluster.options, cluster.fleet.places)
        return cluster

    def rehearsal(self, specification: ClusterSpecification, runtime: Runtime, recorder: Recorder) -> Cluster:
        """A cluster that only writes down what would be run on which host."""
        from foreshock.harness.backends.ssh.rehearsal import RehearsedSshCluster

        return RehearsedSshCluster(specification, runtime, recorder)

    def healing_commands(self, fault: Mapping[str, Any]) -> list[Command]:
        """What healing the fault would run on which host."""
        from foreshock.harness.backends.ssh.healing import healing_commands

        return healing_commands(fault)

    def cleaning_commands(self, run: str | None) -> dict[str, list[Command]]:
        """What cleaning up after dead runs, or the run named, would run on their hosts, by run."""
        runs = self._runs_of(run)
        if not runs:
            return {}
        from foreshock.harness.backends.ssh.healing import cleaning_commands

        return {found.run: cleaning_commands(found) for found in runs}

    def heal(self, fault: Mapping[str, Any]) -> str:
        """Undo a fault by its inverse, from any process that gets in; raises ``FaultError``."""
        from foreshock.harness.backends.ssh.healing import heal

        return heal(fault)

    def clean(self, run: str | None) -> list[str]:
        """Remove what dead runs, or the run named, left; raises ``PartlyDone`` for hosts that are out of reach."""
        if not self._runs_of(run):
            return []
        from foreshock.harness.backends.ssh.healing import clean

        return clean(run)

    def _runs_of(self, run: str | None) -> list[LiveRun]:
        runs = live_runs.dead_runs() if run is None else live_runs.named_runs(run)
        return [found for found in runs if found.backend == self.name]
