"""What can be done to a deployed cluster: each capability is a small protocol, and a nemesis asks for it by type.

A backend's cluster offers those that it can carry. One that it lacks is simply not offered, and a plan that needs it
gets an error before anything is deployed. Each has an *independent observation* beside what it does, so that a fault
is known to be there by other means than by having been asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol, runtime_checkable

import msgspec

Grudge = Mapping[str, frozenset[str]]
"""Who refuses to hear whom: ``{receiver: {senders whose messages are dropped}}``. One-way cuts are natural."""

Link = tuple[str, str]
"""One direction between two nodes: ``(sender, receiver)``."""


def in_words(kind: type[Any]) -> str:
    """A capability as messages name it: ``power cut`` for ``PowerCut``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()


@runtime_checkable
class Kill(Protocol):
    """Nodes can be killed (SIGKILL) and started again on the same data."""

    async def kill(self, nodes: frozenset[str]) -> None:
        """Kill the nodes' processes at once; a node that is already down stays down."""

    async def start(self, nodes: frozenset[str]) -> None:
        """Start the nodes again and return when their processes run (not when they are healthy)."""

    async def running(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """An independent observation: does the node's process exist (by pid *and* start time)?"""


@runtime_checkable
class Pause(Protocol):
    """Nodes can be stopped in their tracks and resumed."""

    def pause_means(self) -> tuple[str, ...]:
        """By what nodes can be stopped here (``signal``, ``freezer``, ``simulated``); the first one is the default."""

    async def pause(self, nodes: frozenset[str], means: str | None = None) -> None:
        """Stop the nodes by one of :meth:`pause_means`; raises ``FaultError`` for means that are not among them."""

    async def resume(self, nodes: frozenset[str]) -> None:
        """Let them go on."""

    async def paused(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """An independent observation: is the node's process stopped?"""


@runtime_checkable
class Partition(Protocol):
    """Links between nodes can be cut, each way on its own."""

    async def cut(self, grudge: Grudge) -> None:
        """Drop all that the grudge names, in place of the grudge in force before. Empty heals."""

    async def heard(self, pairs: frozenset[tuple[str, str]]) -> Mapping[tuple[str, str], bool]:
        """Send one-way datagrams over the given (sender, receiver) pairs and say which arrived.

        They tell what is cut: a :class:`LinkShape` in force does nothing to them.
        """


@runtime_checkable
class Primary(Protocol):
    """The cluster can say which nodes believe that they lead."""

    async def primaries(self) -> frozenset[str]:
        """The nodes that say so now; more than one after a partition, none during an election."""


@runtime_checkable
class Membership(Protocol):
    """Nodes can be made members of the running cluster, and members no longer. A target offers it, not a backend."""

    async def add(self, name: str, via: str) -> None:
        """Have a running node made a member, asking the node ``via`` first.

        Raises ``Definite`` when the cluster refused; whatever else is raised leaves the change in doubt.
        """

    async def remove(self, name: str, via: str) -> None:
        """Have a node made a member no longer; as :meth:`add`."""

    async def members(self) -> frozenset[str] | None:
        """An independent observation: who the members are, as who leads says; ``None`` when nobody says so."""


@runtime_checkable
class PowerCut(Protocol):
    """The power of nodes can be cut: what they had not synced is lost, or torn. ``Kill.start`` brings them back."""

    async def cut_power(self, nodes: frozenset[str]) -> None:
        """Cut the power of all the nodes at once; one whose process is down already loses its unsynced data too."""

    async def unsynced_lost(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """An independent observation, after a cut: whether what was written just before it and not synced is gone."""


class ClockReading(msgspec.Struct, frozen=True):
    """What the clocks of a node show."""

    wall_offset_ns: int
    """How far its wall clock is ahead of the harness's own (negative: behind)."""
    monotonic_ns: int
    """Its monotonic clock: only differences mean something."""
    true_ns: int
    """A clock that nobody has touched, at the same moment: only differences mean something."""
    by_file: bool = False
    """Whether nobody could look at the clocks themselves, as the node was down or stopped: so they were written."""


@runtime_checkable
class Clock(Protocol):
    """The clocks of nodes can be set and slewed, each node's on its own."""

    async def jump_clocks(self, by_ns: Mapping[str, int]) -> None:
        """Set the nodes' wall clocks forward by so much, or back; monotonic clocks do not jump."""

    async def drift_clocks(self, drift_ppm: Mapping[str, int], *, wall_only: bool = False) -> None:
        """Let all clocks of the nodes, or only the wall clocks, gain so many millionths from now on (or lose)."""

    async def reset_clocks(self, nodes: frozenset[str]) -> None:
        """End all drift and set the wall clocks right."""

    async def read_clocks(self, nodes: frozenset[str]) -> Mapping[str, ClockReading]:
        """An independent observation: what the nodes' clocks show now."""


@runtime_checkable
class Stall(Protocol):
    """The clients of chosen processes can be made to stand still. The harness itself offers it, on every backend."""

    def processes(self) -> tuple[int, ...]:
        """The processes that have a client now, in order."""

    def living(self, processes: frozenset[int]) -> frozenset[int]:
        """The processes that have a client now on the threads of these, some of which may have crashed since."""

    def stall(self, processes: frozenset[int], duration_ns: int) -> None:
        """Let the processes stand still from now on, until they are released or the time is up."""

    def release(self, processes: frozenset[int]) -> None:
        """Let the processes go on; one that does not stand still is no error."""

    def stalled(self, processes: frozenset[int]) -> Mapping[int, bool]:
        """Whether each process is held back."""

    def steps(self, processes: frozenset[int]) -> Mapping[int, int]:
        """An independent observation: how often each process's coroutines have gone on so far."""


PROBE_BYTES: Final = 228
"""How long one probe of ``Shape.probe_links`` is on its way, headers of IP and UDP included."""
RATE_QUEUE_MS: Final = 1_000
"""A link with a rate holds back what it would pass in this time; what comes when it is full is lost, as in a router."""


class LinkShape(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What happens to the packets of one direction between two nodes. Chances are in parts per million."""

    delay_us: int = 0
    """How much longer each packet takes, in the median."""
    jitter_us: int = 0
    """By how much that varies; never below no delay at all, and packets may so overtake each other.

    ``uniform``: at most so much either way. ``normal``: the standard deviation. ``pareto`` (of shape 3): a long tail;
    nothing comes more than an eighth of this early, one packet in 35 more than this late, none 8 times.
    """
    distribution: Literal["uniform", "normal", "pareto"] = "uniform"
    loss_ppm: int = 0
    duplicate_ppm: int = 0
    reorder_ppm: int = 0
    """How many packets are held back for ``reorder_us`` more, so that later ones overtake them."""
    reorder_us: int = 0
    corrupt_ppm: int = 0
    """How many have a bit flipped; whoever checks sums throws them away."""
    rate_bytes_per_s: int = 0
    """How much passes a second; 0: as much as there is."""


class LinkReading(msgspec.Struct, frozen=True):
    """What probes over one direction between two nodes have shown."""

    sent: int
    arrived: int
    """How many different probes arrived, whole or not."""
    duplicates: int
    overtaken: int
    """How many arrived after one that was sent later."""
    corrupted: int
    delay_us: tuple[int, int, int]
    """The least, the median and the longest time from sending to arrival; all 0 when nothing arrived.

    Where sender and receiver have different clocks it is only good for comparing two readings of one link.
    """


@runtime_checkable
class Shape(Protocol):
    """Packets between nodes can be delayed, lost, doubled, reordered, corrupted or slowed, each way on its own."""

    def shape_kinds(self) -> frozenset[str]:
        """Which of these the cluster can carry: ``delay``, ``loss``, ``duplicate``, ``reorder``, ``corrupt``, ``rate``
        (of :class:`LinkShape`), ``reset`` (of connections) and ``names`` (of name look-up)."""

    async def shape(self, links: Mapping[Link, LinkShape]) -> None:
        """Put these shapes in force, in place of all that were before; an empty mapping ends all."""

    async def probe_links(
        self, links: frozenset[Link], *, count: int, interval_us: int
    ) -> Mapping[Link, LinkReading]:
        """An independent observation: send so many numbered datagrams over each link and say what became of them.

        Each is :data:`PROBE_BYTES` long, and all links are probed at once. It waits for what may still be on its way
        under the shapes in force.
        """

    async def reset_connections(self, links: frozenset[Link]) -> Mapping[Link, int]:
        """Break (with a reset) every connection between the two nodes of each link that the sender opened.

        Returns how many there were on each, as observed before and no longer there after; raises ``FaultError`` for
        one that is still there.
        """

    async def break_names(self, nodes: frozenset[str]) -> None:
        """Let no name be found by the nodes from now on, in place of the nodes before; none: all is found again."""

    async def names_found(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """An independent observation: whether the node's resolver answers."""


class DiskFault(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is wrong with a disk."""

    kind: Literal["full", "slow-sync", "failing-sync", "read-only", "bit-flip"]
    delay_ms: int = 0
    """How much longer a sync takes (``slow-sync``)."""
    percent: int = 100
    """How many syncs fail (``failing-sync``), or how many blocks have a flipped bit when read (``bit-flip``)."""
    seed: int = 0
    """Which ones, where not all."""


class DiskReading(msgspec.Struct, frozen=True):
    """What trying a node's disk has shown, on a file that is not the node's own."""

    write: str
    """``ok``, or the name of the error (``ENOSPC``, ``EROFS``)."""
    sync: str
    """``ok``, or the name of the error (``EIO``)."""
    sync_ms: int
    intact: bool
    """Whether what had been written and synced before is read as it was."""


@runtime_checkable
class Disk(Protocol):
    """The disks of nodes can be made to fail, each node's on its own."""

    def disk_kinds(self) -> frozenset[str]:
        """The kinds of :class:`DiskFault` that the cluster can carry."""

    async def break_disks(self, faults: Mapping[str, DiskFault]) -> None:
        """Put these faults in force, each in place of what was wrong with that node's disk before."""

    async def mend_disks(self, nodes: frozenset[str]) -> None:
        """Let the nodes' disks do what disks do again."""

    async def read_disks(self, nodes: frozenset[str]) -> Mapping[str, DiskReading]:
        """An independent observation: try to write, to sync and to read."""


@runtime_checkable
class Starve(Protocol):
    """Nodes can be kept short of what they live on: ``cpu``, ``memory`` or ``files`` (descriptors)."""

    def starve_kinds(self) -> frozenset[str]:
        """Which of the three the cluster can carry."""

    async def starve(self, resource: str, levels: Mapping[str, int]) -> None:
        """Let each node have only so much of the resource from now on.

        ``cpu``: percent of one core; ``memory``: percent of what it uses now, at least enough to live on;
        ``files``: descriptors beyond those it has open.
        """

    async def feed(self, nodes: frozenset[str]) -> None:
        """Give the nodes back what they had of everything."""

    async def starved(self, nodes: frozenset[str]) -> Mapping[str, Mapping[str, int]]:
        """An independent observation: the limits in force (as the system shows them, in its units), by resource."""


@runtime_checkable
class Upgrade(Protocol):
    """A node can be stopped and started again as another version of its program, on the same data."""

    async def upgrade(self, nodes: frozenset[str], version: str) -> None:
        """Stop the nodes and start them again in that version (one of ``Target.versions``)."""

    async def versions(self, nodes: frozenset[str]) -> Mapping[str, str]:
        """An independent observation: in which version each node's process was started."""
