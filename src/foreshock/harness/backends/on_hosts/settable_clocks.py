"""The wall clocks of the user's own hosts, set for real where he allows it: for nodes that no shim reaches."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from foreshock.harness.backends.on_hosts import wall_clock
from foreshock.harness.backends.on_hosts.clocks import HostClocks
from foreshock.harness.backends.on_hosts.wall_clock import HostTime
from foreshock.harness.backends.together import try_all
from foreshock.harness.capabilities import Clock, ClockReading
from foreshock.harness.cluster import Node
from foreshock.harness.errors import DeployError, FaultError

PROGRAM: Final = "wall_clock.py"


class SettableClocks(HostClocks):
    """As :class:`HostClocks`; where :attr:`sets_wall_clocks`, the hosts' own wall clocks jump in place of their nodes'.

    What a host's wall clock should show is known by its monotonic clock, which nobody can set: before anything is
    touched it is noted how far the one is ahead of the other. It is then set right, and seen to be right, to a
    millisecond. All that runs on the host sees the jump. A time service that runs there sets the clock back by itself,
    which is seen, too: then the fault did not take. Nothing drifts.
    """

    @property
    def sets_wall_clocks(self) -> bool:
        """Whether the user allows it."""
        return False

    def clock_file_of(self, name: str) -> str | None:
        """None is read where the host's own clock is set."""
        return None if self.sets_wall_clocks else super().clock_file_of(name)

    @property
    def preloads(self) -> bool:
        """Nothing is, where the host's own clock is set."""
        return super().preloads and not self.sets_wall_clocks

    async def make_clocks(self) -> None:
        """Note what every host's clocks show before anything is touched.

        Raises ``DeployError`` for a host that is this machine, or lives on it: that clock is never set; and where
        nodes can be skewed in no other way and it is not allowed.
        """
        if Clock not in self.specification.needs:
            return
        if not self.sets_wall_clocks:
            if self.specification.target.clock is None:
                raise DeployError(
                    "the nodes of this target cannot be told another time than their hosts have: let those be set "
                    "(-o ssh.allow_settimeofday=true), or leave the clock nemesis out"
                )
            await super().make_clocks()
        else:
            await try_all([self._note_wall_clock(name) for name in self.node_names])

    async def drift_clocks(self, drift_ppm: Mapping[str, int], *, wall_only: bool = False) -> None:
        """Raises ``FaultError`` where the hosts' own clocks are set."""
        if self.sets_wall_clocks:
            raise FaultError(
                "the clocks of hosts are set here, and cannot be made to drift: say -o clock.kinds=jump,strobe, or let "
                "the nodes be skewed by a clock file (-o ssh.allow_settimeofday=false)"
            )
        await super().drift_clocks(drift_ppm, wall_only=wall_only)

    async def reset_clocks(self, nodes: frozenset[str]) -> None:
        """Set the wall clocks right; raises ``FaultError``."""
        if not self.sets_wall_clocks:
            await super().reset_clocks(nodes)
            return
        await try_all([self._in_turn(name, self._restore) for name in sorted(nodes)])

    def undo_script(self, fault: str, name: str) -> str | None:
        """Set the host's wall clock right, from any process; nothing where the host has booted since.

        Only root may; whoever runs it as another uses sudo, and no password. The program is removed last, when the
        clock is right: where it is gone nothing is to be done any more.
        """
        noted = self._noted.get(name)
        if fault != "clock" or noted is None:
            return super().undo_script(fault, name)
        program = shlex.quote(f"{self.control_directory(name)}/{PROGRAM}")
        restore = f"{self._wall_program(name, 'restore', noted.boot, noted.ahead_ns)} >/dev/null"
        as_root = f'[ "$(id -u)" = 0 ]; then {restore}; else sudo -n {restore}; fi'
        return f"if [ ! -e {program} ]; then :; elif {as_root}"

    # --- within ---------------------------------------------------------------------------------------------------

    @cached_property
    def _noted(self) -> dict[str, HostTime]:
        """What each host's clocks showed before anything was touched."""
        return {}

    def _wall_program(self, name: str, command: str, *rest: object) -> str:
        program = f"{self.control_directory(name)}/{PROGRAM}"
        return shlex.join([self.python, "-I", "-S", program, command, *map(str, rest)])

    async def _note_wall_clock(self, name: str) -> None:
        await self.host(name).upload(_program(), f"{self.control_directory(name)}/{PROGRAM}")
        noted = await self._wall_clock(name, "read")
        if noted.boot == _boot_here():
            raise DeployError(
                f"the host of node {name} is this machine, or lives on it: its clock is never set, for that would set "
                "ours (-o ssh.allow_settimeofday=false lets the nodes be skewed by a clock file)"
            )
        self._noted[name] = noted

    async def _jump(self, name: str, by_ns: int) -> None:
        if self.sets_wall_clocks:
            await self._wall_clock(name, "jump", by_ns)
        else:
            await super()._jump(name, by_ns)

    async def _restore(self, name: str) -> None:
        noted = self._noted[name]
        now = await self._wall_clock(name, "restore", noted.boot, noted.ahead_ns)
        left_ns = now.ahead_ns - noted.ahead_ns
        if now.boot == noted.boot and abs(left_ns) > wall_clock.CLOSE_NS:
            raise FaultError(
                f"the clock of the host of node {name} is still {left_ns} ns ahead of where it should be"
            )

    async def _read_clock(self, node: Node) -> ClockReading:
        if not self.sets_wall_clocks:
            return await super()._read_clock(node)
        noted, now = self._noted[node.name], await self._wall_clock(node.name, "read")
        # One that has booted since has another monotonic clock, and a wall clock that it set by itself.
        offset_ns = now.ahead_ns - noted.ahead_ns if now.boot == noted.boot else 0
        return ClockReading(wall_offset_ns=offset_ns, monotonic_ns=now.monotonic_ns, true_ns=now.monotonic_ns)

    async def _wall_clock(self, name: str, command: str, *rest: object) -> HostTime:
        done = await self.root(name).run(self._wall_program(name, command, *rest))
        if done.exit_code:
            raise FaultError(
                f"on the host of node {name}, {done.stderr.strip() or 'its clock cannot be had'}"
            )
        try:
            return wall_clock.parse(done.stdout)
        except ValueError:
            raise FaultError(
                f"the clock of the host of node {name} cannot be had: {done.stdout!r:.200}"
            ) from None


def _program() -> bytes:
    return Path(wall_clock.__file__).read_bytes()


def _boot_here() -> str:
    try:
        return Path(wall_clock.BOOT_ID).read_text().strip()
    except OSError:
        return ""
