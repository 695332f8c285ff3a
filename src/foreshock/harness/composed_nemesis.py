"""Several nemeses as one: each keeps its own schedule, and each operation goes to the nemesis that knows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foreshock.harness.composition import Composition
from foreshock.harness.errors import PlugInError
from foreshock.harness.fault_generators import Exclusive, Pauses, Quiet, Scripted, drawn
from foreshock.harness.generator import any_of
from foreshock.harness.generator.base import Liftable
from foreshock.harness.generator.native import Native, lift
from foreshock.harness.nemesis import Nemesis, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.plug_in_contract import lifted
from foreshock.harness.schedule_file import steps_of

SECOND_NS = 1_000_000_000


class ComposedNemesis:
    """The nemeses of one test. Faults of different packages overlap as their schedules have it, unless the composition
    says otherwise.

    Raises :class:`PlugInError` when two nemeses perform operations of the same name.
    """

    def __init__(self, nemeses: Sequence[Nemesis[Any]], composition: Composition | None = None) -> None:
        self.nemeses = tuple(nemeses)
        self.composition = Composition() if composition is None else composition
        self._by_f: dict[str, Nemesis[Any]] = {}
        for nemesis in self.nemeses:
            for f in sorted(nemesis.fs):
                other = self._by_f.setdefault(f, nemesis)
                if other is not nemesis:
                    raise PlugInError(
                        f"the nemeses {other.name!r} and {nemesis.name!r} both perform {f!r}, "
                        "so they cannot run in one test"
                    )

    @property
    def fs(self) -> frozenset[str]:
        """The names of every operation of every nemesis."""
        return frozenset(self._by_f)

    @property
    def shades(self) -> tuple[Shade, ...]:
        """How each fault is drawn on a plot."""
        return tuple(shade for nemesis in self.nemeses for shade in nemesis.shades)

    def generator(self) -> Liftable:
        """The faults of the main phase, which begins now; ``None`` where there is no nemesis."""
        if not self.nemeses:
            return None
        composition = self.composition
        if composition == Composition(weights=composition.weights):
            return self._streams()
        began_ns = self.nemeses[0].context.runtime.now()
        if composition.schedule is not None:
            steps = steps_of(composition.schedule)
            return Scripted([step._replace(at_ns=began_ns + step.at_ns) for step in steps])
        mixed = self._exclusive(began_ns) if composition.mix == "exclusive" else self._streams()
        if not composition.quiet:
            return mixed
        windows = [
            (began_ns + round(window.from_s * SECOND_NS), began_ns + round(window.to_s * SECOND_NS))
            for window in composition.quiet
        ]
        return Quiet(lift(mixed), Pauses(tuple(windows)), self.final_generator)

    def _streams(self) -> Liftable:
        """Whichever nemesis' next operation comes soonest."""
        return any_of(*map(_generator_of, self.nemeses))

    def _exclusive(self, began_ns: int) -> Liftable:
        """One fault at a time, of a nemesis drawn by weight."""
        context = self.nemeses[0].context
        generators = tuple(map(_generator_of, self.nemeses))
        weights = tuple(self.composition.weights.get(nemesis.name, 1) for nemesis in self.nemeses)
        first = drawn(weights, context.runtime.random("nemesis/mix").below(sum(weights)))
        clocks_ns = (began_ns,) * len(generators)

        def over() -> bool:
            return not context.ledger.open_faults()

        return Exclusive(generators, weights, over, first, began_ns, clocks_ns)

    def final_generator(self) -> Liftable:
        """What heals everything, one nemesis after the other: as they were named, but last those that heal last."""
        ordered = sorted(self.nemeses, key=lambda nemesis: nemesis.heals_last)
        return [
            lifted(f"the nemesis {nemesis.name!r}", "final_generator()", nemesis.final_generator())
            for nemesis in ordered
        ]

    async def invoke(self, operation: Operation) -> Any:
        """Perform one operation by the nemesis that knows it; raises :class:`PlugInError` when none does."""
        nemesis = self._by_f.get(operation.f)
        if nemesis is None:
            raise PlugInError(f"no nemesis of this test performs {operation.f!r}")
        return await nemesis.invoke(operation)


def _generator_of(nemesis: Nemesis[Any]) -> Native:
    return lifted(f"the nemesis {nemesis.name!r}", "generator()", nemesis.generator())
