"""The five naive targets: what tutorials teach, on five nodes. What is wrong with each is told in its program.

They promise nothing, under any faults or none. Each has an exhibit: an ordinary test that convicts it, set up so that
its counterexample is small enough to follow by hand (``docs/tutorial.md`` does that).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from foreshock.harness.cluster import Cluster, Node
from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.options import Options
from foreshock.harness.request import Request
from foreshock.harness.runtime import Runtime
from foreshock.harness.services import Client
from foreshock.harness.simulation.program import Machine, Program
from foreshock.harness.target import ClientContext, Target
from foreshock.targets.naive.clients import NaiveCacheClient, NaiveLockClient, NaiveRegisterClient
from foreshock.targets.naive.node.common import NaiveKnobs
from foreshock.targets.reference.admin_client import ask_status
from foreshock.targets.reference.client import ClientSettings
from foreshock.targets.reference.clock_port import ClockPort
from foreshock.targets.reference.node.configuration import NodeConfiguration
from foreshock.targets.reference.node_command import node_command
from foreshock.targets.reference.simulated import SimulatedNode
from foreshock.targets.reference.zipapp import NODE_ZIPAPP, build_node_zipapp

_STATUS_TIMEOUT_MS = 500
_DEFAULTS = NaiveKnobs()
_BUDGET = 10
"""Any seed convicts, more often than not; some draw a network or faults that do no harm in so short a test."""

_ONE_WRITER: Mapping[str, Any] = {"active_keys": 1, "readers_percent": 80}
"""Of five clients one writes and four read, all at one key: what goes wrong is then easy to see."""


def _exhibit(name: str, workload: str, options: Mapping[str, Any], *, shows: str, **more: Any) -> Exhibit:
    """A short test with few clients at one key: what it finds is small."""
    request = Request(
        target=name,
        workload=workload,
        concurrency="5",
        time_limit=10.0,
        options=options,
        interval=2.0,
        **more,
    )
    return Exhibit(name=name, request=request, budget=_BUDGET, shows=shows)


class NaiveOptions(Options, frozen=True):
    """Options that all five have."""

    patience_ms: Annotated[
        int, Meta(description="How long a node waits for the other nodes' answers (ms).", ge=1, le=60_000)
    ] = _DEFAULTS.patience_ms


class NaiveLockOptions(NaiveOptions, frozen=True):
    """Options of the naive lock."""

    lock_ttl_ms: Annotated[
        int, Meta(description="Time to live of a lock without renewal (ms).", ge=100, le=3_600_000)
    ] = _DEFAULTS.lock_ttl_ms


class NaiveTarget(ClockPort, Target[NaiveOptions]):
    """What the five share: their programs travel in the reference node's zipapp, and are started as it is."""

    Options = NaiveOptions
    program: ClassVar[str]
    """What the nodes run, as ``--program`` names it."""
    promises: ClassVar[tuple[Promise, ...]] = ()

    @property
    def knobs(self) -> NaiveKnobs:
        """The knobs of the nodes, as the options set them."""
        chosen = {name: getattr(self.options, name, None) for name in NaiveKnobs._fields}
        return NaiveKnobs(**{name: value for name, value in chosen.items() if value is not None})

    def command(self, node: Node) -> Sequence[str]:
        """Run ``node.pyz`` with the naive program."""
        path = self.file(node, NODE_ZIPAPP)
        return node_command(path, node, self.program, self.knobs._asdict(), peers=node.peers, bug=None)

    def files(self) -> Mapping[str, bytes]:
        """The node itself, as one file."""
        return {NODE_ZIPAPP: build_node_zipapp()}

    def simulate(self, node: Node, machine: Machine) -> Program:
        """The same node as a program of the simulator."""
        configuration = NodeConfiguration(
            name=node.name,
            members=tuple(sorted((node.name, *node.peers))),
            program=self.program,
            program_knobs=self.knobs,
            cluster=node.cluster,
        )
        return SimulatedNode(machine, configuration)

    async def ready(self, node: Node, runtime: Runtime) -> bool:
        """Whether the node answers a request for its status."""
        return await ask_status(node, runtime, timeout_ms=_STATUS_TIMEOUT_MS) is not None

    def client(self, service: str, context: ClientContext) -> Client:
        """A client of the one service that the target has."""
        client: Client = self.services[service](context, ClientSettings())
        return client


class NaivePaxos(NaiveTarget):
    """Paxos that counts the votes cast instead of the votes for."""

    program: ClassVar[str] = "naive-paxos"
    services: ClassVar[Mapping[str, type[Any]]] = {"register": NaiveRegisterClient}
    exhibits: ClassVar[tuple[Exhibit, ...]] = (
        _exhibit(
            "naive-paxos",
            "register",
            {**_ONE_WRITER, "cas": 0},
            shows="a write that every acceptor refused is called done, and the next read finds the value before it",
        ),
    )


class _FirstVoterTarget(NaiveTarget):
    services: ClassVar[Mapping[str, type[Any]]] = {"register": NaiveRegisterClient}

    async def primaries(self, cluster: Cluster, runtime: Runtime) -> frozenset[str]:
        """The nodes that some node took for the leader, as far as they have heard; there may be several."""
        asked = [
            runtime.spawn(
                ask_status(node, runtime, timeout_ms=_STATUS_TIMEOUT_MS), name=f"status of {node.name}"
            )
            for node in cluster.nodes
        ]
        answers = [await task.wait() for task in asked]
        return frozenset(answer["name"] for answer in answers if answer is not None and answer["leading"])


class NaiveRaft(_FirstVoterTarget):
    """Raft whose leader is the first node that votes, with no terms and no log."""

    program: ClassVar[str] = "naive-raft"
    exhibits: ClassVar[tuple[Exhibit, ...]] = (
        _exhibit(
            "naive-raft",
            "register",
            {**_ONE_WRITER, "cas": 0},
            nemesis="partition",
            rate=20.0,
            shows="on either side of a partition a leader goes on, and a read at the one misses a write at the other",
        ),
    )


class NaiveZab(_FirstVoterTarget):
    """Zab whose leader is the first node that votes, with no epochs and no history."""

    program: ClassVar[str] = "naive-zab"
    exhibits: ClassVar[tuple[Exhibit, ...]] = (
        _exhibit(
            "naive-zab",
            "register",
            {**_ONE_WRITER, "cas": 0},
            nemesis="kill",
            rate=20.0,
            shows="a leader that was killed and knows nothing leads again, and a value that was written is gone",
        ),
    )


class NaiveLock(NaiveTarget):
    """A lock that is granted when any node says that it is free."""

    Options = NaiveLockOptions
    program: ClassVar[str] = "naive-lock"
    services: ClassVar[Mapping[str, type[Any]]] = {"lock": NaiveLockClient}
    exhibits: ClassVar[tuple[Exhibit, ...]] = (
        _exhibit(
            "naive-lock",
            "lock",
            {"locks": 1},
            rate=20.0,
            shows="two clients ask at the same moment, each finds a node that says 'free', and both hold the lock",
        ),
    )


class NaiveCache(NaiveTarget):
    """A cache that returns the first copy found, and writes to all nodes with no version."""

    program: ClassVar[str] = "naive-cache"
    services: ClassVar[Mapping[str, type[Any]]] = {"cache": NaiveCacheClient}
    exhibits: ClassVar[tuple[Exhibit, ...]] = (
        _exhibit(
            "naive-cache",
            "cache",
            {**_ONE_WRITER, "deletes": 0},
            nemesis="partition",
            rate=20.0,
            shows="a node that a put did not reach goes on to hand out the value before it",
        ),
    )
