"""What ``kill`` and ``pause`` share: a fault that strikes whole nodes, and how it is recorded, verified and healed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar

from foreshock.harness.errors import FaultError, HarnessError
from foreshock.harness.generator.base import Liftable
from foreshock.harness.nemesis import Nemesis, NemesisContext
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.nemesis.leaders import known_primaries
from foreshock.nemesis.node_specs import NO_QUORUM, pick_nodes
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
    """The operation that strikes; its value is a node spec."""
    stop: str
    """The operation that undoes it."""
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
            return await self._start(str(operation.value))
        return await self._stop(some=operation.value == SOME)

    async def _start(self, spec: str) -> Mapping[str, Any]:
        context, words = self.context, self.words
        possible = await self.candidates()
        primaries = await known_primaries(context) if spec == "primaries" else frozenset()
        nodes = pick_nodes(spec, [n for n in context.nodes if n in possible], primaries, self._rng)
        if not nodes:
            return {"nodes": [], "note": f"there was no node to {words.start}"}
        fault = context.ledger.planned(
            words.kind, nodes, value=spec, inverse=context.cluster.inverse(words.kind, nodes)
        )
        try:
            await self.strike(nodes)
            seen = await self._observe(nodes, expected=True)
        except HarnessError as error:
            context.ledger.failed(fault, str(error))
            raise
        missed = sorted(node for node in nodes if not seen.get(node, False))
        if missed:
            reason = f"{words.start} did not take: not {words.struck}: {', '.join(missed)}"
            context.ledger.failed(fault, reason)
            raise FaultError(reason)
        context.ledger.verified(fault, dict.fromkeys(sorted(nodes), words.struck))
        return {"spec": spec, "nodes": sorted(nodes)}

    async def _stop(self, *, some: bool) -> Mapping[str, Any]:
        context, words = self.context, self.words
        faults = context.ledger.open_faults(words.kind)
        try:
            struck = await self._struck_now()
            nodes = self._rng.sample(struck, self._rng.between(1, len(struck))) if some and struck else struck
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
