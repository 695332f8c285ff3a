"""The ``shm-lock`` target: processes of one host compete for locks in memory that they share.

Each node is a lock agent that its clients talk to. What it promises, and why, is argued in
``targets/reference/node/shm_lock/agent.py``; what the memory is, in ``shared_memory.py`` beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from foreshock.harness.cluster import Node
from foreshock.harness.errors import HarnessError
from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.options import Options
from foreshock.harness.randomness import RandomStream
from foreshock.harness.request import Request
from foreshock.harness.services import Client
from foreshock.harness.simulation.machine import PAUSED, RUNNING, SimMachine
from foreshock.harness.simulation.program import Machine, Program
from foreshock.harness.target import ClientContext
from foreshock.targets.faults import KILLS
from foreshock.targets.locks.connection_client import ConnectionLockClient
from foreshock.targets.locks.lock_node import LockNodeTarget
from foreshock.targets.locks.simulated_memory import SimulatedHost
from foreshock.targets.reference.node.program import variant
from foreshock.targets.reference.node.shm_lock.agent import LockAgent
from foreshock.targets.reference.node.shm_lock.knobs import ShmLockKnobs
from foreshock.targets.reference.simulated import SimulatedNode

_DEFAULTS = ShmLockKnobs()


class ShmLockOptions(Options, frozen=True, kw_only=True):
    """Options of the ``shm-lock`` target."""

    ttl_ms: Annotated[
        int,
        Meta(
            description="How long a client may believe in its lock after its last request that was answered, and with "
            "the margin how long the grant of a dead agent is respected (ms).",
            ge=10,
            le=3_600_000,
        ),
    ] = _DEFAULTS.ttl_ms
    clock_margin_percent: Annotated[
        int, Meta(description="How much longer than ttl_ms that is (percent).", ge=0, le=10_000)
    ] = _DEFAULTS.clock_margin_percent
    ping_ms: Annotated[
        int | None,
        Meta(
            description="How long a client that holds or waits may be silent before it is pinged (ms); half of "
            f"ttl_ms at most. Default: {_DEFAULTS.ping_ms}; drawn from the seed in the simulator.",
        ),
    ] = None
    poll_ms: Annotated[
        int | None,
        Meta(
            description="How often, about, an agent looks whether a lock has become free (ms). "
            f"Default: {_DEFAULTS.poll_ms}; drawn from the seed in the simulator.",
        ),
    ] = None


class ShmLock(LockNodeTarget[ShmLockOptions]):
    """Lock agents of one host: ``flock`` on mapped files says who holds a lock, also when its holder dies."""

    Options = ShmLockOptions
    program: ClassVar[str] = "shm-lock"
    server_class: ClassVar[type[Any]] = LockAgent
    default_nodes: ClassVar[int] = 3
    shared_directory: ClassVar[bool] = True
    services: ClassVar[Mapping[str, type[Any]]] = {"lock": ConnectionLockClient}
    promises: ClassVar[tuple[Promise, ...]] = (
        Promise(
            workload="lock",
            nemeses=(*KILLS, "pause", "partition", "packet", "clock"),
            concurrency="3n",
            because="the kernel frees what a dead agent held and nothing else, and whoever finds it so waits until the "
            "dead agent's client has stopped believing; agents do not talk to each other",
        ),
        Promise(
            workload="lock",
            nemeses=(*KILLS, "pause", "partition", "packet", "clock", "stall"),
            options={"fencing": True},
            concurrency="3n",
            because="tokens are counted in the memory that outlives the agents, so the resource refuses a client that "
            "stood still",
        ),
    )
    exhibits: ClassVar[tuple[Exhibit, ...]] = (
        Exhibit(
            name="shm-lock/stalled-client",
            request=Request(
                target="shm-lock",
                workload="lock",
                nemesis="stall",
                concurrency="3n",
                interval=2.0,
                time_limit=20.0,
                options={"ttl_ms": 1_000, "use_ms": 100},
            ),
            budget=20,
            shows="a client that stood still between its last look at the clock and its write wipes out another's "
            "update; with fencing=true the resource refuses it",
        ),
    )

    def __init__(self, options: ShmLockOptions, *, seed: int) -> None:
        super().__init__(options, seed=seed)
        self._host = SimulatedHost()

    def draw_knobs(self, rng: RandomStream) -> Mapping[str, Any]:
        """How often to ping and to look."""
        return {
            "ping_ms": rng.choice((100, 250, 500, 500)),
            "poll_ms": rng.choice((2, 5, 5, 20)),
        }

    def own_knobs(self, node: Node) -> Mapping[str, Any]:
        """Where the memory is that the agents share."""
        if node.shared_directory is None:
            raise HarnessError(
                "the agents of shm-lock need a directory that they share, and this backend gives its nodes none: "
                "use --backend process, docker or sim"
            )
        return {"shared_directory": node.shared_directory}

    def simulate(self, node: Node, machine: Machine) -> Program:
        """The same agent as a program of the simulator, on the memory of the one simulated host."""
        configuration = self.configuration(node)
        knobs: ShmLockKnobs = configuration.program_knobs

        def alive() -> bool:
            return not isinstance(machine, SimMachine) or machine.state in (RUNNING, PAUSED)

        def build(
            _configuration: Any, _files: Any, random_bits: Callable[[int], int], *_: Any, **__: Any
        ) -> Any:
            memory = self._host.attach(node.name, alive, cells_max=knobs.locks_max)
            return variant(self.bug, LockAgent)(configuration, knobs, memory, random_bits)

        return SimulatedNode(machine, configuration, self.bug, build=build)

    def client(self, service: str, context: ClientContext) -> Client:
        """A client of the agent on the process's own node."""
        client: Client = self.services[service](context, context.node)
        return client
