"""What ``kill`` and ``pause`` share: a fault that strikes whole nodes, and how it is recorded, verified and healed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from foreshock.harness.errors import FaultError, HarnessError
from foreshock.harness.generator.base import Liftable
from foreshock.harness.nemesis import Nemesis, NemesisContext
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.nemesis.leaders import nodes_of_spec
from foreshock.nemesis.node_specs import NO_QUORUM, known_spec, named_nodes
from foreshock.nemesis.schedule import Faults, FaultSchedule

OBSERVE_ATTEMPTS_MAX = 20
OBSERVE_PAUSE_NS = 100_000_000

SOME: Final = "some"
"""The value of a stop that undoes the fault only on a random part of the nodes, at least on one."""

Observe = Callable[[frozenset[str]], Awaitable[Mapping[str, bool]]]


class Words(NamedTuple):
    """The names that one node fault goes by."""

    kind: str
    """In the ledger, and for ``Cluster.inverse``."""
    start: str
    """The operation that strikes; its value is a node spec, or a mapping such as its result."""
    stop: str
    """The operation that undoes it: everywhere, on :data:`SOME`, or on the ``nodes`` of a mapping."""
    struck: str
    """The state of a node that was struck, for messages."""
    alike: tuple[str, ...] = ()
    """Kinds of fault of other nemeses that bring about the same state, which ``stop`` ends as well."""


OptionsT_co = TypeVar("OptionsT_co", bound=Options, covariant=True)


class NodeFaultNemesis(Nemesis[OptionsT_co], Generic[OptionsT_co]):
    """Strikes nodes by a node spec, and undoes it on every node that needs it."""

    words: Words

    def __init__(self, options: OptionsT_co, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._rng = context.rng.stream("strike")

    @classmethod
    def check_value(cls, f: str, value: Any, nodes: Sequence[str]) -> None:
        """A node spec, or a table with ``nodes`` or ``spec``; the end of a fault needs neither."""
        super().check_value(f, value, nodes)
        if f == cls.words.start and isinstance(value, Mapping) and not {"nodes", "spec"} & set(value):
            raise ValueError('its table needs nodes (nodes = ["n1"]) or a spec (spec = "one")')

    @property
    def fs(self) -> frozenset[str]:
        """The two operations."""
        return frozenset({self.words.start, self.words.stop})

    @abstractmethod
    def targets(self) -> tuple[str, ...]:
        """The node specs to choose from, each as likely."""

    @abstractmethod
    async def candidates(self) -> frozenset[str]:
        """The nodes that can be struck now."""

    @abstractmethod
    async def strike(self, nodes: frozenset[str]) -> None:
        """Inject the fault."""

    @abstractmethod
    async def undo(self, nodes: frozenset[str]) -> None:
        """Undo the fault on nodes that are struck."""

    @abstractmethod
    async def struck(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """An independent observation of which nodes are in the state that the fault brings about."""

    def generator(self) -> Liftable:
        """Strikes and undoes without end."""
        words = self.words
        faults = Faults(words.start, words.stop, self.targets(), brief=NO_QUORUM, in_parts=SOME)
        return FaultSchedule.first(faults, self.context)

    def final_generator(self) -> Liftable:
        """One step that undoes all there is to undo."""
        return Operation(f=self.words.stop)

    async def invoke(self, operation: Operation) -> Any:
        """Strike or undo; a fault that did not take, or did not heal, is a ``FaultError``."""
        if operation.f == self.words.start:
            return await self._start(operation.value)
        return await self._stop(operation.value)

    def details(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002
        """What else the coming strike is made of: as the value asks for it, else drawn. Part of the result."""
        return {}

    async def inflict(self, nodes: frozenset[str], value: Any) -> int:
        """Strike exactly these nodes, with everything that belongs to a fault; returns its number in the ledger."""
        context, words = self.context, self.words
        fault = context.ledger.planned(
            words.kind, nodes, value=value, inverse=context.cluster.inverse(words.kind, nodes)
        )
        try:
            await self.strike(nodes)
            seen = await self._observe(nodes, expected=True)
            missed = sorted(node for node in nodes if not seen.get(node, False))
            if missed:
                raise FaultError(f"{words.start} did not take: not {words.struck}: {', '.join(missed)}")
        except HarnessError as error:
            context.ledger.failed(fault, str(error))
            raise
        context.ledger.verified(fault, self.observed(nodes))
        return fault

    def observed(self, nodes: frozenset[str]) -> Any:
        """What is written into the ledger when the strike was seen to have taken."""
        return dict.fromkeys(sorted(nodes), self.words.struck)

    async def relieve(self, nodes: frozenset[str], faults: Collection[int]) -> list[str]:
        """Undo these faults on those of the nodes that suffer them, and that no other fault keeps struck; in order."""
        ledger, words = self.context.ledger, self.words
        alike = [fault for kind in (words.kind, *words.alike) for fault in ledger.open_faults(kind)]
        kept = {node for fault in alike if fault.id not in faults for node in fault.nodes}
        seen = await self.struck(nodes)
        struck = [node for node in self.context.nodes if node in nodes - kept and seen.get(node, False)]
        await self._undo(frozenset(struck))
        return struck

    async def _start(self, value: Any) -> Mapping[str, Any]:
        asked: Mapping[str, Any] = value if isinstance(value, Mapping) else {"spec": value}
        possible = await self.candidates()
        nodes = named_nodes(asked, self.context.nodes)
        spec = asked.get("spec")
        if nodes is None:
            nodes = await self._picked(known_spec(spec), possible)
        nodes &= possible
        if not nodes:
            return {"nodes": [], "note": f"there was no node to {self.words.start}"}
        details = self.details(asked)
        await self.inflict(nodes, {"spec": spec, **details} if details else spec)
        return {"spec": spec, "nodes": sorted(nodes), **details}

    async def _picked(self, spec: str, possible: frozenset[str]) -> frozenset[str]:
        among = [node for node in self.context.nodes if node in possible]
        return await nodes_of_spec(self.context, spec, self._rng, among)

    async def _stop(self, value: Any) -> Mapping[str, Any]:
        context, words = self.context, self.words
        faults = context.ledger.open_faults(words.kind)
        named = named_nodes(value, context.nodes) if isinstance(value, Mapping) else None
        try:
            struck = await self._struck_now()
            nodes = struck
            if named is not None:
                nodes = [node for node in struck if node in named]
            elif value == SOME and struck:
                nodes = self._rng.sample(struck, self._rng.between(1, len(struck)))
            await self._undo(frozenset(nodes))
        except HarnessError as error:
            for fault in faults:
                context.ledger.failed(fault.id, str(error))
            raise
        left = sorted(set(struck) - set(nodes))
        for fault in faults:
            if not set(fault.nodes) & set(left):
                context.ledger.healed(fault.id)
        alike = [fault for kind in words.alike for fault in context.ledger.open_faults(kind)]
        stray = sorted(set(nodes) - {node for fault in (*faults, *alike) for node in fault.nodes})
        return (
            {"nodes": sorted(nodes)}
            | ({"left": left} if left else {})
            | ({"not by us": stray} if stray else {})
        )

    async def _struck_now(self) -> list[str]:
        seen = await self.struck(frozenset(self.context.nodes))
        return [node for node in self.context.nodes if seen.get(node, False)]

    async def _undo(self, nodes: frozenset[str]) -> None:
        if not nodes:
            return
        await self.undo(nodes)
        after = await self._observe(nodes, expected=False)
        left = sorted(node for node in nodes if after.get(node, False))
        if left:
            raise FaultError(f"{self.words.stop} did not take: still {self.words.struck}: {', '.join(left)}")

    async def _observe(self, nodes: frozenset[str], *, expected: bool) -> Mapping[str, bool]:
        """Look until every node is as expected, or the attempts are used up; the last observation."""
        for attempt in range(OBSERVE_ATTEMPTS_MAX):
            if attempt:
                await self.context.runtime.sleep(OBSERVE_PAUSE_NS)
            seen = await self.struck(nodes)
            if all(seen.get(node, not expected) is expected for node in nodes):
                break
        return seen
