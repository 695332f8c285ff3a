"""The ``tcp-lock`` target: one lock server; a lock lives and dies with its client's connection.

What it promises, and why, is argued in ``targets/reference/node/tcp_lock/lock_server.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from foreshock.harness.cluster import Node
from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.options import Options
from foreshock.harness.randomness import RandomStream
from foreshock.harness.request import Request
from foreshock.harness.services import Client
from foreshock.harness.simulation.program import Machine, Program
from foreshock.harness.target import ClientContext
from foreshock.targets.faults import KILLS
from foreshock.targets.locks.connection_client import ConnectionLockClient
from foreshock.targets.locks.lock_node import LockNodeTarget
from foreshock.targets.reference.node.tcp_lock.knobs import TcpLockKnobs
from foreshock.targets.reference.node.tcp_lock.lock_server import LockServer
from foreshock.targets.reference.simulated import SimulatedNode

_DEFAULTS = TcpLockKnobs()


class TcpLockOptions(Options, frozen=True, kw_only=True):
    """Options of the ``tcp-lock`` target."""

    ttl_ms: Annotated[
        int,
        Meta(
            description="How long a client may believe in its lock after its last request that was answered, and with "
            "the margin how long a silent client is kept (ms).",
            ge=10,
            le=3_600_000,
        ),
    ] = _DEFAULTS.ttl_ms
    clock_margin_percent: Annotated[
        int,
        Meta(
            description="How much longer than ttl_ms a connection may be silent (percent).", ge=0, le=10_000
        ),
    ] = _DEFAULTS.clock_margin_percent
    ping_ms: Annotated[
        int | None,
        Meta(
            description="How long a client that holds or waits may be silent before it is pinged (ms); half of "
            f"ttl_ms at most. Default: {_DEFAULTS.ping_ms}; drawn from the seed in the simulator.",
        ),
    ] = None
    tokens_at_once: Annotated[
        int | None,
        Meta(
            description="How many fencing tokens one write to the disk reserves. "
            f"Default: {_DEFAULTS.tokens_at_once}; drawn from the seed in the simulator.",
        ),
    ] = None


class TcpLock(LockNodeTarget[TcpLockOptions]):
    """One lock server; its clients' locks last as long as their connections, and keep-alive finds half-open ones.

    Of several nodes the first is the server, and the others stand idle.
    """

    Options = TcpLockOptions
    program: ClassVar[str] = "tcp-lock"
    server_class: ClassVar[type[Any]] = LockServer
    default_nodes: ClassVar[int] = 1
    services: ClassVar[Mapping[str, type[Any]]] = {"lock": ConnectionLockClient}
    promises: ClassVar[tuple[Promise, ...]] = (
        Promise(
            workload="lock",
            nemeses=(*KILLS, "pause", "power", "disk", "clock"),
            concurrency="10",
            because="a lock is passed on only when its client has stopped believing by its own clock, with a margin "
            "for clocks that drift, and a server that starts waits until the beliefs of its earlier life are over",
        ),
        Promise(
            workload="lock",
            nemeses=(*KILLS, "pause", "power", "disk", "clock", "stall"),
            concurrency="10",
            options={"fencing": True},
            because="tokens go on growing through restarts, so the resource refuses a client that stood still",
        ),
    )

    exhibits: ClassVar[tuple[Exhibit, ...]] = (
        Exhibit(
            name="lock/half-open-double-grants",
            request=Request(
                target="tcp-lock",
                workload="lock",
                nemesis="none",
                bug="lock/half-open-double-grants",
                concurrency="10",
                time_limit=20.0,
                options={"use_ms": 200},
            ),
            budget=10,
            shows="the server takes a client that is busy for gone and passes its lock on while it still believes",
        ),
        Exhibit(
            name="tcp-lock/fast-clock",
            request=Request(
                target="tcp-lock",
                workload="lock",
                nemesis="clock",
                concurrency="20",
                rate=20.0,
                interval=2.0,
                time_limit=20.0,
                options={
                    "ttl_ms": 1_000,
                    "clock_margin_percent": 0,
                    "clock.kinds": "drift",
                    "clock.drift_percent_max": 50,
                    "locks": 5,
                    "blocking": 8,
                },
            ),
            budget=10,
            shows="a server whose clock runs fast, and that allows for no drift, passes on a lock that its holder "
            "still believes in; with clock_margin_percent=60 it does not",
        ),
        Exhibit(
            name="tcp-lock/stalled-client",
            request=Request(
                target="tcp-lock",
                workload="lock",
                nemesis="stall",
                concurrency="10",
                interval=2.0,
                time_limit=20.0,
                options={"ttl_ms": 1_000, "use_ms": 100},
            ),
            budget=20,
            shows="a client that stood still between its last look at the clock and its write wipes out another's "
            "update; with fencing=true the resource refuses it",
        ),
    )

    def draw_knobs(self, rng: RandomStream) -> Mapping[str, Any]:
        """How often to ping, and how often to write to the disk."""
        return {
            "ping_ms": rng.choice((100, 250, 500, 500)),
            "tokens_at_once": rng.choice((1, 2, 10, 1_000)),
        }

    def simulate(self, node: Node, machine: Machine) -> Program:
        """The same server as a program of the simulator."""
        return SimulatedNode(machine, self.configuration(node), self.bug)

    def client(self, service: str, context: ClientContext) -> Client:
        """A client of the first node."""
        client: Client = self.services[service](context, context.nodes[0])
        return client
