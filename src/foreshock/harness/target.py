"""Targets: the systems under test. A user's target is one short Python file.

Subclass :class:`Target`, say which command runs a node in the foreground and which client class serves which
service, and ``foreshock test --target ./mydb.py:MyDB --workload register`` does the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar

import msgspec

from foreshock.harness.capabilities import ClockReading
from foreshock.harness.cluster import Cluster, Node
from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.options import Options
from foreshock.harness.runtime import ConnectionRefused, Runtime, TimeoutExpired
from foreshock.harness.services import Client
from foreshock.harness.simulation.program import Machine, Program


class ClientContext(msgspec.Struct, frozen=True):
    """What a client is made from: its process is bound to ``node`` and may know all ``nodes``.

    ``identity`` is unique to the process in the run (a stable client id for retries); ``timeout_ms`` is the
    operation's deadline, which the interpreter also enforces.
    """

    runtime: Runtime
    node: Node
    nodes: tuple[Node, ...]
    process: int
    identity: str
    timeout_ms: int


OptionsT_co = TypeVar("OptionsT_co", bound=Options, covariant=True)


class Target(ABC, Generic[OptionsT_co]):
    """One system under test, made once a test from its typed options."""

    Options: ClassVar[type[Options]] = Options
    """The class of the target's options (``-o KEY=VALUE``)."""

    default_nodes: ClassVar[int] = 5
    """How many nodes are deployed where nobody says so (``--nodes``)."""

    minimum_nodes: ClassVar[int] = 1
    """How many nodes it takes at least; a plan with fewer is refused."""

    maximum_nodes: ClassVar[int | None] = None
    """Of how many nodes it makes one system at most; a plan with more is refused. ``None``: of any number."""

    packages: ClassVar[tuple[str, ...]] = ()
    """Debian packages that a node's image needs beside python3."""

    port: ClassVar[int] = 7000
    """The port on which a node listens where it has an address of its own."""

    further_ports: ClassVar[Mapping[str, int]] = {}
    """Where a node listens on more than one port: the others by names of the target's own, ``{"peer": 2380}``.

    ``Node.further["peer"]`` says what the node binds there, how clients reach it, and how it reaches each other node's.
    Partitions and packet faults strike every port, so nodes must reach each other by ``peers`` alone."""

    binaries: ClassVar[tuple[str, ...]] = ()
    """Programs that must be on the PATH when nodes run as processes of this machine.

    Or paths, which may have a ``*`` where versions differ. Who lacks one is told of :attr:`packages`."""

    shared_directory: ClassVar[bool] = False
    """Whether the nodes, on one host then, share a directory: memory of that host where the backend can make it so.

    Its path is ``Node.shared_directory``; what is in it outlives any node, and ends with the run.
    """

    tells_addresses: ClassVar[bool] = False
    """Whether nodes tell each other at which address a third one is, so that all must know it by the same one.

    Each node then has one address in the ``Node.peers`` of all others, which is its ``Node.address``. Links tell who
    connects by where it connects from, which should be ``Node.source`` where it can be set, or else by its process."""

    versions: ClassVar[tuple[str, ...]] = ()
    """The versions that its nodes can run, oldest first, where there are several: ``Node.version`` says which one.

    A node starts in the first; the ``upgrade`` nemesis starts it again in another.
    """

    clock: ClassVar[Literal["port", "preload"] | None] = "preload"
    """How its nodes come by clocks that a test skews. ``port``: they read ``Node.clock_file`` by themselves, and
    :meth:`read_clock` asks them. ``preload``: a library does it behind their back, which works for most programs that
    are linked dynamically (C, Python, Java). ``None``: neither does (static Go programs), so no test may skew them."""

    services: ClassVar[Mapping[str, type[Any]]] = {}
    """The client class by service name: ``{"register": MyRegisterClient}``; each is made with a ClientContext."""

    promises: ClassVar[tuple[Promise, ...]] = ()
    """What the target holds under which faults: ``foreshock zoo`` holds it to exactly that."""

    exhibits: ClassVar[tuple[Exhibit, ...]] = ()
    """What is known to be wrong with it, or with a planted bug of it, and a test that must show it."""

    bug: type[Any] | None = None
    """The planted bug in force (``--bug``), for targets that have any."""

    bug_name: str | None = None
    """Its name, as ``--bug`` gave it."""

    def __init__(self, options: OptionsT_co, *, seed: int) -> None:
        self.options = options
        self.seed = seed

    @abstractmethod
    def command(self, node: Node) -> Sequence[str]:
        """The command that runs the node in the foreground, logging to stdout and stderr: its words, the program first.

        It must not go into the background: the process that it starts is the one that faults strike.
        """

    def environment(self, node: Node) -> Mapping[str, str]:  # noqa: ARG002
        """Environment variables of the node's process, beside the usual ones."""
        return {}

    def files(self) -> Mapping[str, bytes]:
        """Files that every node needs, by name; they are put into ``{node.data_directory}/..``'s ``files``.

        A command refers to one as :meth:`file`.
        """
        return {}

    def file(self, node: Node, name: str) -> str:
        """The path of one of :meth:`files` where the node runs."""
        return f"{node.data_directory}/../files/{name}"

    async def ready(self, node: Node, runtime: Runtime) -> bool:
        """Whether the node can serve; asked again and again while the cluster comes up.

        The default is satisfied by a TCP connection to the node's endpoint.
        """
        try:
            connection = await runtime.timeout(runtime.connect(node.endpoint), 1_000_000_000)
        except (ConnectionRefused, TimeoutExpired):
            return False
        connection.close()
        return True

    async def set_up(self, cluster: Cluster, runtime: Runtime) -> None:
        """Called once when every node is ready (create a table, join members); raise ``DeployError``."""

    def client(self, service: str, context: ClientContext) -> Client:
        """A client of one service for one process."""
        client: Client = self.services[service](context)
        return client

    async def primaries(self, cluster: Cluster, runtime: Runtime) -> frozenset[str] | None:  # noqa: ARG002
        """The nodes that believe they lead; ``None`` where the target has no such notion."""
        return None

    async def read_clock(self, node: Node, runtime: Runtime) -> ClockReading | None:  # noqa: ARG002
        """What the node's process itself takes the time to be, where its :attr:`clock` is a ``port``.

        ``None`` when it does not say: it is down, or stopped.
        """
        return None

    async def add_member(self, cluster: Cluster, runtime: Runtime, name: str, via: str | None = None) -> Any:
        """Make a running node a member, asking the node ``via`` first, where the target can do so.

        Returns when the change is sure. Raises ``Definite`` when it was refused and will certainly not happen; what
        else is raised, and a caller that gives up waiting, leaves it in doubt.
        """
        raise NotImplementedError

    async def remove_member(
        self, cluster: Cluster, runtime: Runtime, name: str, via: str | None = None
    ) -> Any:
        """Make a node a member no longer; as :meth:`add_member`. The node itself goes on running."""
        raise NotImplementedError

    async def members(self, cluster: Cluster, runtime: Runtime) -> frozenset[str] | None:  # noqa: ARG002
        """Who the members are now, as who leads says; ``None`` when nobody says so."""
        return None

    def simulate(self, node: Node, machine: Machine) -> Program | None:  # noqa: ARG002
        """The node as a program of the simulator; ``None`` where the target cannot be simulated."""
        return None

    @classmethod
    def takes_bug(cls, name: str, bug: type[Any]) -> bool:  # noqa: ARG003
        """Whether ``--bug NAME``, which is the class ``bug``, means something to this target."""
        return False

    def figures(self) -> Mapping[str, Any]:
        """What the target knows of the test that the history does not say (a cache's hit rate): words to numbers.

        Asked once, when the last operation has ended; shown in the results and on the page, and never judged.
        """
        return {}

    @classmethod
    def stated_options(cls, options: OptionsT_co, service: str) -> Mapping[str, Any]:  # type: ignore[misc]  # noqa: ARG003
        """What the target, set so, promises of a service, as options of the workloads of that service.

        For a cache, say, ``{"consistency": "session"}``: workloads that have an option of that name check exactly
        that, unless the user says otherwise.
        """
        return {}

    @classmethod
    def can_simulate(cls) -> bool:
        """Whether :meth:`simulate` is there at all."""
        return cls.simulate is not Target.simulate

    @classmethod
    def changes_members(cls) -> bool:
        """Whether :meth:`add_member`, :meth:`remove_member` and :meth:`members` are there at all."""
        return (
            cls.add_member is not Target.add_member
            and cls.remove_member is not Target.remove_member
            and cls.members is not Target.members
        )

    @classmethod
    def knows_primaries(cls) -> bool:
        """Whether :meth:`primaries` is there at all (the ``primary`` target of a nemesis)."""
        return cls.primaries is not Target.primaries
