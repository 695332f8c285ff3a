"""What the disks of nodes on hosts do: a layer that can fail, and forget what was not synced, under a node's data."""

from __future__ import annotations

import importlib.util
import io
import secrets
import shlex
import zipfile
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import ClassVar, Final, cast

import msgspec

from foreshock.harness.backends.on_hosts.base import HostCluster
from foreshock.harness.backends.on_hosts.disk_kinds import KINDS
from foreshock.harness.backends.process_identity import NODE_VARIABLE
from foreshock.harness.backends.together import try_all
from foreshock.harness.capabilities import Disk, DiskFault, DiskReading, Kill, PowerCut
from foreshock.harness.cluster import ClusterSpecification, Node
from foreshock.harness.errors import DeployError, FaultError, HarnessError

PACKAGES: Final = ("libfuse2",)
"""What a Debian-like host needs beside Python."""
MEDIUM_SUFFIX: Final = ".medium"
"""Where a node's data really is: beside its data directory, under its name and this."""
CONTROL: Final = ".foreshock-disk"
UNSYNCED: Final = ".foreshock-unsynced"
_LOG: Final = "disk_layer.log"
_ARCHIVE: Final = "disks.pyz"
_PACKAGE: Final = "foreshock.harness.backends.on_hosts"
_PROGRAMS: Final = ("disk_layer", "unsynced_writes", "bit_flips", "disk_probe")
_MAIN: Final = f"""\
import sys
if sys.argv[1] == "probe":
    from {_PACKAGE}.disk_probe import main
else:
    from {_PACKAGE}.disk_layer import main
main(sys.argv[2:])
"""
_START_TIMEOUT_MS: Final = 90_000
_TIMEOUT_MS: Final = 60_000

_START: Final = """\
mkdir -p {medium} {mount} || exit 1
{variable}={run} setsid {programs} layer {medium} {mount} {name} {seed} </dev/null >{log} 2>&1 &
layer=$!
left=1000
until [ -e {control} ]; do
  left=$((left - 1))
  if [ $left -eq 0 ] || ! kill -0 $layer 2>/dev/null; then tail -n 3 {log} >&2; exit 1; fi
  sleep 0.05
done
echo $layer
"""
# An opened file's pages are read anew: what the kernel had kept of them, flipped or not, is forgotten.
_FORGET_PAGES: Final = "find {mount} -xdev -type f -exec head -qc0 {{}} + 2>/dev/null; true"
_UNMOUNT: Final = """\
if grep -qF {name} /proc/mounts; then
  umount {mount} 2>/dev/null || fusermount -u {mount} 2>/dev/null || umount -l {mount} || fusermount -uz {mount}
fi
"""


def programs() -> bytes:
    """What runs on hosts, as one archive that Python runs. Raises ``DeployError`` when a part of it is missing."""
    binding = importlib.util.find_spec("mfusepy")
    if binding is None or binding.origin is None:
        raise DeployError("the disk layer needs the Python package mfusepy: pip install mfusepy")
    folder = resources.files(_PACKAGE)
    parts = {"__main__.py": _MAIN.encode(), "mfusepy.py": Path(binding.origin).read_bytes()}
    path = ""
    for package in _PACKAGE.split("."):
        path += f"{package}/"
        parts[f"{path}__init__.py"] = b""
    for name in _PROGRAMS:
        parts[f"{path}{name}.py"] = (folder / f"{name}.py").read_bytes()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in parts.items():
            file.writestr(name, data)
    return archive.getvalue()


def mount_name(run: str, node: str) -> str:
    """What a mount of ours is called in ``/proc/mounts``."""
    return f"foreshock:{run}:{node}"


