"""Several nemeses as one: each keeps its own schedule, and each operation goes to the nemesis that knows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foreshock.harness.errors import PlugInError
from foreshock.harness.generator import any_of
from foreshock.harness.generator.base import Liftable
from foreshock.harness.nemesis import Nemesis, Shade
from foreshock.harness.operation import Operation


class ComposedNemesis:
    """The nemeses of one test. Faults of different packages overlap as their schedules have it.

    Raises :class:`PlugInError` when two nemeses perform operations of the same name.
    """

    def __init__(self, nemeses: Sequence[Nemesis[Any]]) -> None:
        self.nemeses = tuple(nemeses)
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
        """Whichever nemesis' next operation comes soonest; ``None`` where there is no nemesis."""
        if not self.nemeses:
            return None
        return any_of(*(nemesis.generator() for nemesis in self.nemeses))

    def final_generator(self) -> Liftable:
        """What heals everything, one nemesis after the other: as they were named, but last those that heal last."""
        ordered = sorted(self.nemeses, key=lambda nemesis: nemesis.heals_last)
        return [nemesis.final_generator() for nemesis in ordered]

    async def invoke(self, operation: Operation) -> Any:
        """Perform one operation by the nemesis that knows it; raises :class:`PlugInError` when none does."""
        nemesis = self._by_f.get(operation.f)
        if nemesis is None:
            raise PlugInError(f"no nemesis of this test performs {operation.f!r}")
        return await nemesis.invoke(operation)
