"""What all cache targets share: the origin on the first node, copies on the others, and what each mode promises."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar

from foreshock.harness.cluster import Cluster, Endpoint, Node
from foreshock.harness.errors import Definite, UsageError
from foreshock.harness.options import Options
from foreshock.harness.randomness import RandomStream
from foreshock.harness.runtime import Runtime
from foreshock.harness.services import Client
from foreshock.harness.simulation.program import Machine, Program
from foreshock.harness.target import ClientContext, Target
from foreshock.targets.caches.client import (
    CacheNodeClient,
    ClientSettings,
    LookAsideClient,
    ReadThroughClient,
    WriteThroughClient,
)
from foreshock.targets.caches.figures import CacheFigures
from foreshock.targets.caches.options import CacheOptions, NodeCacheOptions
from foreshock.targets.caches.ring import RingSource
from foreshock.targets.reference.admin_client import ask_status
from foreshock.targets.reference.clock_port import ClockPort
from foreshock.targets.reference.node.cache.knobs import (
    ASIDE,
    LEASES,
    LINEARIZABLE,
    WRITE_THROUGH,
    CacheKnobs,
)
from foreshock.targets.reference.node.cache.postgresql import DatabaseAddress, find_password
from foreshock.targets.reference.node.configuration import NodeConfiguration, bug_name
from foreshock.targets.reference.node.machine import NodeKnobs
from foreshock.targets.reference.node_command import node_command
from foreshock.targets.reference.simulated import SimulatedNode
from foreshock.targets.reference.zipapp import NODE_ZIPAPP, build_node_zipapp

_STATUS_TIMEOUT_MS: Final = 500
_FOREVER_MS: Final = 86_400_000
"""The bound of copies that never run out: the longest that the workload takes, and longer than a test."""
_CLIENTS: Final[Mapping[str, type[CacheNodeClient]]] = {
    ASIDE: LookAsideClient,
    LEASES: LookAsideClient,
    WRITE_THROUGH: WriteThroughClient,
    LINEARIZABLE: ReadThroughClient,
}

CacheOptionsT = TypeVar("CacheOptionsT", bound=CacheOptions)


def names_of(nodes: Sequence[Node]) -> list[str]:
    """The nodes' names in order of index."""
    return [node.name for node in nodes]


def origin_of(node: Node) -> str:
    """The name of the cluster's first node, from what any node knows."""
    names = list(node.peers)
    names.insert(node.index, node.name)
    return names[0]


