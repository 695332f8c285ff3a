"""What a node of the simulator sees and what it must offer.

A simulated node is a sans-I/O *program* in the hands of a *machine*: the machine calls it with what happens, the
program asks the machine for effects. Callbacks, not coroutines: they are what the simulator does most.
"""

from __future__ import annotations

from typing import Any, Protocol

from foreshock.harness.randomness import RandomStream


class Disk(Protocol):
    """The machine's disk. What was not synced survives the program, as it would in the kernel's page cache, and is lost
    when the machine loses its power (all of it, or all but a prefix, by the seed)."""

    def names(self) -> list[str]:
        """The names of the files there, sorted."""

    def read(self, name: str) -> bytes:
        """The whole file as the node sees it now; raises ``FileNotFoundError``."""

    def append(self, name: str, data: bytes) -> None:
        """Add to the end of the file, creating it; not durable until synced."""

    def truncate(self, name: str, length: int) -> None:
        """Cut the file; not durable until synced."""

    def replace(self, name: str, data: bytes) -> None:
        """Put a whole new file in place of the old one, atomically: a power cut before a sync may leave either."""

    def remove(self, name: str) -> None:
        """Remove the file durably; a missing one is no error."""

    def is_durable(self, name: str) -> bool:
        """Whether the file would be there as it is after a power cut. What a killed program left may not be."""

    def sync(self, name: str, token: object) -> None:
        """Make the file as it is now durable; the program's ``on_synced(token)`` follows after the disk's latency.

        Where the disk fails, what was not durable is lost, and the program ends, as if it had been told and had exited.
        """


class Machine(Protocol):
    """What a program may ask of the simulated machine that carries it."""

    @property
    def name(self) -> str:
        """The node's name, which is also its address."""

    @property
    def disk(self) -> Disk:
        """The node's disk; it outlives the program."""

    def now(self) -> int:
        """The node's own monotonic clock in ns: for durations and deadlines within one life of the node.

        It may drift when a nemesis says so, and never goes back while the machine has power: after a power cut it
        begins at 0 again. What it shows means nothing to any other node.
        """

    def wall_now(self) -> int:
        """The node's own wall clock in ns since the simulation began, as the node believes.

        It may drift, and jump both ways, when a nemesis says so. Untouched it shows what ``Runtime.now()`` of a
        client shows, so instants can be compared between nodes and clients, as far as clocks can be trusted.
        """

    def random(self, name: str) -> RandomStream:
        """A named stream of randomness of this node; the same name goes on after a restart."""

    def send(self, destination: str, message: Any) -> None:
        """Send a datagram to a node: it may be lost, delayed, reordered or duplicated. Never mutated once sent."""

    def connect(self, destination: str) -> int:
        """Open a FIFO connection to a node; ``on_open`` or ``on_close`` with this number follows."""

    def write(self, connection: int, message: Any) -> None:
        """Send on a connection; on one that is closed it does nothing."""

    def close(self, connection: int) -> None:
        """Close a connection; its other end hears ``on_close``, this one does not."""

    def set_timer(self, delay_ns: int, token: Any) -> None:
        """Call ``on_timer(token)`` once after the delay by this node's monotonic clock; an equal token replaces the
        earlier one."""

    def cancel_timer(self, token: Any) -> None:
        """Forget the timer; one that is not set is no error."""

    def log(self, line: str) -> None:
        """One line to the node's log."""

    def crash(self, reason: str) -> None:
        """The program gives up (a corrupt file, a full disk): the node ends as if it had exited."""


class Program(Protocol):
    """A node, sans I/O. Made anew at each start of the node; calls never overlap."""

    def on_start(self) -> None:
        """Called once before anything else; reads what the disk holds."""

    def on_datagram(self, source: str, message: Any) -> None:
        """A datagram arrived."""

    def on_open(self, connection: int, source: str, *, accepted: bool) -> None:
        """A connection is up: accepted from ``source`` (a node, or a client), or one of our own to ``source``."""

    def on_message(self, connection: int, message: Any) -> None:
        """A message arrived on a connection."""

    def on_close(self, connection: int) -> None:
        """The other end closed or broke the connection, or it could not be opened."""

    def on_timer(self, token: Any) -> None:
        """A timer ran out."""

    def on_synced(self, token: object) -> None:
        """What was handed to ``disk.sync`` under this token is durable."""
