"""A process cluster that starts nothing: each start, signal and word to the link proxy is written down."""

from __future__ import annotations

import asyncio
import itertools
import os
import shlex
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from foreshock.harness.backends.mounts import mounts_below
from foreshock.harness.backends.on_hosts.clock_file import Shown
from foreshock.harness.backends.on_hosts.clock_tools import ClockTools
from foreshock.harness.backends.on_hosts.clocks import HostClocks
from foreshock.harness.backends.process.child import Child
from foreshock.harness.backends.process.cluster import PROXY, ProcessCluster
from foreshock.harness.backends.process.host import LocalHost
from foreshock.harness.backends.process.leftovers import DATA, cgroups_of_run
from foreshock.harness.backends.process.links import LinkProxy, further_places, opening, pairs_of
from foreshock.harness.backends.process.ports import PortReservations
from foreshock.harness.backends.process_identity import (
    NODE_VARIABLE,
    ProcessIdentity,
    alive,
    boot,
    machine,
    processes_of_run,
    stopped,
)
from foreshock.harness.capabilities import Link
from foreshock.harness.cluster import ClusterSpecification, Endpoint, Node
from foreshock.harness.errors import FaultError
from foreshock.harness.live_runs import LiveRun
from foreshock.harness.rehearsal.recording import ASSUMED_PID, Command, Recorder, RecordingHost
from foreshock.harness.runtime import Runtime

HERE: Final = "this machine"
_PORTS_FROM: Final = 40_000
"""Ports that stand for those that will be free."""


class RehearsedProcessCluster(ProcessCluster):
    """Deploys nothing, and writes down what would be started, and what each fault would do to it."""

    def __init__(self, specification: ClusterSpecification, runtime: Runtime, recorder: Recorder) -> None:
        super().__init__(specification, runtime)
        self._recorder = recorder
        self._ports = cast(PortReservations, _Ports())

    def host(self, name: str) -> LocalHost:
        """This machine, where nothing is run."""
        return cast(LocalHost, RecordingHost(name, f"{HERE}, for {name}", self._recorder))

    async def deploy(self) -> None:
        """Write down the folders, the link proxy and the nodes."""
        await self._attempt()

    def new_child(self, name: str) -> Child:
        """A process that is never started."""
        index = self.node_names.index(name)
        return RecordingChild(index, name, self._data_root / name, self._log(name), self._recorder)

    def make_shared(self) -> None:
        """Write down the folder that the nodes share."""
        self._recorder.add(HERE, f"mkdir -p {shlex.quote(str(self._shared))}")

    async def start_proxy(
        self, listens: Mapping[str, Endpoint], further: Mapping[str, Mapping[str, Endpoint]]
    ) -> LinkProxy:
        """A link proxy that is never started."""
        return RecordingProxy(listens, self._recorder, self._sources, further)

    def check_port(self, node: Node, found: str) -> None:
        """Its port stands for a free one."""

    async def wait_until_ready(self) -> None:
        """Nobody is to be waited for."""

    async def make_clocks(self) -> None:
        """Write down what is compiled, and the files of the clocks."""
        if self.preloads:
            self._recorder.add(HERE, "(compile the shim that is preloaded, unless it is there)")
        await HostClocks.make_clocks(self)

    def clock_tools(self, name: str) -> ClockTools | None:
        """Where the shim would be."""
        del name
        return ClockTools(shim="clock_shim.so", reader="clock_reader") if self.preloads else None

    async def _clock_command(self, name: str, command: str, *numbers: int) -> Shown:
        words = " ".join([command, *map(str, numbers)])
        self._recorder.add(HERE, f"(in the clock file {self._clock_path(name)}: {words})")
        return Shown(0, 0, 0, 0)

    async def teardown(self) -> None:
        """Write down how everything ends."""
        for child in self._children.values():
            await child.kill()
        if self.wants_disks:
            await self.stop_disks()
        self._recorder.add(HERE, f"(end the {PROXY})")
        self._recorder.add(
            HERE, f"(end every process whose environment has {NODE_VARIABLE}={self.specification.run})"
        )
        await self.remove_groups()
        self._recorder.add(HERE, f"rm -r {shlex.quote(str(self._data_root))}")


class _Ports:
    """Ports that stand for those that will be free."""

    def reserve(self, count: int) -> list[int]:
        return list(range(_PORTS_FROM, _PORTS_FROM + count))


