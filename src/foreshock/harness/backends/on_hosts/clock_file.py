"""The clock file: how far a node's clocks are ahead of those of its host, and how fast they run.

It is mapped by whoever shows the node its clocks (the node's own clock port, or the preloaded shim ``clock_shim.c``)
and changed while they run. This module is the one place that writes it. It is also a program of its own, which is
put beside the file on every host: it needs Python 3.7 and nothing else, and touches no file but the one it is given::

    python3 clock_file.py FILE make | read | reset | jump NS | drift WALL_PPM MONOTONIC_PPM

Each prints what is in force then (the sequence number and the slot), and what the clocks show: wall, monotonic, and the
host's own two, in ns.

The file has 128 bytes, little-endian: the magic word (8), a sequence number (u64 at 8), and two slots (at 16 and 64)
of five i64. The slot in force is the one that the sequence number's last bit names. A writer fills the other slot and
then counts the number up; a reader takes number, slot and the time, and begins again when the number has changed
meanwhile. So nobody ever sees half of a change, and a writer that dies in the middle has changed nothing.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import struct
import sys
import time
from typing import Callable, Dict, NamedTuple, Sequence, Tuple  # noqa: UP035 - a host may have an old Python

MAGIC = b"FSCLOCK1"
SIZE = 128
SEQUENCE_AT = 8
SLOTS_AT = (16, 64)
PPM_MAX = 900_000
"""The fastest and slowest that a clock can be told to run: a tenth of its pace, or nearly twice."""

_MILLION = 1_000_000
_SEQUENCE = struct.Struct("<Q")
_SLOT = struct.Struct("<5q")
_ATTEMPTS_MAX = 1_000


class ClockFileError(Exception):
    """The file cannot be used; the sentence says why."""


class Skew(NamedTuple):
    """How far a node's clocks are ahead of its host's at ``base_ns`` of the host's monotonic clock, and their pace.

    Negative: behind, and slower. The monotonic clock is never set: whatever changes, it goes on from what it shows.
    """

    base_ns: int = 0
    wall_ahead_ns: int = 0
    monotonic_ahead_ns: int = 0
    wall_ppm: int = 0
    monotonic_ppm: int = 0

    def at(self, host_monotonic_ns: int) -> Skew:
        """The same skew, said of another moment; one before the base (the host has booted since) counts as the base."""
        elapsed_ns = max(0, host_monotonic_ns - self.base_ns)
        return self._replace(
            base_ns=host_monotonic_ns,
            wall_ahead_ns=self.wall_ahead_ns + elapsed_ns * self.wall_ppm // _MILLION,
            monotonic_ahead_ns=self.monotonic_ahead_ns + elapsed_ns * self.monotonic_ppm // _MILLION,
        )

    def jumped(self, by_ns: int) -> Skew:
        """The wall clock is set forward by so much, or back."""
        return self._replace(wall_ahead_ns=self.wall_ahead_ns + by_ns)

    def drifting(self, wall_ppm: int, monotonic_ppm: int) -> Skew:
        """The clocks run at these paces from the base on."""
        return self._replace(wall_ppm=wall_ppm, monotonic_ppm=monotonic_ppm)

    def righted(self) -> Skew:
        """Nothing drifts and the wall clock is right; what the monotonic clock has gained stays."""
        return self._replace(wall_ahead_ns=0, wall_ppm=0, monotonic_ppm=0)


class InForce(NamedTuple):
    """What a file says: its sequence number, and the slot that it names."""

    number: int
    skew: Skew


class Shown(NamedTuple):
    """What a node's clocks show, and what its host's do at the same moment, in ns."""

    wall_ns: int
    monotonic_ns: int
    host_wall_ns: int
    host_monotonic_ns: int


def image(skew: Skew) -> bytes:
    """A whole new file."""
    content = bytearray(SIZE)
    content[: len(MAGIC)] = MAGIC
    for at in SLOTS_AT:
        _SLOT.pack_into(content, at, *skew)
    return bytes(content)


def make(path: str) -> InForce:
    """Make a file by which every clock is right, unless there is one; raises ``ClockFileError`` or ``OSError``."""
    try:
        return read(path)
    except FileNotFoundError:
        scratch = f"{path}.{os.getpid()}.tmp"
        with open(scratch, "wb") as file:
            file.write(image(Skew()))
        os.chmod(scratch, 0o644)  # noqa: PTH101 - starts twice as fast without pathlib
        os.replace(scratch, path)  # noqa: PTH105
    return read(path)


def read(path: str) -> InForce:
    """What is in force; raises ``ClockFileError`` or ``OSError``."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _read(fd, path)
    finally:
        os.close(fd)


