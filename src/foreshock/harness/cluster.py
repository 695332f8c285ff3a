"""A deployed cluster and what can be done to it.

A backend's cluster offers *capabilities*; a nemesis asks for them by type. A capability that a cluster lacks is
simply not offered, and a plan that needs it gets an error before anything is deployed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import msgspec

from foreshock.harness.runtime import Runtime

Grudge = Mapping[str, frozenset[str]]
"""Who refuses to hear whom: ``{receiver: {senders whose messages are dropped}}``. One-way cuts are natural."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where something listens."""

    host: str
    port: int


class Node(msgspec.Struct, frozen=True):
    """One node of a cluster as its target and its clients see it.

    ``endpoint`` is where clients of the harness reach it; ``listen`` is what the node itself binds; ``peers`` is
    how *this* node reaches each other node (by address in containers, through a link proxy on one machine).
    ``data_directory`` is the node's own, as a path where it runs. ``shared_directory`` is one that all nodes share,
    where the target asks for it (``Target.shared_directory``) and the backend has one host for all.
    """

    name: str
    index: int
    endpoint: Endpoint
    listen: Endpoint
    peers: Mapping[str, Endpoint]
    data_directory: str
    cluster: str
    shared_directory: str | None = None


class Cluster(Protocol):
    """The nodes of one test, deployed by a backend. Everything is idempotent where it can be."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes, in order of index; the same for the whole test."""

    async def deploy(self) -> None:
        """Bring up every node and wait until each is healthy. Raises ``DeployError`` with one sentence."""

    async def fetch_logs(self, directory: Path) -> None:
        """Write each node's logs to ``directory/<node>/``; what could not be had is a ``HarnessError``."""

    async def teardown(self) -> None:
        """Remove everything that ``deploy`` made, whatever state it is in."""

    async def states(self) -> Mapping[str, str]:
        """For the live view: ``running``, ``paused``, ``killed`` or ``lost`` by node."""

    def inverse(self, fault: str, nodes: frozenset[str]) -> Mapping[str, Any]:
        """What ``Backend.heal`` will need to undo a fault (``kill``, ``pause``, ``partition``, ``power``, ``clock``)
        from another process.

        Written to the ledger before the fault is injected; always has the key ``backend``. A fault that ends with
        the harness, because it is one of the harness itself or of nothing that outlives the run, has no inverse:
        the nemesis then writes :data:`foreshock.harness.ledger.ENDS_WITH_HARNESS`.
        """


C = TypeVar("C")


def capability(cluster: Cluster, kind: type[C]) -> C | None:
    """The cluster as a capability, or ``None`` when it does not offer it."""
    return cluster if isinstance(cluster, kind) else None


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

    async def pause(self, nodes: frozenset[str]) -> None:
        """Stop the nodes (SIGSTOP or the freezer)."""

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
        """Send one-way datagrams over the given (sender, receiver) pairs and say which arrived."""


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


class ClockReading(msgspec.Struct, frozen=True):
    """What the clocks of a node show."""

    wall_offset_ns: int
    """How far its wall clock is ahead of the harness's own (negative: behind)."""
    monotonic_ns: int
    """Its monotonic clock: only differences mean something."""


@runtime_checkable
class Clock(Protocol):
    """The clocks of nodes can be set and slewed, each node's on its own."""

    async def jump_clocks(self, by_ns: Mapping[str, int]) -> None:
        """Set the nodes' wall clocks forward by so much, or back; monotonic clocks do not jump."""

    async def drift_clocks(self, drift_ppm: Mapping[str, int]) -> None:
        """Let all clocks of the nodes gain so many millionths from now on (negative: lose)."""

    async def reset_clocks(self, nodes: frozenset[str]) -> None:
        """End all drift and set the wall clocks right."""

    async def read_clocks(self, nodes: frozenset[str]) -> Mapping[str, ClockReading]:
        """An independent observation: what the nodes' clocks show now."""


@runtime_checkable
class Stall(Protocol):
    """The clients of chosen processes can be made to stand still. The harness itself offers it, on every backend."""

    def processes(self) -> tuple[int, ...]:
        """The processes that have a client now, in order."""

    def stall(self, processes: frozenset[int], duration_ns: int) -> None:
        """Let the processes stand still from now on, until they are released or the time is up."""

    def release(self, processes: frozenset[int]) -> None:
        """Let the processes go on; one that does not stand still is no error."""

    def stalled(self, processes: frozenset[int]) -> Mapping[int, bool]:
        """Whether each process is held back."""

    def steps(self, processes: frozenset[int]) -> Mapping[int, int]:
        """An independent observation: how often each process's coroutines have gone on so far."""


class Backend(Protocol):
    """Where nodes live. Registered under ``foreshock.backends``; made without arguments."""

    name: str
    simulated: bool

    def available(self) -> str | None:
        """``None`` when this machine can run it, else one sentence that says what is missing and the mend."""

    def offers(self) -> frozenset[type[Any]]:
        """The capabilities that every cluster of this backend has."""

    def cluster(self, specification: ClusterSpecification, runtime: Runtime) -> Cluster:
        """Prepare (but do not yet deploy) a cluster."""

    def heal(self, fault: Mapping[str, Any]) -> str:
        """Undo a fault that a dead run left, from its inverse in the ledger; says what was done. Idempotent."""

    def clean(self, run: str | None) -> list[str]:
        """Remove all that dead runs (or the one named) left; says what was removed. Touches only what is ours."""


class ClusterSpecification(msgspec.Struct, frozen=True):
    """What a backend needs to deploy a cluster.

    ``run`` is unique to the run and goes into every label and name. ``target`` is a
    :class:`foreshock.harness.target.Target`. ``directory`` is the run's own folder in the store.
    """

    run: str
    target: Any
    node_names: tuple[str, ...]
    directory: Path
    seed: int
    ready_timeout_ms: int = 30_000