class RecordingChild(Child):
    """A node's process that is never started."""

    def __init__(self, index: int, name: str, folder: Path, log: Path, recorder: Recorder) -> None:
        super().__init__(name, folder, log)
        self._pid = ASSUMED_PID + index
        self._recorder = recorder
        self._runs = False
        self._is_paused = False

    def prepare(self, files: Mapping[str, bytes]) -> None:
        """The folders and files."""
        self._say(f"mkdir -p {self.data} {self.control} {self.log.parent} {self.folder / 'files'}")
        for name, data in files.items():
            self._say(f"(write {len(data)} bytes to {self.folder / 'files' / name}, mode 755)")

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], starter: Sequence[str] = ()
    ) -> None:
        """The command, with the names (not the values) that its environment has beyond that of the harness."""
        if self._runs:
            return
        arguments = list(command)
        if arguments and arguments[0] in ("python3", "python"):
            arguments[0] = sys.executable
        added = [name for name, value in environment.items() if os.environ.get(name) != value]
        with_names = f"  (environment: {', '.join(sorted(added))})" if added else ""
        self._say(
            f"cd {self.data}; setsid {shlex.join([*starter, *arguments])} >>{self.log} 2>&1 &{with_names}"
        )
        self._runs, self._is_paused, self.killed = True, False, False
        self.identity = ProcessIdentity(pid=self._pid, started="rehearsal", place="rehearsal")

    def running(self) -> bool:
        """Whether it would run."""
        return self._runs

    def paused(self) -> bool:
        """Whether it would be stopped."""
        return self._runs and self._is_paused

    def exit_status(self) -> str | None:
        """It does not end by itself."""
        return None

    async def kill(self) -> None:
        """SIGKILL to the process group."""
        if self._runs:
            self.killed = True
            self.signal(signal.SIGKILL)
        self._runs = False

    def signal(self, number: signal.Signals) -> bool:
        """A signal to the process group, whose leader is known by pid and start time."""
        self._say(
            f"kill -{number.name.removeprefix('SIG')} -- -{self._pid}  (the process group of {self.name})"
        )
        self._is_paused = number == signal.SIGSTOP
        return True

    def sweep(self) -> None:
        """Nothing is left."""

    def remove_files(self) -> None:
        """There are none."""

    def _say(self, text: str) -> None:
        self._recorder.add(HERE, text)


class RecordingProxy(LinkProxy):
    """A link proxy that is never started: what it would be told is written down."""

    def __init__(
        self,
        listens: Mapping[str, Endpoint],
        recorder: Recorder,
        sources: Mapping[str, str],
        further: Mapping[str, Mapping[str, Endpoint]],
    ) -> None:
        super().__init__(cast(asyncio.subprocess.Process, None), cast(Any, None), Path(os.devnull))
        self._recorder = recorder
        told, pairs = opening(listens, sources, further), pairs_of(listens)
        ports = itertools.count(_PORTS_FROM + len(listens) * (1 + len(further)))
        self._ports = {pair: (next(ports), next(ports)) for pair in pairs}
        places = (Endpoint(host=link["at"], port=link["target"][1]) for link in told.get("further", ()))
        self._further = further_places(listens, sources, further, places)
        self._recorder.add(HERE, f"{sys.executable} -m foreshock.harness.backends.link_proxy")
        self._fronts = {name: next(ports) for name in sources}
        self._tell(told)

    @property
    def identity(self) -> ProcessIdentity | None:
        """It has no process."""
        return None

    async def reset(self, links: Iterable[Link]) -> dict[Link, int]:
        """Every link had one connection."""
        wanted = sorted(links)
        self._tell({"reset": wanted})
        return dict.fromkeys(wanted, 1)

    async def close(self) -> None:
        """Nothing is open."""

    async def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._tell({key: value for key, value in request.items() if key != "id"})
        return {}

    def _tell(self, request: Mapping[str, Any]) -> None:
        self._recorder.add(PROXY, msgspec.json.encode(request).decode())


def healing_commands(fault: Mapping[str, Any]) -> list[Command]:
    """What healing a fault of a dead run would run on this machine; raises ``FaultError`` on another one."""
    if fault.get("machine", machine()) != machine():
        raise FaultError(f"it was made on the machine {fault['machine']!r}: run foreshock heal there")
    if fault.get("boot", boot()) != boot():
        return []
    commands = [Command(f"{HERE}, for {name}", script.strip()) for name, script in fault["scripts"].items()]
    if fault["fault"] == "pause":
        processes = msgspec.convert(fault["processes"], dict[str, ProcessIdentity])
        commands += [
            Command(HERE, f"kill -CONT -- -{process.pid}  (the process group of {name})")
            for name, process in sorted(processes.items())
            if stopped(process)
        ]
    return commands


def cleaning_commands(run: LiveRun) -> list[Command]:
    """What cleaning would end and remove of a dead run."""
    known = {process.pid: name for name, process in sorted(run.processes.items()) if alive(process)}
    texts = [f"kill -KILL -- -{pid}  (the process group of {name})" for pid, name in known.items()]
    texts += [f"kill -KILL {pid}  (left behind)" for pid in processes_of_run(run.run) if pid not in known]
    folder = Path(run.directory)
    texts += [f"umount -l {shlex.quote(str(point))}" for point in mounts_below(folder)]
    texts += [f"rmdir {shlex.quote(str(group))}" for group in cgroups_of_run(run.run)]
    data = folder / DATA
    if data.is_dir() and not data.is_symlink():
        texts.append(f"rm -r {shlex.quote(str(data))}")
    return [Command(HERE, text) for text in texts]