class CacheTarget(Target[CacheOptionsT]):
    """A cache over an origin: the first node has the database, and the others have copies of what it holds."""

    default_nodes: ClassVar[int] = 4
    store: ClassVar[str]
    """Where nodes keep copies, as ``--set store=`` names it."""
    services: ClassVar[Mapping[str, type[Any]]] = {"cache": CacheNodeClient}

    def __init__(self, options: CacheOptionsT, *, seed: int) -> None:
        super().__init__(options, seed=seed)
        self.seen = CacheFigures()
        """What the clients of this test saw."""
        self._rings: RingSource | None = None
        _check_origin(options.origin)
        try:
            self._chosen = self.knobs_of_options().checked()
        except ValueError as problem:
            raise UsageError(f"target {self.store}-cache: {problem}") from None

    @classmethod
    def stated_options(cls, options: Options, service: str) -> Mapping[str, Any]:  # noqa: ARG003
        """What the mode promises, in the words of the cache workload's options."""
        assert isinstance(options, CacheOptions)
        if options.mode == LINEARIZABLE:
            return {"consistency": "linearizable"}
        consistency = "session" if options.mode == WRITE_THROUGH else "bounded-staleness"
        margin_percent = getattr(options, "clock_margin_percent", 20)
        ttl_ms = max(options.ttl_ms, options.negative_ttl_ms) if options.ttl_ms else _FOREVER_MS
        bound_ms = min(ttl_ms * (100 + margin_percent) // 100, _FOREVER_MS)
        return {"consistency": consistency, "staleness_bound_ms": bound_ms}

    def knobs_of_options(self) -> CacheKnobs:
        """The knobs of the nodes as the options set them, but for the name of the origin."""
        given = {name: getattr(self.options, name, None) for name in CacheKnobs._fields if name != "origin"}
        chosen = {name: value for name, value in given.items() if value is not None}
        return CacheKnobs(**{**chosen, "store": self.store, "database": self.options.origin})

    @property
    def node_knobs(self) -> NodeKnobs:
        """The knobs of the node that carries the program."""
        return NodeKnobs(clock_margin_percent=getattr(self.options, "clock_margin_percent", 20))

    # --- nodes --------------------------------------------------------------------------------------------------

    def command(self, node: Node) -> Sequence[str]:
        """Run ``node.pyz`` with the user's knobs and the planted bug, if any."""
        knobs = {**self._chosen._replace(origin=origin_of(node))._asdict(), **self.node_knobs._asdict()}
        path = self.file(node, NODE_ZIPAPP)
        return node_command(path, node, "cache", knobs, peers=self.peers(node), bug=self.bug)

    def environment(self, node: Node) -> Mapping[str, str]:
        """The password of the origin's database, for the origin alone, found here as libpq would find it."""
        if node.index != 0 or not self.options.origin.startswith("postgresql://"):
            return {}
        password = find_password(DatabaseAddress.of(self.options.origin), os.environ)
        return {} if password is None else {"PGPASSWORD": password}

    def peers(self, node: Node) -> Mapping[str, Endpoint]:
        """The other nodes that run our program."""
        return node.peers

    def files(self) -> Mapping[str, bytes]:
        """The node itself, as one file."""
        return {NODE_ZIPAPP: build_node_zipapp()}

    def simulate(self, node: Node, machine: Machine) -> Program | None:
        """The same node as a program of the simulator, with limits drawn from the seed, over a log."""
        if self.options.origin.startswith("postgresql:"):
            return None
        knobs = self.draw_knobs(RandomStream(self.seed, "target/cache/knobs"))
        configuration = NodeConfiguration(
            name=node.name,
            members=tuple(sorted((node.name, *self.peers(node)))),
            program="cache",
            program_knobs=knobs._replace(origin=origin_of(node), database="log"),
            cluster=node.cluster,
            knobs=self.node_knobs,
            bug=None if self.bug is None else bug_name(self.bug),
        )
        return SimulatedNode(machine, configuration, self.bug)

    def draw_knobs(self, rng: RandomStream) -> CacheKnobs:
        """Stores so small that copies are pushed out, or large ones; quick and slow retries."""
        drawn = {
            "entries_max": rng.choice((1, 2, 8, 1_000, 1_000)),
            "bytes_max": rng.choice((500, 4_096, 1 << 20, 1 << 20)),
        }
        given = {name: value for name in drawn if (value := getattr(self.options, name, None)) is not None}
        return self._chosen._replace(retry_ms=rng.choice((20, 60, 150)), **{**drawn, **given})

    async def ready(self, node: Node, runtime: Runtime) -> bool:
        """Whether the node says that it serves."""
        status = await ask_status(node, runtime, timeout_ms=_STATUS_TIMEOUT_MS)
        return status is not None and bool(status.get("serving"))

    async def primaries(self, cluster: Cluster, runtime: Runtime) -> frozenset[str]:  # noqa: ARG002
        """The origin."""
        return frozenset({cluster.nodes[0].name})

    def figures(self) -> Mapping[str, Any]:
        """Hits and misses, and what the origin was asked, as the clients saw it."""
        return self.seen.as_dict()

    # --- clients ------------------------------------------------------------------------------------------------

    def client(self, service: str, context: ClientContext) -> Client:  # noqa: ARG002
        """A client of the mode."""
        return _CLIENTS[self.options.mode](
            context, self.settings(context), self.rings(context.nodes), self.seen
        )

    def settings(self, context: ClientContext) -> ClientSettings:
        """How the clients behave."""
        return ClientSettings(
            origin=context.nodes[0].name,
            replicas=self.options.replicas,
            attempt_timeout_ms=self.options.attempt_timeout_ms,
        )

    def rings(self, nodes: Sequence[Node]) -> RingSource:
        """The ring, at first of all nodes but the origin."""
        if self._rings is None:
            self._rings = RingSource(names_of(nodes)[1:])
        return self._rings

    # --- membership ---------------------------------------------------------------------------------------------

    async def add_member(self, cluster: Cluster, runtime: Runtime, name: str, via: str | None = None) -> None:  # noqa: ARG002
        """Let a node keep copies; clients see it within half a second."""
        self.rings(cluster.nodes).join(self._member(cluster, name))

    async def remove_member(
        self,
        cluster: Cluster,
        runtime: Runtime,  # noqa: ARG002
        name: str,
        via: str | None = None,  # noqa: ARG002
    ) -> None:
        """Let a node keep copies no longer; clients see it within half a second."""
        self.rings(cluster.nodes).leave(self._member(cluster, name))

    async def members(self, cluster: Cluster, runtime: Runtime) -> frozenset[str]:  # noqa: ARG002
        """The origin, and the nodes on the ring."""
        return frozenset({cluster.nodes[0].name, *self.rings(cluster.nodes).ring.nodes})

    def _member(self, cluster: Cluster, name: str) -> str:
        """The name, if it is that of a node that may come and go; raises ``Definite``."""
        if name == cluster.nodes[0].name:
            raise Definite(f"{name} is the origin: it neither joins nor leaves")
        if name not in names_of(cluster.nodes):
            raise Definite(f"there is no node {name!r}")
        return name


class NodeCacheTarget(ClockPort, CacheTarget[NodeCacheOptions]):
    """A cache whose nodes are all our own."""

    Options = NodeCacheOptions

    @classmethod
    def takes_bug(cls, name: str, bug: type[Any]) -> bool:  # noqa: ARG003
        """Whether the bug is one of a cache's."""
        return name.startswith("cache/")


def _check_origin(origin: str) -> None:
    """A password has no business in an option, which is on a command line and in the stored plan."""
    if origin.startswith("postgresql://"):
        try:
            DatabaseAddress.of(origin)
        except ValueError as problem:
            raise UsageError(f"the option 'origin': {problem}") from None
