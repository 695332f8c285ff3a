"""What nodes on hosts have to live on: processor, memory, descriptors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Final, NamedTuple

from foreshock.harness.backends.on_hosts.base import HostCluster
from foreshock.harness.backends.together import try_all
from foreshock.harness.errors import FaultError
from foreshock.harness.options import nearest

MEMORY_BYTES_MIN: Final = 8 << 20
"""An engine takes no limit below 6 MiB, and nothing runs in so little."""
_MEMORY_SPARE_BYTES: Final = 1 << 20
_RESOURCES: Final = ("cpu", "memory", "files")

_FILES: Final = """\
[ -d /proc/{pid} ] || exit 0
echo started "$(sed 's/^.*) //' /proc/{pid}/stat | cut -d' ' -f20)"
awk '/^Max open files/ {{ print "files", $4 }}' /proc/{pid}/limits
"""
# The least soft limit under which so many descriptors are free below it: limits are on numbers, not on counts.
_STARVE_FILES: Final = """\
set -e
{same} || exit 0
soft=$(ls /proc/{pid}/fd | sort -n | awk -v free={level} '
  {{ while (at < $1) {{ if (!free) exit; free--; at++ }} at = $1 + 1 }} END {{ print at + free }}')
prlimit --pid {pid} --nofile=$soft:
"""
_FEED_FILES: Final = """\
{same} || exit 0
prlimit --pid {pid} --nofile={soft}:
"""
_SAME: Final = """[ "$(sed 's/^.*) //' /proc/{pid}/stat 2>/dev/null | cut -d' ' -f20)" = {started} ]"""
"""Whether the process is still the one that was looked at, and not a later one of its pid."""


class FilesLimit(NamedTuple):
    """What one process of a node might have open before anybody starved it."""

    pid: int
    started: str
    soft: int

    def script(self, template: str, **more: int) -> str:
        """The script that does something to this process, and nothing where it has ended."""
        same = _SAME.format(pid=self.pid, started=self.started)
        return template.format(same=same, pid=self.pid, soft=self.soft, **more)


class HostResources(HostCluster):
    """Starves nodes of descriptors by prlimit(1), and of processor and memory by whatever group a node is in.

    The group is for the cluster to limit: :meth:`limit_group` and :meth:`read_group`. Limits of a group outlive the
    node's process, those on descriptors end with it.
    """

    @cached_property
    def _files_before(self) -> dict[str, FilesLimit]:
        return {}

    def starve_kinds(self) -> frozenset[str]:
        """``files`` alone where nodes have no group of their own."""
        return frozenset({"files"})

    async def limit_group(self, name: str, resource: str, limit: int | None) -> None:
        """Limit ``cpu`` (percent of a core) or ``memory`` (bytes, swap counts) of the node's group; ``None``: no more.

        Raises ``FaultError``.
        """
        raise FaultError(f"node {name} has no group whose {resource} could be limited to {limit}")

    def read_group(self, name: str, pid: int | None) -> str | None:
        """The script that says what the kernel has as the limits of the group (``control_groups.read``).

        ``None`` where the kernel cannot be asked, as about a container that does not run.
        """
        del name, pid
        return None

    async def limits_kept(self, name: str) -> dict[str, int]:
        """What whoever keeps the group says instead, in the words of ``control_groups.read``; nothing by default."""
        del name
        return {}

    async def starve(self, resource: str, levels: Mapping[str, int]) -> None:
        """Let each node have only so much (``Starve.starve``); ``starved`` must have been read before.

        Raises ``FaultError``. A node without a process is short of nothing, so it is no error that it cannot be helped
        to less. Only a process that :meth:`starved` has looked at is kept short of descriptors: how to give them back
        to another one is not known.
        """
        if resource not in self.starve_kinds():
            known = sorted(self.starve_kinds())
            raise FaultError(f"nodes cannot be starved of {resource!r} here{nearest(resource, known)}")
        await try_all([self._starve(name, resource, level) for name, level in sorted(levels.items())])

    async def feed(self, nodes: frozenset[str]) -> None:
        """Take all limits away that :meth:`starve` set, and give descriptors back as they were."""
        await try_all([self._feed(name) for name in sorted(nodes)])

    async def starved(self, nodes: frozenset[str]) -> Mapping[str, Mapping[str, int]]:
        """The limits in force as the kernel shows them: ``cpu`` (us of every 100 ms), ``memory`` (bytes), ``files``.

        What is not limited is not there; nor is ``files`` of a node without a process. What a process might have open
        when it was first looked at is what ``feed`` gives it back.
        """
        ordered = sorted(nodes)
        found = await try_all([self._read(name) for name in ordered])
        return {
            name: {key: value for key, value in read.items() if key in _RESOURCES}
            for name, read in zip(ordered, found, strict=True)
        }

    async def throttled(self, name: str) -> int | None:
        """How often the kernel has held the node's group back for want of processor; ``None``: it does not say."""
        return (await self._read(name)).get("throttled")

    def undo_script(self, fault: str, name: str) -> str | None:
        """Gives descriptors back to the process that was looked at, if it is still there."""
        before = self._files_before.get(name)
        if fault != "starve" or before is None:
            return super().undo_script(fault, name)
        return before.script(_FEED_FILES)

    # --- within ---------------------------------------------------------------------------------------------

    async def _starve(self, name: str, resource: str, level: int) -> None:
        if resource == "cpu":
            await self.limit_group(name, "cpu", max(1, level))
        elif resource == "memory":
            if await self.process_on_host(name) is not None:
                await self.limit_group(name, "memory", await self._memory_for(name, level))
        else:
            before = self._files_before.get(name)
            if before is not None:  # what the ledger gives back is what this very process had
                await self._limits_script(name, before.script(_STARVE_FILES, level=level), "starved of files")

    async def _memory_for(self, name: str, percent: int) -> int:
        """The limit that is so many percent of what the node holds and cannot be had back for the asking."""
        read = await self._read(name)
        if "used" not in read:
            raise FaultError(f"node {name} cannot be starved of memory: the system does not say what it uses")
        held = max(0, read["used"] - read.get("inactive", 0))
        return max(held * percent // 100, held + _MEMORY_SPARE_BYTES, MEMORY_BYTES_MIN)

    async def _feed(self, name: str) -> None:
        for resource in sorted(self.starve_kinds() - {"files"}):
            await self.limit_group(name, resource, None)
        before = self._files_before.get(name)
        if before is not None:
            await self._limits_script(name, before.script(_FEED_FILES), "given its files back")

    async def _read(self, name: str) -> dict[str, int]:
        pid = await self.process_on_host(name)
        group = self.read_group(name, pid)
        script = ("" if group is None else f"( {group} )\n") + ("" if pid is None else _FILES.format(pid=pid))
        read = await self.limits_kept(name) if group is None else {}
        if script:
            output = await self._limits_script(name, script, "asked for its limits")
            read |= {
                words[0]: int(words[1]) for words in map(str.split, output.splitlines()) if len(words) == 2
            }
        if pid is not None and "files" in read and "started" in read:
            started, before = str(read["started"]), self._files_before.get(name)
            if before is None or (before.pid, before.started) != (pid, started):
                self._files_before[name] = FilesLimit(pid, started, read["files"])
        return read

    async def _limits_script(self, name: str, script: str, what: str) -> str:
        result = await self.root(name).run(script)
        if result.exit_code:
            raise FaultError(f"node {name} cannot be {what}: {result.stderr.strip()}")
        return result.stdout
