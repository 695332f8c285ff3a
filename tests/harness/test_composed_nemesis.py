from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from foreshock.harness.composed_nemesis import ComposedNemesis
from foreshock.harness.errors import PlugInError
from foreshock.harness.generator import lift
from foreshock.harness.generator.base import Liftable
from foreshock.harness.generator.context import GeneratorContext
from foreshock.harness.nemesis import Nemesis, Shade
from foreshock.harness.operation import NEMESIS, Operation
from foreshock.harness.options import Options
from foreshock.harness.randomness import RandomStream


class Breaker(Nemesis[Options]):
    """A nemesis that does as its subclass says and remembers what it was asked."""

    first_ns: ClassVar[int]
    heals: ClassVar[str]

    def __init__(self) -> None:
        self.asked: list[str] = []

    @property
    def fs(self) -> frozenset[str]:
        return frozenset({f"break-{self.name}", self.heals})

    def generator(self) -> Liftable:
        return Operation(f=f"break-{self.name}", time_ns=self.first_ns)

    def final_generator(self) -> Liftable:
        return Operation(f=self.heals)

    async def invoke(self, operation: Operation) -> Any:
        self.asked.append(operation.f)
        return self.name


class Early(Breaker):
    name = "early"
    first_ns = 10
    heals = "mend-early"
    shades = (Shade(name="early", starts=("break-early",), stops=("mend-early",), color="#000000"),)


class Late(Breaker):
    name = "late"
    first_ns = 20
    heals = "mend-late"


class Clashing(Late):
    name = "clashing"
    heals = "mend-early"


def names(generator: Liftable) -> list[str]:
    context = GeneratorContext.start(1, RandomStream(1, "test")).restrict(frozenset({NEMESIS}))
    rest: Any = lift(generator)
    found = []
    while (answer := rest.op(context)) is not None:
        operation, rest = answer
        found.append(operation.f)
    return found


def test_the_soonest_fault_of_any_nemesis_comes_first() -> None:
    assert names(ComposedNemesis([Late(), Early()]).generator()) == ["break-early", "break-late"]


def test_everything_is_healed_in_the_order_in_which_the_nemeses_were_named() -> None:
    assert names(ComposedNemesis([Late(), Early()]).final_generator()) == ["mend-late", "mend-early"]


def test_each_operation_goes_to_the_nemesis_that_knows_it() -> None:
    late, early = Late(), Early()
    composed = ComposedNemesis([late, early])
    assert composed.fs == {"break-late", "mend-late", "break-early", "mend-early"}
    assert asyncio.run(composed.invoke(Operation(f="mend-early"))) == "early"
    assert (late.asked, early.asked) == ([], ["mend-early"])
    assert [shade.name for shade in composed.shades] == ["early"]


def test_two_nemeses_that_share_an_operation_are_refused_by_name() -> None:
    with pytest.raises(PlugInError, match="'early' and 'clashing' both perform 'mend-early'"):
        ComposedNemesis([Early(), Clashing()])


def test_an_operation_that_nobody_knows_is_refused() -> None:
    with pytest.raises(PlugInError, match="performs 'dance'"):
        asyncio.run(ComposedNemesis([Early()]).invoke(Operation(f="dance")))


def test_no_nemesis_at_all_does_nothing() -> None:
    composed = ComposedNemesis([])
    assert composed.generator() is None
    assert names(composed.final_generator()) == []
