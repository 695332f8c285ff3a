"""What the clocks of nodes on hosts show: a clock file in each node's control directory says it.

A node reads that file by itself, by its clock port, or has it read by a shim that is preloaded (``Target.clock``). The
file, and the program that changes it, are put on each host before the nodes start; what runs there later is one short
script a change. A node that starts anew finds the file as it is, and so keeps its clocks.
"""

from __future__ import annotations

import asyncio
import shlex
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Final

from foreshock.harness.backends.on_hosts import clock_file
from foreshock.harness.backends.on_hosts.base import HostCluster
from foreshock.harness.backends.on_hosts.clock_file import InForce, Shown
from foreshock.harness.backends.on_hosts.clock_tools import ClockTools
from foreshock.harness.backends.together import try_all
from foreshock.harness.capabilities import Clock, ClockReading
from foreshock.harness.cluster import ClusterSpecification, Node
from foreshock.harness.errors import FaultError
from foreshock.harness.runtime import Runtime

FILE: Final = "clock"
PROGRAM: Final = "clock_file.py"


class HostClocks(HostCluster):
    """What the clocks of nodes on hosts show."""

    specification: ClusterSpecification
    python: ClassVar[str] = "python3"
    """How scripts on the hosts start a Python."""
    _runtime: Runtime

    @property
    @abstractmethod
    def nodes(self) -> tuple[Node, ...]:
        """The nodes in order of index."""

    # --- what a backend does before it starts its nodes -----------------------------------------------------------

    @property
    def preloads(self) -> bool:
        """Whether the nodes are shown skewed clocks by a library, which must then be on their hosts."""
        return self.specification.target.clock == "preload" and Clock in self.specification.needs

    def clock_file_of(self, name: str) -> str | None:
        """For ``Node.clock_file``: the file that the node is to read by itself, where a test skews clocks."""
        by_itself = self.specification.target.clock == "port"
        return self._clock_path(name) if by_itself and Clock in self.specification.needs else None

    async def make_clocks(self) -> None:
        """Put a clock file by which all is right on every host; nothing where the test skews no clocks."""
        if Clock in self.specification.needs:
            await try_all([self._make_clock(name) for name in self.node_names])

    def clock_environment(
        self, tools: ClockTools | None, name: str, own: Mapping[str, str]
    ) -> dict[str, str]:
        """What must be in the node's environment beside its ``own``, where the shim shows it its clocks."""
        if tools is None:
            return {}
        preloaded = [tools.shim, *filter(None, [own.get("LD_PRELOAD")])]
        return {"LD_PRELOAD": ":".join(preloaded), "FORESHOCK_CLOCK": self._clock_path(name)}

    def clock_tools(self, name: str) -> ClockTools | None:
        """Where the shim and its reader are on the node's host; ``None`` where the node has no need of them."""
        del name
        return None

    # --- Clock ----------------------------------------------------------------------------------------------------

    async def jump_clocks(self, by_ns: Mapping[str, int]) -> None:
        """Set the nodes' wall clocks forward, or back; raises ``FaultError``."""
        await try_all([self._in_turn(name, self._jump, by_ns[name]) for name in sorted(by_ns)])

    async def drift_clocks(self, drift_ppm: Mapping[str, int], *, wall_only: bool = False) -> None:
        """Let the nodes' clocks, or their wall clocks alone, run fast or slow from now on; raises ``FaultError``."""
        await try_all(
            [
                self._in_turn(name, self._clock_command, "drift", ppm, 0 if wall_only else ppm)
                for name, ppm in sorted(drift_ppm.items())
            ]
        )

    async def reset_clocks(self, nodes: frozenset[str]) -> None:
        """End all drift and set the wall clocks right; raises ``FaultError``."""
        await try_all([self._in_turn(name, self._clock_command, "reset") for name in sorted(nodes)])

    async def read_clocks(self, nodes: frozenset[str]) -> Mapping[str, ClockReading]:
        """What the nodes' processes see, or a program in their place; the file's word where nobody else has one."""
        chosen = [node for node in self.nodes if node.name in nodes]
        readings = await try_all([self._read_clock(node) for node in chosen])
        return {node.name: reading for node, reading in zip(chosen, readings, strict=True)}

    def undo_script(self, fault: str, name: str) -> str | None:
        """Set a node's clocks right, from any process; nothing is wrong where there is no clock file."""
        if fault != "clock":
            return super().undo_script(fault, name)
        path = shlex.quote(self._clock_path(name))
        return f"[ ! -e {path} ] || {self._clock_program(name, 'reset')} >/dev/null"

    # --- within ---------------------------------------------------------------------------------------------------

    def _clock_path(self, name: str) -> str:
        return f"{self.control_directory(name)}/{FILE}"

    def _clock_program(self, name: str, command: str, *numbers: int) -> str:
        program = f"{self.control_directory(name)}/{PROGRAM}"
        words = [self.python, "-I", "-S", program, self._clock_path(name), command]
        return shlex.join([*words, *map(str, numbers)])

    async def _make_clock(self, name: str) -> None:
        await self.host(name).upload(_program(), f"{self.control_directory(name)}/{PROGRAM}")
        await self._clock_command(name, "make")

    async def _clock_command(self, name: str, command: str, *numbers: int) -> Shown:
        """Have the program on the host do something; what the clocks show then."""
        self._in_force.pop(name, None)
        said = await self._script(name, self._clock_program(name, command, *numbers))
        try:
            in_force, shown = clock_file.parse(said)
        except (TypeError, ValueError):
            raise FaultError(f"the clock file of node {name} cannot be had: {said!r:.200}") from None
        self._in_force[name] = in_force
        return shown

    async def _jump(self, name: str, by_ns: int) -> None:
        in_force = self._in_force.pop(name, None)
        if in_force is None:
            await self._clock_command(name, "jump", by_ns)
            return
        script, following = clock_file.jump_script(self._clock_path(name), in_force, by_ns)
        await self._script(name, script)
        self._in_force[name] = following

    async def _read_clock(self, node: Node) -> ClockReading:
        tools, path = self.clock_tools(node.name), shlex.quote(self._clock_path(node.name))
        if tools is not None:
            variables = f"LD_PRELOAD={shlex.quote(tools.shim)} FORESHOCK_CLOCK={path}"
            said = await self._script(node.name, f"{variables} {shlex.quote(tools.reader)}")
            return reading_of(Shown(*map(int, said.split())))
        told: ClockReading | None = await self.specification.target.read_clock(node, self._runtime)
        if told is not None:
            return told
        return reading_of(await self._clock_command(node.name, "read"), by_file=True)

    async def _script(self, name: str, script: str) -> str:
        done = await self.host(name).run(script)
        if done.exit_code:
            raise FaultError(
                f"the clock of node {name} is out of reach: {done.stderr.strip() or done.exit_code}"
            )
        return done.stdout

    async def _in_turn(self, name: str, change: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """Make a change to its end, after those that are under way, even if nobody waits for it any more."""
        turn = self._turns.setdefault(name, asyncio.Lock())

        async def take_turn() -> None:
            async with turn:
                await change(name, *arguments)

        under_way = asyncio.ensure_future(take_turn())
        under_way.add_done_callback(
            lambda task: task.cancelled() or task.exception()
        )  # heard, if by nobody else
        await asyncio.shield(under_way)

    @cached_property
    def _in_force(self) -> dict[str, InForce]:
        """What we know to be in force, by node; nobody else changes it while this harness lives."""
        return {}

    @cached_property
    def _turns(self) -> dict[str, asyncio.Lock]:
        return {}


def _program() -> bytes:
    return Path(clock_file.__file__).read_bytes()


def reading_of(shown: Shown, *, by_file: bool = False) -> ClockReading:
    """What clocks show, beside what their host's own show."""
    return ClockReading(
        wall_offset_ns=shown.wall_ns - shown.host_wall_ns,
        monotonic_ns=shown.monotonic_ns,
        true_ns=shown.host_monotonic_ns,
        by_file=by_file,
    )
