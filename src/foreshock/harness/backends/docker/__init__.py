"""The ``docker`` backend: a node is a pod that owns the network namespace, and a container that joins it.

The node can so be killed and started again while its address, and the rules of a partition, stay. The engine's client
library is imported when it is first needed, not before.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from foreshock.harness.backends.on_hosts.clock_kinds import clock_mechanisms
from foreshock.harness.backends.on_hosts.disk_kinds import layer_mechanisms
from foreshock.harness.backends.on_hosts.packet_kinds import engine_is_here, packet_mechanisms
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
from foreshock.harness.errors import HarnessError
from foreshock.harness.options import Options
from foreshock.harness.runtime import Runtime

if TYPE_CHECKING:
    from foreshock.harness.rehearsal.recording import Command, Recorder


class DockerBackend:
    """Nodes in containers of a Docker engine."""

    name = "docker"
    simulated = False
    Options = Options

    def available(self) -> str | None:
        """``None`` when an engine answers and images can be had, else one sentence with the mend."""
        from foreshock.harness.backends.docker.engine import connect, reason_not_available
        from foreshock.harness.backends.docker.images import reason_no_image

        reason = reason_not_available()
        if reason is not None:
            return reason
        try:
            with contextlib.closing(connect()) as client:
                return reason_no_image(client)
        except HarnessError as error:
            return str(error)

    def offers(self) -> frozenset[type[Any]]:
        """What every engine can carry; Disk and PowerCut where containers can have ``/dev/fuse``."""
        return frozenset(
            (
                Kill,
                Pause,
                Partition,
                Shape,
                Clock,
                Starve,
                Upgrade,
                *((Disk, PowerCut) if _may_have_fuse() else ()),
            )
        )

    def mechanisms(self) -> Mapping[str, str]:
        """By what each kind of fault is carried out here."""
        return {
            "partition": "iptables in the pod's network namespace",
            "kill": "SIGKILL through the engine",
            "pause/freezer": "the engine's freezer",
            "pause/signal": "SIGSTOP from the node's pod to all processes of its container",
            "starve/cpu": "the quota of the container, through the engine",
            "starve/memory": "the limit of the container, swap counted, through the engine",
            "starve/files": "prlimit, from the node's pod",
            "upgrade": "a new container on the same data and address",
            **clock_mechanisms(),
            **packet_mechanisms(here=engine_is_here()),
            **(layer_mechanisms() if _may_have_fuse() else {}),
        }

    def lacks(self) -> Mapping[str, str]:
        """What this machine's engine cannot carry, with the mend."""
        if _may_have_fuse():
            return {}
        return dict.fromkeys(("disk", "power"), "the engine's host has no /dev/fuse: sudo modprobe fuse")

    def cluster(self, specification: ClusterSpecification, runtime: Runtime) -> Cluster:
        """Prepare a cluster; nothing is asked of the engine yet."""
        from foreshock.harness.backends.docker.cluster import DockerCluster

        return DockerCluster(specification, runtime)

    def rehearsal(self, specification: ClusterSpecification, runtime: Runtime, recorder: Recorder) -> Cluster:
        """A cluster that only writes down what the engine and the pods would be told."""
        from foreshock.harness.backends.docker.rehearsal import RehearsedDockerCluster

        return RehearsedDockerCluster(specification, runtime, recorder)

    def healing_commands(self, fault: Mapping[str, Any]) -> list[Command]:
        """What healing the fault would run; raises ``HarnessError`` where the engine does not answer."""
        from foreshock.harness.backends.docker.engine import connect
        from foreshock.harness.backends.docker.rehearsal import healing_commands

        with contextlib.closing(connect()) as client:
            return healing_commands(client, fault)

    def cleaning_commands(self, run: str | None) -> dict[str, list[Command]]:
        """What cleaning would remove, by run; raises ``HarnessError`` where the engine does not answer."""
        from foreshock.harness.backends.docker.engine import connect
        from foreshock.harness.backends.docker.rehearsal import cleaning_commands

        with contextlib.closing(connect()) as client:
            return cleaning_commands(client, run)

    def heal(self, fault: Mapping[str, Any]) -> str:
        """Undo a fault by its inverse, from any process that reaches the engine; raises ``HarnessError``."""
        from foreshock.harness.backends.docker.engine import connect
        from foreshock.harness.backends.docker.healing import heal

        with contextlib.closing(connect()) as client:
            return heal(client, fault)

    def clean(self, run: str | None) -> list[str]:
        """Remove containers, volumes and networks of dead runs, or of the run named, alive or dead."""
        from foreshock.harness.backends.docker.engine import connect
        from foreshock.harness.backends.docker.leftovers import clean

        with contextlib.closing(connect()) as client:
            return clean(client, run)


def _may_have_fuse() -> bool:
    """Whether the engine's host has ``/dev/fuse``, as far as can be told from here; a deployment finds out."""
    elsewhere = sys.platform != "linux" or not os.environ.get("DOCKER_HOST", "unix://").startswith("unix://")
    return elsewhere or os.path.exists("/dev/fuse")  # noqa: PTH110 - asked of every plan, and pathlib is slow to load
