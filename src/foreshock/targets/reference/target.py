"""What all targets of the reference node share: its cluster, as containers, processes, or programs of the simulator."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from foreshock.harness.cluster import Cluster, Node
from foreshock.harness.errors import DeployError, UsageError
from foreshock.harness.randomness import RandomStream
from foreshock.harness.runtime import Runtime
from foreshock.harness.services import Client
from foreshock.harness.simulation.program import Machine, Program
from foreshock.harness.target import ClientContext, Target
from foreshock.targets.reference.admin_client import ReferenceAdminClient, ask_status
from foreshock.targets.reference.cache_client import ReferenceCacheClient
from foreshock.targets.reference.client import Body, ClientSettings
from foreshock.targets.reference.clock_port import ClockPort
from foreshock.targets.reference.lock_client import ReferenceLockClient
from foreshock.targets.reference.node.configuration import NodeConfiguration, bug_name
from foreshock.targets.reference.node.machine import NodeKnobs
from foreshock.targets.reference.node.programs import load_program
from foreshock.targets.reference.node.services.cache import CacheOrigin
from foreshock.targets.reference.node.services.lock import Locks
from foreshock.targets.reference.node.services.register import Registers
from foreshock.targets.reference.node.sessions import Sessions
from foreshock.targets.reference.node_command import node_command
from foreshock.targets.reference.options import ReferenceOptions, chosen_knobs
from foreshock.targets.reference.register_client import ReferenceRegisterClient
from foreshock.targets.reference.simulated import SimulatedNode
from foreshock.targets.reference.zipapp import NODE_ZIPAPP, build_node_zipapp

T = TypeVar("T")

_STATUS_TIMEOUT_MS = 500
_LEADER_TIMEOUT_NS = 20_000_000_000
_LEADER_POLL_NS = 50_000_000
_CARRIED = (Sessions, Registers, Locks, CacheOrigin)
ADMINISTRATION_TIMEOUT_MS = 20_000
"""How long a change of the cluster may take: a new member must catch up first."""


ReferenceOptionsT = TypeVar("ReferenceOptionsT", bound=ReferenceOptions)


class ReplicatedTarget(ClockPort, Target[ReferenceOptionsT]):
    """A cluster of reference nodes that replicate registers, locks and a cache's origin; every node serves all three.

    A protocol's target names its program, and draws its knobs.
    """

    program: ClassVar[str]
    """What the nodes run, as ``--program`` names it."""
    default_nodes: ClassVar[int] = 5
    services: ClassVar[Mapping[str, type[Any]]] = {
        "register": ReferenceRegisterClient,
        "lock": ReferenceLockClient,
        "cache": ReferenceCacheClient,
    }

    def __init__(self, options: ReferenceOptionsT, *, seed: int) -> None:
        super().__init__(options, seed=seed)
        knobs = load_program(self.program).knobs
        self._chosen = chosen_knobs(options, knobs)
        self._node_knobs = NodeKnobs(
            sessions_max=options.sessions_max,
            requests_max=options.requests_max,
            request_timeout_ms=options.request_timeout_ms,
            clock_margin_percent=options.clock_margin_percent,
        )
        try:
            knobs(**self._chosen).checked()
            self._drawn = self.draw_knobs(RandomStream(seed, f"target/{self.program}/knobs")).checked()
        except ValueError as problem:
            raise UsageError(f"target {self.program}: {problem}") from None

    @abstractmethod
    def draw_knobs(self, rng: RandomStream) -> Any:
        """The knobs of the nodes in a simulated test: drawn, with those that the user chose in place."""

    @property
    def chosen(self) -> Mapping[str, Any]:
        """The knobs of the program that the user set."""
        return self._chosen

    @classmethod
    def takes_bug(cls, name: str, bug: type[Any]) -> bool:
        """Whether the bug is one of this target's protocol, or of the services that every protocol carries."""
        return name.startswith(f"{cls.program}/") or issubclass(bug, _CARRIED)

    # --- nodes --------------------------------------------------------------------------------------------------

    def command(self, node: Node) -> Sequence[str]:
        """Run ``node.pyz`` with the user's knobs and the planted bug, if any."""
        knobs = {**self._chosen, **self._node_knobs._asdict()}
        path = self.file(node, NODE_ZIPAPP)
        return node_command(path, node, self.program, knobs, peers=node.peers, bug=self.bug)

    def files(self) -> Mapping[str, bytes]:
        """The node itself, as one file."""
        return {NODE_ZIPAPP: build_node_zipapp()}

    def simulate(self, node: Node, machine: Machine) -> Program:
        """The same node as a program of the simulator, with knobs drawn from the seed."""
        configuration = NodeConfiguration(
            name=node.name,
            members=tuple(sorted((node.name, *node.peers))),
            program=self.program,
            program_knobs=self._drawn,
            cluster=node.cluster,
            knobs=self._node_knobs,
            bug=None if self.bug is None else bug_name(self.bug),
        )
        return SimulatedNode(machine, configuration, self.bug)

    async def ready(self, node: Node, runtime: Runtime) -> bool:
        """Whether the node answers a request for its status."""
        return await ask_status(node, runtime, timeout_ms=_STATUS_TIMEOUT_MS) is not None

    async def set_up(self, cluster: Cluster, runtime: Runtime) -> None:
        """Wait until a leader is known; raises ``DeployError`` when none comes within 20 s."""
        deadline_ns = runtime.now() + _LEADER_TIMEOUT_NS
        while not await self.primaries(cluster, runtime):
            if runtime.now() >= deadline_ns:
                raise DeployError(
                    f"the {self.program} cluster elected no leader within 20 s; look into the nodes' logs, and see "
                    "that the nodes reach one another"
                )
            await runtime.sleep(_LEADER_POLL_NS)

    async def primaries(self, cluster: Cluster, runtime: Runtime) -> frozenset[str]:
        """The nodes that say that they lead; all are asked at once, and one that does not answer does not lead."""
        answers = await self._statuses(cluster, runtime)
        return frozenset(answer["name"] for answer in answers if answer["leading"])

    async def _statuses(self, cluster: Cluster, runtime: Runtime) -> list[Body]:
        asked = [
            runtime.spawn(
                ask_status(node, runtime, timeout_ms=_STATUS_TIMEOUT_MS), name=f"status of {node.name}"
            )
            for node in cluster.nodes
        ]
        answers = [await task.wait() for task in asked]
        return [answer for answer in answers if answer is not None]

    # --- clients ------------------------------------------------------------------------------------------------

    def client(self, service: str, context: ClientContext) -> Client:
        """A client of one service; a lock's session lives for ``lock_ttl_ms``."""
        ttl_ms = self.options.lock_ttl_ms if service == "lock" else self.options.session_ttl_ms
        settings = ClientSettings(attempt_timeout_ms=self.options.attempt_timeout_ms, session_ttl_ms=ttl_ms)
        client: Client = self.services[service](context, settings)
        return client

    # --- administration -----------------------------------------------------------------------------------------

    async def add_member(
        self, cluster: Cluster, runtime: Runtime, name: str, via: str | None = None
    ) -> list[str]:
        """Make a running node a member; returns all members. Raises ``Definite`` or ``Indefinite``."""
        return await self._administer(cluster, runtime, lambda admin: admin.add_member(name), via)

    async def remove_member(
        self, cluster: Cluster, runtime: Runtime, name: str, via: str | None = None
    ) -> list[str]:
        """Make a node a member no longer; returns all members. Raises ``Definite`` or ``Indefinite``."""
        return await self._administer(cluster, runtime, lambda admin: admin.remove_member(name), via)

    async def members(self, cluster: Cluster, runtime: Runtime) -> frozenset[str] | None:
        """Who the members are, as the node says that leads; of several, the one that has applied the most."""
        leading = [answer for answer in await self._statuses(cluster, runtime) if answer["leading"]]
        newest = max(leading, key=lambda answer: int(answer["applied"]), default=None)
        return None if newest is None else frozenset(newest["members"])

    async def transfer_leadership(self, cluster: Cluster, runtime: Runtime, name: str | None = None) -> None:
        """Hand leadership to a node, or to the most advanced follower. Raises ``Definite`` or ``Indefinite``."""
        await self._administer(cluster, runtime, lambda admin: admin.transfer_leadership(name))

    async def _administer(
        self,
        cluster: Cluster,
        runtime: Runtime,
        change: Callable[[ReferenceAdminClient], Awaitable[T]],
        via: str | None = None,
    ) -> T:
        context = ClientContext(
            runtime=runtime,
            node=next((node for node in cluster.nodes if node.name == via), cluster.nodes[0]),
            nodes=cluster.nodes,
            process=0,
            identity="foreshock-admin",
            timeout_ms=ADMINISTRATION_TIMEOUT_MS,
        )
        admin = ReferenceAdminClient(context)
        try:
            return await change(admin)
        finally:
            await admin.close()
