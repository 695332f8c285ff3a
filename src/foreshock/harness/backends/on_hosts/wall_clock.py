"""Sets the wall clock of a host itself, and sets it right again by the host's monotonic clock, which nobody can set.

A program of its own, for hosts whose owner allows it: it needs Python 3.7, and the right to set the clock (root)::

    python3 wall_clock.py read | jump NS | restore BOOT AHEAD_NS

``BOOT`` says since which start of the host its monotonic clock counts, and ``AHEAD_NS`` how far the wall clock was
ahead of that before anybody touched it; both come from what ``read`` printed then. Each command ends by printing the
boot's name, the wall clock and the monotonic clock, in ns.
"""

from __future__ import annotations

import sys
import time
from typing import Any, NamedTuple, Sequence  # noqa: UP035 - a host may have an old Python

BOOT_ID = "/proc/sys/kernel/random/boot_id"
CLOSE_NS = 1_000_000
"""A wall clock that is so near to where it should be is left alone."""


class HostTime(NamedTuple):
    """What the clocks of a host show."""

    boot: str
    wall_ns: int
    monotonic_ns: int

    @property
    def ahead_ns(self) -> int:
        """How far the wall clock is ahead of the monotonic one: the same for ever, unless somebody sets it."""
        return self.wall_ns - self.monotonic_ns


def parse(line: str) -> HostTime:
    """What the program printed; raises ``ValueError``."""
    boot, wall_ns, monotonic_ns = line.split()
    return HostTime(boot, int(wall_ns), int(monotonic_ns))


def read(clock: Any, boot: str) -> HostTime:
    """What ``clock`` (the module ``time``) shows."""
    return HostTime(boot, clock.time_ns(), clock.monotonic_ns())


def jump(clock: Any, by_ns: int) -> None:
    """Set the wall clock forward, or back; raises ``OSError``."""
    clock.clock_settime_ns(clock.CLOCK_REALTIME, clock.time_ns() + by_ns)


def restore(clock: Any, now: HostTime, boot: str, ahead_ns: int) -> None:
    """Set the wall clock to where it would be had nobody touched it; raises ``OSError``.

    A host that has booted since then has set its clock by itself.
    """
    if now.boot == boot and abs(now.ahead_ns - ahead_ns) > CLOSE_NS:
        clock.clock_settime_ns(clock.CLOCK_REALTIME, clock.monotonic_ns() + ahead_ns)


def main(arguments: Sequence[str], clock: Any = time, boot_id: str = BOOT_ID) -> int:
    """Do what the command line says; returns the exit code: 0, 1 (it could not be done), 2 (it makes no sense)."""
    try:
        with open(boot_id) as file:
            boot = file.read().strip()
        if list(arguments) == ["read"]:
            pass
        elif len(arguments) == 2 and arguments[0] == "jump":
            jump(clock, int(arguments[1]))
        elif len(arguments) == 3 and arguments[0] == "restore":
            restore(clock, read(clock, boot), arguments[1], int(arguments[2]))
        else:
            raise ValueError(f"there is no {' '.join(arguments)!r}")
    except ValueError as problem:
        sys.stderr.write(f"wall_clock.py read | jump NS | restore BOOT AHEAD_NS: {problem}\n")
        return 2
    except OSError as problem:
        sys.stderr.write(f"the clock of the host cannot be set: {problem}\n")
        return 1
    sys.stdout.write(" ".join(map(str, read(clock, boot))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
