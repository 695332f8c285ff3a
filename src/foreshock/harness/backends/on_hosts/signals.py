"""Pausing the nodes of hosts by SIGSTOP."""

from __future__ import annotations

from abc import abstractmethod

from foreshock.harness.backends.on_hosts import processes
from foreshock.harness.backends.on_hosts.base import HostCluster
from foreshock.harness.errors import FaultError


class HostSignals(HostCluster):
    """Stops all processes of a node and lets them go on; the state of each, as the system has it, says which it is."""

    @abstractmethod
    def lister(self, name: str) -> str | None:
        """The script that lists the processes of the node (:mod:`~foreshock.harness.backends.on_hosts.processes`).

        ``None`` before the node was started for the first time.
        """

    async def stop_by_signal(self, name: str) -> None:
        """SIGSTOP to every process of the node, until none runs; raises ``FaultError``."""
        lister = self.lister(name)
        if lister is not None:
            result = await self.host(name).run(processes.stop(lister))
            if result.exit_code:
                raise FaultError(f"the processes of node {name} cannot be stopped: {result.stderr.strip()}")

    async def go_on_by_signal(self, name: str) -> None:
        """SIGCONT to every process of the node that is stopped."""
        lister = self.lister(name)
        if lister is not None:
            await self.host(name).run(processes.go_on(lister))

    async def stopped_by_signal(self, name: str) -> bool:
        """Whether the node has processes, and the system shows all of them as stopped (state ``T``)."""
        lister = self.lister(name)
        if lister is None:
            return False
        result = await self.host(name).run(processes.count_states(lister))
        every, stopped = map(int, result.stdout.split() or ("0", "0"))
        return every == stopped > 0

    def undo_script(self, fault: str, name: str) -> str | None:
        """A pause is undone by SIGCONT."""
        lister = self.lister(name) if fault == "pause" else None
        return super().undo_script(fault, name) if lister is None else processes.go_on(lister)
