"""A deployed cluster, and the backend that deploys it. What can be done to one: ``foreshock.harness.capabilities``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import msgspec

from foreshock.harness.options import Options
from foreshock.harness.runtime import Runtime


class Endpoint(msgspec.Struct, frozen=True):
    """Where something listens."""

    host: str
    port: int


class FurtherPort(msgspec.Struct, frozen=True):
    """One more port of a node, named by ``Target.further_ports``: what the node's own fields are for its first."""

    endpoint: Endpoint
    listen: Endpoint
    peers: Mapping[str, Endpoint]
    address: Endpoint | None = None


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
    address: Endpoint | None = None
    """Where every other node reaches it; ``None`` where each has a way of its own (``Target.tells_addresses``)."""
    source: str | None = None
    """An address from which it may connect to others, so that links tell it apart at once; ``None``: any will do."""
    version: str | None = None
    """Which of ``Target.versions`` it runs; ``None`` where the target has but one."""
    clock_file: str | None = None
    """The file that says what its clocks show (``--clock`` of the reference node), where the test skews clocks and the
    target reads it by itself (``Target.clock``)."""
    further: Mapping[str, FurtherPort] = {}
    """Its further ports, by the names that ``Target.further_ports`` gives them. A fault of the network strikes all."""


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
        """For the live view: ``running``, ``paused``, ``killed``, ``lost`` or ``unreachable``, by node."""

    def inverse(self, fault: str, nodes: frozenset[str]) -> Mapping[str, Any]:
        """What ``Backend.heal`` will need to undo a fault from another process.

        ``fault`` is its kind in the ledger: ``kill``, ``pause``, ``partition``, ``power``, ``clock``, ``packet``,
        ``disk``, ``starve``, ``upgrade``.

        Written to the ledger before the fault is injected; always has the key ``backend``. A fault that ends with
        the harness, because it is one of the harness itself or of nothing that outlives the run, has no inverse:
        the nemesis then writes :data:`foreshock.harness.ledger.ENDS_WITH_HARNESS`.
        """


C = TypeVar("C")


def capability(cluster: Cluster, kind: type[C]) -> C | None:
    """The cluster as a capability, or ``None`` when it does not offer it."""
    return cluster if isinstance(cluster, kind) else None


class Backend(Protocol):
    """Where nodes live. Registered under ``foreshock.backends``; made without arguments."""

    name: str
    simulated: bool
    Options: ClassVar[type[Options]]
    """The class of its own options (``-o KEY=VALUE``); :class:`Options` itself where it has none."""

    def available(self) -> str | None:
        """``None`` when this machine can run it, else one sentence that says what is missing and the mend."""

    def offers(self) -> frozenset[type[Any]]:
        """The capabilities that every cluster of this backend has, on this machine."""

    def mechanisms(self) -> Mapping[str, str]:
        """By what this machine carries out each kind of fault here: ``{"packet/delay": "NFQUEUE in user space"}``.

        A kind that is not there cannot be had. For ``foreshock doctor``, ``list`` and the table in the docs.
        """

    def cluster(self, specification: ClusterSpecification, runtime: Runtime) -> Cluster:
        """Prepare (but do not yet deploy) a cluster."""

    def heal(self, fault: Mapping[str, Any]) -> str:
        """Undo a fault that a dead run left, from its inverse in the ledger; says what was done. Idempotent."""

    def clean(self, run: str | None) -> list[str]:
        """Remove all that dead runs (or the one named) left; says what was removed. Touches only what is ours."""


@runtime_checkable
class NamesHosts(Protocol):
    """A backend on hosts that are there before any test: a node bears the name of its host."""

    def hosts_of(self, options: Any) -> tuple[str, ...]:
        """The hosts that its options name, which are the nodes where a plan names none; none: it names none either."""


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
    needs: frozenset[type[Any]] = frozenset()
    """The capabilities that the test's nemeses require: what is costly is prepared only when it is needed."""
    options: Options = Options()
    """The backend's own options."""
