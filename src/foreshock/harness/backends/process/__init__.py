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
from foreshock.harness.backends.process_identity import (
    ProcessIdentity,
    end_processes_of_run,
    signal_group,
    stopped,
)
from foreshock.harness.capabilities import Kill, Partition, Pause
from foreshock.harness.cluster import Cluster, ClusterSpecification
from foreshock.harness.errors import FaultError
from foreshock.harness.live_runs import LiveRun
from foreshock.harness.options import Options
from foreshock.harness.runtime import Runtime

if TYPE_CHECKING:
    from foreshock.harness.backends.process.cluster import ProcessCluster

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
        """Kill, Pause and Partition."""
        return frozenset((Kill, Pause, Partition))

    def mechanisms(self) -> Mapping[str, str]:
        """By what each kind of fault is carried out here."""
        return {
            "partition": "link proxies",
            "kill": "SIGKILL to the process group",
            "pause/signal": "SIGSTOP to the process group",
        }

    def cluster(self, specification: ClusterSpecification, runtime: Runtime) -> Cluster:
        """Prepare a cluster; raises ``UsageError`` when a program that the target needs is not here."""
        from foreshock.harness.backends.process.cluster import ProcessCluster

        cluster = ProcessCluster(specification, runtime)
        self._clusters[specification.run] = cluster
        return cluster

    def heal(self, fault: Mapping[str, Any]) -> str:
        """Undo a fault by its inverse: through the cluster when its harness is this process, else by signals.

        Blocks; within a live test call it in a thread. Raises ``FaultError``.
        """
        cluster = self._clusters.get(str(fault["run"]))
        if cluster is not None and cluster.loop is not None and cluster.loop.is_running():
            return _heal_live(cluster, fault)
        return _heal_dead(fault)

    def clean(self, run: str | None) -> list[str]:
        """End the processes of dead runs, or of the run named (alive or dead), and forget the runs."""
        runs = live_runs.dead_runs() if run is None else live_runs.named_runs(run)
        return [line for found in runs if found.backend == self.name for line in _clean_run(found)]


def _heal_live(cluster: ProcessCluster, fault: Mapping[str, Any]) -> str:
    nodes = frozenset(fault["processes"])

    def wait_for(step: Coroutine[Any, Any, None]) -> None:
        if cluster.loop is None:
            raise FaultError("the cluster is not deployed")
        asyncio.run_coroutine_threadsafe(step, cluster.loop).result(_HEAL_TIMEOUT_S)

    match fault["fault"]:
        case "partition":
            wait_for(cluster.cut({}))
            return "all links are open"
        case "pause":
            wait_for(cluster.resume(nodes))
            return f"resumed {', '.join(sorted(nodes))}"
        case "kill":
            wait_for(cluster.start(nodes))
            return f"started {', '.join(sorted(nodes))}"
    return _run_scripts(fault)


def _run_scripts(fault: Mapping[str, Any]) -> str:
    """Undo what scripts undo, on this machine."""
    scripts: Mapping[str, str] = fault.get("scripts", {})
    if not scripts:
        raise FaultError(f"the process backend knows no fault {fault['fault']!r}")
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
            raise FaultError(f"{what} did not end within {_HEAL_TIMEOUT_S:g} s") from None
        if done.returncode:
            raise FaultError(f"{what} failed: {done.stderr.strip()}")
    return f"{fault['fault']} undone on {', '.join(scripts)}"


def _heal_dead(fault: Mapping[str, Any]) -> str:
    """The harness is gone, and with it its link proxy: only a stopped process can still be helped."""
    match fault["fault"]:
        case "partition":
            return "nothing to do: the link proxy ended with its harness"
        case "kill":
            return "nothing to do: a node is not started again without its harness"
        case "pause":
            processes = msgspec.convert(fault["processes"], dict[str, ProcessIdentity])
            resumed = [
                name
                for name, process in sorted(processes.items())
                if stopped(process) and signal_group(process, signal.SIGCONT)
            ]
            return f"resumed {', '.join(resumed)}" if resumed else "nothing to do: no node is stopped"
    return _run_scripts(fault)


def _clean_run(run: LiveRun) -> list[str]:
    ended = {
        process.pid: name
        for name, process in sorted(run.processes.items())
        if signal_group(process, signal.SIGKILL)
    }
    others = [pid for pid in end_processes_of_run(run.run) if pid not in ended]
    live_runs.forget(run.run)
    return [
        *(f"run {run.run}: ended {name} (process {pid})" for pid, name in ended.items()),
        *(f"run {run.run}: ended process {pid}, which it left behind" for pid in others),
    ]
