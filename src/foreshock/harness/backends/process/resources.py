"""Starving and pausing nodes that are processes of this machine: by control groups where there may be any."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

from foreshock.harness.backends.on_hosts import control_groups
from foreshock.harness.backends.on_hosts.resources import HostResources
from foreshock.harness.backends.pause_means import check_means
from foreshock.harness.backends.process.child import Child
from foreshock.harness.backends.process.mechanisms import has_limits
from foreshock.harness.backends.together import try_all
from foreshock.harness.capabilities import Pause, Starve
from foreshock.harness.cluster import ClusterSpecification
from foreshock.harness.errors import DeployError, FaultError, HarnessError

SIGNAL: Final = "signal"
FREEZER: Final = "freezer"


class ChildResources(HostResources):
    """Each node starts in a control group of its own when the test is to starve or pause nodes, where that may be."""

    specification: ClusterSpecification

    @abstractmethod
    def child(self, name: str) -> Child:
        """The process of a node; raises ``FaultError`` for a name that is none."""

    @cached_property
    def grouped(self) -> bool:
        """Whether the nodes of this test are in groups."""
        return bool(self.specification.needs & {Pause, Starve}) and control_groups.usable()

    async def make_groups(self) -> None:
        """Make the group of every node; raises ``DeployError``."""
        if self.grouped:
            for name in self.node_names:
                result = await self.host(name).run(control_groups.make(self._group(name)))
                if result.exit_code:
                    raise DeployError(
                        f"the control group of node {name} cannot be made: {result.stderr.strip()}"
                    )

    async def remove_groups(self) -> None:
        """Remove the groups, whose processes have ended; raises ``HarnessError``. Idempotent."""
        if self.grouped and self.node_names:
            group = control_groups.group_of_run(self.specification.run)
            result = await self.host(self.node_names[0]).run(control_groups.remove(group))
            if result.exit_code:
                raise HarnessError(f"a control group of the run cannot be removed: {result.stderr.strip()}")

    def starter(self, name: str) -> Sequence[str]:
        """What the command of a node is put after so that it starts in its group."""
        return control_groups.starter(self._group(name)) if self.grouped else ()

    async def thaw(self, name: str) -> None:
        """Thaw the node: what is frozen does not die."""
        if self.grouped:
            await self.host(name).run(control_groups.thaw(self._group(name)))

    # --- Pause --------------------------------------------------------------------------------------------

    def pause_means(self) -> tuple[str, ...]:
        """By what the nodes can be stopped."""
        return (SIGNAL, FREEZER) if self.grouped else (SIGNAL,)

    async def pause(self, nodes: frozenset[str], means: str | None = None) -> None:
        """Stop the nodes' process groups (SIGSTOP), or freeze their control groups."""
        if check_means(means, self.pause_means()) == SIGNAL:
            await try_all([self.child(name).pause() for name in sorted(nodes)])
        else:
            await try_all([self._freeze(name) for name in sorted(nodes)])

    async def resume(self, nodes: frozenset[str]) -> None:
        """Thaw the nodes' control groups and let their process groups go on (SIGCONT)."""

        async def one(name: str) -> None:
            await self.thaw(name)
            await self.child(name).resume()

        await try_all([one(name) for name in sorted(nodes)])

    async def paused(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Whether the system sees each node's process stopped, or its group frozen."""
        ordered = sorted(nodes)
        return dict(zip(ordered, await try_all([self._paused(name) for name in ordered]), strict=True))

    # --- Starve -------------------------------------------------------------------------------------------

    def starve_kinds(self) -> frozenset[str]:
        """All three where nodes have groups; without, only what prlimit(1) does."""
        files = {"files"} if has_limits() else set()
        return frozenset({*files, *({"cpu", "memory"} if self.grouped else ())})

    async def limit_group(self, name: str, resource: str, limit: int | None) -> None:
        """Limit the node's group; raises ``FaultError``."""
        change = control_groups.limit_cpu if resource == "cpu" else control_groups.limit_memory
        result = await self.host(name).run(change(self._group(name), limit))
        if result.exit_code:
            raise FaultError(f"the {resource} of node {name} cannot be limited: {result.stderr.strip()}")

    def read_group(self, name: str, pid: int | None) -> str | None:
        """What the kernel shows of the node's group, which is there without its process too."""
        del pid
        return control_groups.read(self._group(name)) if self.grouped else None

    def undo_script(self, fault: str, name: str) -> str | None:
        """Thaws the group, or takes its limits away."""
        others = super().undo_script(fault, name)
        if not self.grouped or fault not in ("pause", "starve"):
            return others
        group = self._group(name)
        if fault == "pause":
            own = control_groups.thaw(group)
        else:
            cpu, memory = control_groups.limit_cpu(group, None), control_groups.limit_memory(group, None)
            own = f"( {cpu} ) && ( {memory} ) || exit 1"
        return own if others is None else f"{own}\n{others}"

    # --- within ---------------------------------------------------------------------------------------------

    def _group(self, name: str) -> str:
        return control_groups.group_of(self.specification.run, name)

    async def _freeze(self, name: str) -> None:
        result = await self.host(name).run(control_groups.freeze(self._group(name)))
        if result.exit_code:
            raise FaultError(f"node {name} cannot be frozen: {result.stderr.strip()}")

    async def _paused(self, name: str) -> bool:
        child = self.child(name)
        if child.paused() or not (self.grouped and child.running()):
            return child.paused()
        return "FROZEN" in (await self.host(name).run(control_groups.frozen(self._group(name)))).stdout
