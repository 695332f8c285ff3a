"""What a fault that is written on :class:`~foreshock.harness.host.Host` needs to know of a cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod

from foreshock.harness.host import Host


class HostCluster(ABC):
    """A cluster whose nodes live on hosts. The classes beside this one add to it what can be done there."""

    @property
    @abstractmethod
    def node_names(self) -> tuple[str, ...]:
        """The names of the nodes, in order."""

    @abstractmethod
    def host(self, name: str) -> Host:
        """The host of a node; raises ``FaultError`` for a name that is none."""

    def root(self, name: str) -> Host:
        """The host of a node, where scripts may change the system itself: packet filters, cgroups, mounts, clocks.

        It is the same as :meth:`host` wherever the harness has that right anyway.
        """
        return self.host(name)

    @abstractmethod
    def address(self, name: str) -> str:
        """The IPv4 address by which the other nodes reach this one."""

    @abstractmethod
    def control_directory(self, name: str) -> str:
        """A directory of ours that host and node both see, by the same path, and that outlives the node's process."""

    @abstractmethod
    async def process_on_host(self, name: str) -> int | None:
        """The pid of the node's process as its host counts; ``None`` while it does not run."""

    def undo_script(self, fault: str, name: str) -> str | None:
        """The script that undoes a fault of this kind on the node's host, from any process; ``None``: none does.

        A class that adds a fault says so here, and asks the next one (``super()``) for all other kinds. Idempotent,
        and it touches nothing that is not ours.
        """
        del fault, name
        return None

    def undo_scripts(self, fault: str, nodes: frozenset[str]) -> dict[str, str]:
        """The scripts that undo the fault, by node: what goes into the ledger as its inverse."""
        found = {name: self.undo_script(fault, name) for name in sorted(nodes)}
        return {name: script for name, script in found.items() if script is not None}
