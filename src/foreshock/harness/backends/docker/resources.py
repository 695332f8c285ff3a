"""Starving and pausing nodes in containers: the engine limits and freezes, the kernel says what came of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from foreshock.harness.backends.docker.containers import NodeContainers
from foreshock.harness.backends.docker.limits import limits_of, memory_of, set_limit
from foreshock.harness.backends.on_hosts import control_groups, processes
from foreshock.harness.backends.on_hosts.resources import HostResources
from foreshock.harness.backends.on_hosts.signals import HostSignals
from foreshock.harness.backends.pause_means import check_means
from foreshock.harness.backends.together import try_all

T = TypeVar("T")

FREEZER: Final = "freezer"
SIGNAL: Final = "signal"


class ContainerResources(HostSignals, HostResources):
    """What the engine does to a container's cgroup, and what is seen of it from the pod."""

    @abstractmethod
    async def at_engine(self, name: str, action: Callable[[NodeContainers], T]) -> T:
        """Have something done at the engine for one node; raises ``FaultError`` for a name that is none."""

    @abstractmethod
    def identity(self, name: str) -> str | None:
        """The engine's id of the node's container; ``None`` before there is one."""

    # --- Pause --------------------------------------------------------------------------------------------

    def pause_means(self) -> tuple[str, ...]:
        """By what the nodes can be stopped."""
        return (FREEZER, SIGNAL)

    async def pause(self, nodes: frozenset[str], means: str | None = None) -> None:
        """Freeze the nodes' processes through the engine, or stop them by SIGSTOP from their pods."""
        if check_means(means, self.pause_means()) == FREEZER:
            await try_all([self.at_engine(name, NodeContainers.pause) for name in sorted(nodes)])
        else:
            await try_all([self.stop_by_signal(name) for name in sorted(nodes)])

    async def resume(self, nodes: frozenset[str]) -> None:
        """Thaw the nodes' processes, and let those go on that are stopped."""

        async def one(name: str) -> None:
            await self.at_engine(name, NodeContainers.resume)
            await self.go_on_by_signal(name)

        await try_all([one(name) for name in sorted(nodes)])

    async def paused(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Whether the engine sees each node's container frozen, or the system each of its processes stopped."""
        ordered = sorted(nodes)

        async def one(name: str) -> bool:
            return await self.at_engine(name, NodeContainers.paused) or await self.stopped_by_signal(name)

        return dict(zip(ordered, await try_all([one(name) for name in ordered]), strict=True))

    def lister(self, name: str) -> str | None:
        """Everything in the cgroup of the node's container."""
        identity = self.identity(name)
        return None if identity is None else processes.of_container(identity)

    def undo_script(self, fault: str, name: str) -> str | None:
        """Healing resumes by the engine and by the container's name, so that it needs no script for a pause."""
        return None if fault == "pause" else super().undo_script(fault, name)

    # --- Starve -------------------------------------------------------------------------------------------

    def starve_kinds(self) -> frozenset[str]:
        """All three."""
        return frozenset({"cpu", "memory", "files"})

    async def limit_group(self, name: str, resource: str, limit: int | None) -> None:
        """Have the engine limit the container, running or not."""
        await self.at_engine(name, lambda containers: set_limit(containers, resource, limit))

    @abstractmethod
    def layered(self, name: str) -> bool:
        """Whether the node lives among the mounts of its pod, where the kernel shows the limits of the pod."""

    def read_group(self, name: str, pid: int | None) -> str | None:
        """What the kernel shows within the container, whose files the pod reaches through one of its processes."""
        if pid is None or self.layered(name):
            return None
        return control_groups.read("", "/".join(("/proc", str(pid), "root", "sys/fs/cgroup")))

    async def limits_kept(self, name: str) -> dict[str, int]:
        """What the engine limits the container to, or will when it starts again, and what it uses."""
        return await self.at_engine(name, lambda each: limits_of(each) | memory_of(each))
