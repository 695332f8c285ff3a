"""The ``process`` backend: nodes are processes of this machine, links go through a proxy that the harness owns.

Needs no privilege and no engine. The parts are imported when a cluster is made, not before.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

import msgspec

from foreshock.harness import live_runs
from foreshock.harness.backends.on_hosts import control_groups
from foreshock.harness.backends.on_hosts.clock_kinds import clock_mechanisms
from foreshock.harness.backends.on_hosts.disk_kinds import layer_mechanisms, reason_no_layer
from foreshock.harness.backends.process.mechanisms import (
    has_environments,
    has_limits,
    resource_mechanisms,
)
from foreshock.harness.backends.process_identity import (
    ProcessIdentity,
    boot,
    machine,
    signal_group,
    stopped,
)
from foreshock.harness.backends.together import each_cleaned
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
from foreshock.harness.errors import FaultError
from foreshock.harness.options import Options
from foreshock.harness.runtime import Runtime

if TYPE_CHECKING:
    from foreshock.harness.backends.process.cluster import ProcessCluster
    from foreshock.harness.rehearsal.recording import Command, Recorder

_HEAL_TIMEOUT_S: Final = 30.0


class ProcessBackend:
    """Nodes as child processes on loopback."""

    name = "process"
    simulated = False
    Options = Options

    def __init__(self) -> None:
        self._clusters: WeakValueDictionary[str, ProcessCluster] = WeakValueDictionary()

    def available(self) -> str | None:
        """``None`` on every POSIX system."""
        if os.name != "posix":
            return "the process backend needs a POSIX system: use --backend docker, or sim."
        return None

    def offers(self) -> frozenset[type[Any]]:
        """What every machine can carry; Disk and PowerCut where this one can have a disk layer, and so on."""
        layered = (Disk, PowerCut) if reason_no_layer() is None else ()
        starving = (Starve,) if has_limits() or control_groups.usable() else ()
        versions = (Upgrade,) if has_environments() else ()
        return frozenset((Kill, Pause, Partition, Shape, Clock, *layered, *starving, *versions))

    def mechanisms(self) -> Mapping[str, str]:
        """By what each kind of fault is carried out here."""
        return {
            "partition": "link proxies",
            "kill": "SIGKILL to the process group",
            "pause/signal": "SIGSTOP to the process group",
            **resource_mechanisms(),
            **clock_mechanisms(),
            "packet/delay": "link proxies",
            "packet/loss": "link proxies, by the time of a retransmission",
            "packet/rate": "link proxies",
            "packet/reset": "link proxies",
            **(layer_mechanisms() if reason_no_layer() is None else {}),
        }

    def lacks(self) -> Mapping[str, str]:
        """What this machine cannot carry, with the mend."""
        found: dict[str, str] = {}
        if (reason := reason_no_layer()) is not None:
            found |= dict.fromkeys(("disk", "power"), reason)
        if not control_groups.usable():
            groups = "control groups cannot be made here: run as root, or use --backend docker"
            found |= dict.fromkeys(("starve/cpu", "starve/memory", "pause/freezer"), groups)
        if not has_limits():
            found["starve/files"] = "prlimit is missing: sudo apt install util-linux"
        return found

    def cluster(self, specification: ClusterSpecification, runtime: Runtime) -> Cluster:
        """Prepare a cluster; raises ``UsageError`` when a program that the target needs is not here."""
        from foreshock.harness.backends.process.cluster import ProcessCluster

        cluster = ProcessCluster(specification, runtime)
        self._clusters[specification.run] = cluster
        return cluster

    def rehearsal(self, specification: ClusterSpecification, runtime: Runtime, recorder: Recorder) -> Cluster:
        """A cluster that only writes down what would be started, signalled and told."""
        from foreshock.harness.backends.process.rehearsal import RehearsedProcessCluster

        return RehearsedProcessCluster(specification, runtime, recorder)

    def healing_commands(self, fault: Mapping[str, Any]) -> list[Command]:
        """What healing the fault of a dead run would run."""
        from foreshock.harness.backends.process.rehearsal import healing_commands

        return healing_commands(fault)

    def cleaning_commands(self, run: str | None) -> dict[str, list[Command]]:
        """What cleaning would end and remove, by run."""
        from foreshock.harness.backends.process.rehearsal import cleaning_commands

        runs = live_runs.dead_runs() if run is None else live_runs.named_runs(run)
        return {found.run: cleaning_commands(found) for found in runs if found.backend == self.name}

    def heal(self, fault: Mapping[str, Any]) -> str:
        """Undo a fault by its inverse: through the cluster when its harness is this process, else by signals.

        Blocks; within a live test call it in a thread. Raises ``FaultError``.
        """
        cluster = self._clusters.get(str(fault["run"]))
        if cluster is not None and cluster.loop is not None and cluster.loop.is_running():
            return _heal_live(cluster, fault)
        return _heal_dead(fault)

    def clean(self, run: str | None) -> list[str]:
        """Remove what dead runs, or the run named, left: processes, mounts, control groups, the data of nodes."""
        from foreshock.harness.backends.process.leftovers import clean_run

        runs = live_runs.dead_runs() if run is None else live_runs.named_runs(run)
        mine = {found.run: found for found in runs if found.backend == self.name}
        return each_cleaned(mine, lambda name: clean_run(mine[name]))


def _heal_live(cluster: ProcessCluster, fault: Mapping[str, Any]) -> str:
    nodes = frozenset(fault["processes"])
    names = ", ".join(sorted(nodes))
    said = _run_scripts(fault)

    def wait_for(step: Coroutine[Any, Any, None]) -> None:
        if cluster.loop is None:
            raise FaultError("the cluster is not deployed")
        asyncio.run_coroutine_threadsafe(step, cluster.loop).result(_HEAL_TIMEOUT_S)

    match fault["fault"]:
        case "partition":
            wait_for(cluster.cut({}))
            said.append("all links are open")
        case "packet":
            wait_for(cluster.shape({}))
            said.append("no link is shaped")
        case "pause":
            wait_for(cluster.resume(nodes))
            said.append(f"resumed {names}")
        case "kill" | "power" | "upgrade":
            wait_for(cluster.start(nodes))
            said.append(f"started {names}")
    return _what_was_done(said, fault)


def _heal_dead(fault: Mapping[str, Any]) -> str:
    """The harness is gone, and with it its link proxy: stopped processes can still be helped, and what scripts undo."""
    made_on, made_in = fault.get("machine", machine()), fault.get("boot", boot())
    if made_on != machine():
        raise FaultError(f"it was made on the machine {made_on!r}: run foreshock heal there")
    if made_in != boot():
        return "nothing to do: it ended when this machine was started again"
    said = _run_scripts(fault)
    match fault["fault"]:
        case "partition" | "packet":
            said = said or ["nothing to do: the link proxy ended with its harness"]
        case "kill" | "power" | "upgrade":
            said = said or ["nothing to do: a node is not started again without its harness"]
        case "pause":
            processes = msgspec.convert(fault["processes"], dict[str, ProcessIdentity])
            resumed = [
                name
                for name, process in sorted(processes.items())
                if stopped(process) and signal_group(process, signal.SIGCONT)
            ]
            said += [f"resumed {', '.join(resumed)}"] if resumed else []
            said = said or ["nothing to do: no node is stopped"]
    return _what_was_done(said, fault)


def _what_was_done(said: list[str], fault: Mapping[str, Any]) -> str:
    if not said:
        raise FaultError(f"the process backend knows no fault {fault['fault']!r}")
    return ", ".join(said)


def _run_scripts(fault: Mapping[str, Any]) -> list[str]:
    """Undo what scripts undo, on this machine, and say so; each is tried, then what failed is raised."""
    scripts: Mapping[str, str] = fault.get("scripts", {})
    failed = []
    for name, script in scripts.items():
        what = f"the script that undoes {fault['fault']} of node {name}"
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", script],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_HEAL_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            failed.append(f"{what} did not end within {_HEAL_TIMEOUT_S:g} s")
        else:
            if done.returncode:
                failed.append(f"{what} failed: {done.stderr.strip()}")
    if failed:
        raise FaultError("; ".join(failed))
    return [f"{fault['fault']} undone on {', '.join(scripts)}"] if scripts else []