class HostDisks(HostCluster):
    """A disk layer under the data of each node, once :meth:`start_disks` has put it there. Offers Disk and PowerCut."""

    specification: ClusterSpecification
    python: ClassVar[str] = "python3"
    """The interpreter that runs the layer on a host."""
    _layers: Mapping[str, int] = {}
    """The pid of each node's layer, as its host counts; none where no layer was started."""
    _cuts = 0
    _tokens: Mapping[str, str] = {}
    """What was written to each node's disk, and not synced, before its power was cut last."""

    @property
    @abstractmethod
    def nodes(self) -> tuple[Node, ...]:
        """The nodes, in order of index."""

    @property
    def wants_disks(self) -> bool:
        """Whether the test's faults need the layer; without it a node's data lies on its host's disk as ever."""
        return bool(self.specification.needs & {Disk, PowerCut})

    async def start_disks(self) -> Mapping[str, int]:
        """Put a layer under the data of every node, before the nodes start; returns the pids of the layers.

        Raises ``DeployError``.
        """
        archive = programs()
        started = await try_all([self._start_disk(name, archive) for name in self.node_names])
        self._layers = dict(zip(self.node_names, started, strict=True))
        return self._layers

    async def stop_disks(self) -> None:
        """Unmount every layer, which ends it; also one whose start failed. Idempotent; raises ``HarnessError``."""
        self._layers = {}
        if self.wants_disks:
            scripts = {node.name: self.unmount_script(node.name) for node in self.nodes}
            await try_all([self._run_for_disk(name, script) for name, script in scripts.items()])

    def unmount_script(self, name: str) -> str:
        """The script that unmounts the node's layer if it is mounted, from any process of its host."""
        fsname = f"{mount_name(self.specification.run, name)} "
        return _UNMOUNT.format(name=shlex.quote(fsname), mount=shlex.quote(self._mount(name)))

    def undo_script(self, fault: str, name: str) -> str | None:
        """Mends the disk; a layer that is gone needs no mending."""
        if fault != "disk":
            return super().undo_script(fault, name)
        return f"if [ -e {self._control(name)} ]; then\n{self._commands(name, 'mend', forget=True)}\nfi"

    # --- Disk ---------------------------------------------------------------------------------------------

    def disk_kinds(self) -> frozenset[str]:
        """All kinds that there are."""
        return frozenset(KINDS)

    async def break_disks(self, faults: Mapping[str, DiskFault]) -> None:
        """Let the layers do what these faults say."""
        self._must_have_layers(faults)
        steps = []
        for name, fault in sorted(faults.items()):
            command = f"break {msgspec.json.encode(fault).decode()}"
            steps.append(self._run_for_disk(name, self._commands(name, command, forget=True)))
        await try_all(steps)

    async def mend_disks(self, nodes: frozenset[str]) -> None:
        """Let the layers do what disks do."""
        self._must_have_layers(nodes)
        await try_all(
            [self._run_for_disk(name, self._commands(name, "mend", forget=True)) for name in sorted(nodes)]
        )

    async def read_disks(self, nodes: frozenset[str]) -> Mapping[str, DiskReading]:
        """Write, sync and read files of ours on the nodes' disks."""
        self._must_have_layers(nodes)
        ordered = sorted(nodes)
        return dict(zip(ordered, await try_all([self._read_disk(name) for name in ordered]), strict=True))

    # --- PowerCut -----------------------------------------------------------------------------------------

    async def cut_power(self, nodes: frozenset[str]) -> None:
        """Kill the nodes all at once and let their disks forget what was not synced."""
        self._must_have_layers(nodes)
        ordered = sorted(nodes)
        self._cuts += 1
        self._tokens = {**self._tokens, **{name: secrets.token_hex(32) for name in ordered}}
        await try_all([self._run_for_disk(name, self._write_unsynced(name)) for name in ordered])
        await cast(Kill, self).kill(nodes)
        await try_all(
            [self._run_for_disk(name, self._commands(name, f"cut {self._cuts}")) for name in ordered]
        )

    async def unsynced_lost(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Whether what was written to a file of ours just before the cut, and not synced, is there no more."""
        self._must_have_layers(nodes)
        ordered = sorted(nodes)
        found = await try_all(
            [self._run_for_disk(name, f"cat {self._file(name, UNSYNCED)}") for name in ordered]
        )
        return {name: content != self._tokens.get(name) for name, content in zip(ordered, found, strict=True)}

    # --- within -------------------------------------------------------------------------------------------

    def _mount(self, name: str) -> str:
        for node in self.nodes:
            if node.name == name:
                return node.data_directory
        raise FaultError(f"there is no node {name!r} (known: {', '.join(self.node_names)})")

    def _file(self, name: str, file: str) -> str:
        return shlex.quote(f"{self._mount(name)}/{file}")

    def _control(self, name: str) -> str:
        return self._file(name, CONTROL)

    def _must_have_layers(self, nodes: Iterable[str]) -> None:
        for name in nodes:
            if name not in self._layers:
                self.host(name)  # a name that is nobody's is told first
                raise FaultError(f"there is no disk layer under node {name}: the test did not ask for one")

    def _commands(self, name: str, command: str, *, forget: bool = False) -> str:
        script = f"printf '%s\\n' {shlex.quote(command)} > {self._control(name)} || exit 1"
        if forget:
            script += "\n" + _FORGET_PAGES.format(mount=shlex.quote(self._mount(name)))
        return script

    def _write_unsynced(self, name: str) -> str:
        """Overwrites in place, so that a full disk is no hindrance; one that is read-only has nothing to lose."""
        file, control = self._file(name, UNSYNCED), self._control(name)
        token = self._tokens[name]
        return (
            f"grep -q read-only {control} || "
            f'{{ printf %s {token} 1<>{file} && [ "$(cat {file})" = {token} ]; }}'
        )

    def _programs(self, name: str) -> str:
        """The command that runs one of the layer's programs, its name to follow."""
        return f"{shlex.quote(self.python)} {shlex.quote(f'{self.control_directory(name)}/{_ARCHIVE}')}"

    async def _start_disk(self, name: str, archive: bytes) -> int:
        host, library = self.host(name), self.control_directory(name)
        run, mount = self.specification.run, self._mount(name)
        script = _START.format(
            medium=shlex.quote(mount + MEDIUM_SUFFIX),
            mount=shlex.quote(mount),
            variable=NODE_VARIABLE,
            run=shlex.quote(run),
            programs=self._programs(name),
            name=shlex.quote(mount_name(run, name)),
            seed=shlex.quote(f"{self.specification.seed}/{name}"),
            log=shlex.quote(f"{library}/{_LOG}"),
            control=self._control(name),
        )
        try:
            await host.upload(archive, f"{library}/{_ARCHIVE}")
            return int(await self._run_for_disk(name, script, _START_TIMEOUT_MS))
        except HarnessError as error:
            raise DeployError(f"no disk layer can be put under the data of node {name}: {error}") from error

    async def _read_disk(self, name: str) -> DiskReading:
        script = f"{self._programs(name)} probe {shlex.quote(self._mount(name))}"
        try:
            return msgspec.json.decode(await self._run_for_disk(name, script), type=DiskReading)
        except msgspec.MsgspecError as error:
            raise HarnessError(f"the disk of node {name} was not read: {error}") from error

    async def _run_for_disk(self, name: str, script: str, timeout_ms: int = _TIMEOUT_MS) -> str:
        result = await self.host(name).run(script, timeout_ms=timeout_ms)
        if result.exit_code:
            reason = result.stderr.strip() or f"exit status {result.exit_code}"
            raise FaultError(f"the disk layer of node {name}: {reason}")
        return result.stdout.strip()
