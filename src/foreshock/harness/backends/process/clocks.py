"""The clocks of nodes on this machine: their files are changed directly, which takes microseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from foreshock.harness.backends.on_hosts import clock_file
from foreshock.harness.backends.on_hosts.clock_file import ClockFileError, InForce, Shown
from foreshock.harness.backends.on_hosts.clock_tools import ClockTools, reason_not_here, tools_here
from foreshock.harness.backends.on_hosts.clocks import HostClocks
from foreshock.harness.errors import FaultError, UsageError

_CHANGES: Final[dict[str, Callable[..., InForce]]] = {
    "make": clock_file.make,
    "read": clock_file.read,
    "reset": clock_file.reset,
    "jump": clock_file.jump,
    "drift": clock_file.drift,
}


class LocalClocks(HostClocks):
    """What the clocks of nodes on this machine show."""

    _tools: ClockTools | None = None

    def check_clocks(self) -> None:
        """Raises ``UsageError`` where a test is to skew clocks and this machine lacks what that takes."""
        reason = reason_not_here() if self.preloads else None
        if reason is not None:
            raise UsageError(reason)

    async def make_clocks(self) -> None:
        """As on every host, and compile what is to be preloaded."""
        if self.preloads:
            self._tools = await asyncio.to_thread(tools_here)
        await super().make_clocks()

    def clock_tools(self, name: str) -> ClockTools | None:
        """The same for all nodes."""
        del name
        return self._tools

    async def _clock_command(self, name: str, command: str, *numbers: int) -> Shown:
        try:
            return clock_file.shown(_CHANGES[command](self._clock_path(name), *numbers).skew)
        except (ClockFileError, OSError) as error:
            raise FaultError(f"the clock of node {name} is out of reach: {error}") from error

    async def _jump(self, name: str, by_ns: int) -> None:
        await self._clock_command(name, "jump", by_ns)
