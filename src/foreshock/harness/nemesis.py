"""Nemeses: what goes wrong, as packages of faults, a generator, and a final generator that heals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from foreshock.harness.capabilities import Membership, Stall
from foreshock.harness.cluster import Cluster
from foreshock.harness.fault_values import check_common_value
from foreshock.harness.generator.base import Liftable
from foreshock.harness.ledger import FaultLedger
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.harness.randomness import RandomStream
from foreshock.harness.runtime import Runtime


class NemesisContext(msgspec.Struct, frozen=True):
    """What a nemesis works with. ``primaries`` asks the target who leads (``None``: it has no such notion).

    ``ready`` asks the target whether a node can serve, and takes no answer for a no; ``versions`` are the target's.
    ``stalls`` holds back the harness's own clients; ``membership`` changes the cluster's members through the target
    (``None``: it cannot).
    """

    nodes: tuple[str, ...]
    interval_ns: int
    """Mean time between two steps of the nemesis; intensity and weight are in it already."""
    rng: RandomStream
    runtime: Runtime
    cluster: Cluster
    ledger: FaultLedger
    primaries: Callable[[], Awaitable[frozenset[str] | None]]
    stalls: Stall
    ready: Callable[[str], Awaitable[bool]]
    versions: tuple[str, ...] = ()
    membership: Membership | None = None
    intensity_permille: int = 1000
    """How hard the faults of this test are to come: twice as often, in bursts twice as likely, with 2000."""


class Shade(msgspec.Struct, frozen=True):
    """How a fault is drawn on a plot: a band from an operation in ``starts`` to the next one in ``stops``."""

    name: str
    starts: tuple[str, ...]
    stops: tuple[str, ...]
    color: str


OptionsT_co = TypeVar("OptionsT_co", bound=Options, covariant=True)


class Nemesis(ABC, Generic[OptionsT_co]):
    """One nemesis package, made once a test.

    Every fault goes into the ledger, with its inverse, *before* it is injected; is verified after by an
    independent observation; and is healed at the end. A fault that did not take raises ``FaultError``.
    """

    Options: ClassVar[type[Options]] = Options
    """The class of its options (``-o KEY=VALUE``)."""
    name: ClassVar[str]
    """Its name, in a word."""
    requires: ClassVar[frozenset[type[Any]]] = frozenset()
    """The capabilities that the cluster must offer."""
    uses: ClassVar[frozenset[type[Any]]] = frozenset()
    """The capabilities that it makes use of where the cluster offers them, and can do without."""
    shades: ClassVar[tuple[Shade, ...]] = ()
    """How its faults are drawn on a plot."""
    fells: ClassVar[frozenset[str]] = frozenset()
    """Kinds of its faults in the ledger under which a node may end by itself, and is none the worse for it: it stopped
    before it promised anything (a full disk). Its healing starts such nodes again."""
    values: ClassVar[Mapping[str, Collection[str]]] = {}
    """The names that operations take as their value, by operation: the kinds of a fault. For schedules, which are
    checked before anything is deployed."""
    heals_last: ClassVar[bool] = False
    """Whether its final generator needs a cluster that nothing else is wrong with."""

    def __init__(self, options: OptionsT_co, context: NemesisContext) -> None:
        self.options = options
        self.context = context

    @classmethod
    def check_value(cls, f: str, value: Any, nodes: Sequence[str]) -> None:
        """Look at what a schedule gives as the value of an operation, before anything is deployed.

        Raises ``ValueError`` with what is wrong, as the end of a sentence. Here only what all nemeses have in common is
        looked at: the names in :attr:`values`, as the value or as its ``kind`` or ``spec``, and ``nodes``. A nemesis
        that reads more from a mapping checks that too.
        """
        check_common_value(cls.values.get(f), value, nodes)

    @classmethod
    def needs(cls, options: OptionsT_co) -> frozenset[type[Any]]:  # type: ignore[misc]  # noqa: ARG003
        """The capabilities that the cluster must offer for these options: :attr:`requires`, and what they add."""
        return cls.requires

    @classmethod
    def mechanisms_asked(cls, options: OptionsT_co) -> frozenset[str]:  # type: ignore[misc]  # noqa: ARG003
        """The kinds of fault that these options name outright, as ``Backend.mechanisms`` has them.

        One that the backend lacks is an error before anything is deployed; what is left to the nemesis is not named.
        """
        return frozenset()

    @property
    @abstractmethod
    def fs(self) -> frozenset[str]:
        """The names of the operations that this nemesis performs; no two nemeses share one."""

    @abstractmethod
    def generator(self) -> Liftable:
        """Faults without end, already spaced by the interval; the harness limits the time."""

    @abstractmethod
    def final_generator(self) -> Liftable:
        """What heals everything; finite, and harmless when nothing is wrong."""

    @abstractmethod
    async def invoke(self, operation: Operation) -> Any:
        """Perform one operation; what is returned is its JSON-able result in the history.

        The value of an operation that injects a fault is the name of a kind, or a mapping that says what to do to
        whom. The result is such a mapping: the same operation with the result of an earlier one as its value does
        the same to the same nodes, without a draw. So what happened in one run can be asked for in another.
        """