def shown(skew: Skew) -> Shown:
    """What clocks with this skew show now."""
    host_wall_ns, host_monotonic_ns = time.time_ns(), time.monotonic_ns()
    now = skew.at(host_monotonic_ns)
    return Shown(
        wall_ns=host_wall_ns + now.wall_ahead_ns,
        monotonic_ns=host_monotonic_ns + now.monotonic_ahead_ns,
        host_wall_ns=host_wall_ns,
        host_monotonic_ns=host_monotonic_ns,
    )


def jump(path: str, by_ns: int) -> InForce:
    """Set the wall clock forward by so much, or back; raises ``ClockFileError`` or ``OSError``."""
    return _change(path, lambda skew: skew.jumped(by_ns))


def drift(path: str, wall_ppm: int, monotonic_ppm: int) -> InForce:
    """Let the clocks run at these paces from now on; raises ``ClockFileError`` or ``OSError``."""
    for ppm in (wall_ppm, monotonic_ppm):
        if abs(ppm) > PPM_MAX:
            raise ClockFileError(f"a clock cannot drift by {ppm} ppm: at most by {PPM_MAX}, either way")
    return _change(path, lambda skew: skew.drifting(wall_ppm, monotonic_ppm))


def reset(path: str) -> InForce:
    """End all drift and set the wall clock right; raises ``ClockFileError`` or ``OSError``."""
    return _change(path, Skew.righted)


def _change(path: str, change: Callable[[Skew], Skew]) -> InForce:
    """Put the skew that follows from the one in force in its place; one writer at a time."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        number, skew = _read(fd, path)
        following = number + 1
        changed = change(skew.at(time.monotonic_ns()))
        os.pwrite(fd, _SLOT.pack(*changed), SLOTS_AT[following & 1])
        os.pwrite(fd, _SEQUENCE.pack(following), SEQUENCE_AT)
        return InForce(following, changed)
    finally:
        os.close(fd)


def _read(fd: int, path: str) -> InForce:
    if os.pread(fd, SIZE, 0)[: len(MAGIC)] != MAGIC or os.fstat(fd).st_size != SIZE:
        raise ClockFileError(f"{path} is no clock file")
    for _ in range(_ATTEMPTS_MAX):
        (number,) = _SEQUENCE.unpack(os.pread(fd, _SEQUENCE.size, SEQUENCE_AT))
        skew = Skew(*_SLOT.unpack(os.pread(fd, _SLOT.size, SLOTS_AT[number & 1])))
        if _SEQUENCE.unpack(os.pread(fd, _SEQUENCE.size, SEQUENCE_AT)) == (number,):
            return InForce(number, skew)
    raise ClockFileError(f"{path} never stands still: who else writes it?")


def parse(line: str) -> Tuple[InForce, Shown]:  # noqa: UP006
    """What the program printed; raises ``ValueError``."""
    number, *rest = map(int, line.split())
    return InForce(number, Skew(*rest[:5])), Shown(*rest[5:])


def jump_script(path: str, now: InForce, by_ns: int) -> Tuple[str, InForce]:  # noqa: UP006
    """A shell script that sets the wall clock forward, or back, where ``now`` is in force; and what is in force then.

    It takes a fifth of the time that this program takes to start. A jump changes one figure, which holds whenever it
    comes to be in force; so nobody has to ask for the host's time.
    """
    following = InForce(now.number + 1, now.skew.jumped(by_ns))
    slot = _put(_SLOT.pack(*following.skew), SLOTS_AT[following.number & 1], path)
    return f"{slot} && {_put(_SEQUENCE.pack(following.number), SEQUENCE_AT, path)}", following


def _put(data: bytes, at: int, path: str) -> str:
    octal = "".join(f"\\{byte:03o}" for byte in data)
    return f"printf '{octal}' | dd of={shlex.quote(path)} bs=8 seek={at // 8} conv=notrunc 2>/dev/null"


_COMMANDS: Dict[str, Tuple[int, Callable[..., InForce]]] = {  # noqa: UP006
    "make": (0, make),
    "read": (0, read),
    "reset": (0, reset),
    "jump": (1, jump),
    "drift": (2, drift),
}
"""What each command does, and how many numbers it takes."""


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; returns the exit code: 0, 1 (it could not be done), 2 (it makes no sense)."""
    try:
        path, command, *rest = arguments
        numbers, action = _COMMANDS[command]
        given = [int(number) for number in rest]
        if len(given) != numbers:
            raise ValueError(f"{command} takes {numbers} numbers")
    except (KeyError, ValueError) as problem:
        sys.stderr.write(
            f"clock_file.py FILE make|read|reset|jump NS|drift WALL_PPM MONOTONIC_PPM: {problem}\n"
        )
        return 2
    try:
        done = action(path, *given)
    except (ClockFileError, OSError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    sys.stdout.write(" ".join(map(str, (done.number, *done.skew, *shown(done.skew)))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
