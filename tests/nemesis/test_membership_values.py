from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foreshock.harness.operation import Operation
from foreshock.nemesis.membership import MembershipNemesis, MembershipOptions


def make(world: Any, seed: int = 1) -> MembershipNemesis:
    return MembershipNemesis(MembershipOptions(), world.context(seed))


def perform(nemesis: MembershipNemesis, f: str, value: Any = None) -> Any:
    return asyncio.run(nemesis.invoke(Operation(f=f, value=value)))


@pytest.mark.parametrize("kind", ["remove", "remove-two", "replace"])
def test_the_result_of_a_change_asks_for_the_same_changes(kind: str, world: Any) -> None:
    first = perform(make(world), "change-members", kind)
    asked = list(world.membership.calls)
    back = perform(make(world), "restore-members")
    calls = list(world.membership.calls)
    for seed in range(5, 8):
        world.membership.calls.clear()
        assert perform(make(world, seed), "change-members", first) == first
        assert world.membership.calls == asked
        assert perform(make(world, seed), "restore-members", back)["changes"] == back["changes"]
        assert world.membership.calls == calls
        assert len(world.membership.now) == 5


def test_no_more_are_removed_than_can_be_spared_whatever_is_asked_for(world: Any) -> None:
    world.membership.now = {"n1", "n2", "n3"}
    asked = {"asked": [["remove n1 through n2"]]}
    assert perform(make(world), "change-members", asked)["changes"] == []
    assert world.membership.now == {"n1", "n2", "n3"}


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({"asked": [["remove n9 through n1"]]}, "there is no node 'n9'"),
        ({}, "its table needs a kind"),
        ({"asked": [["drop n1"]]}, "asks for no change"),
        ({"asked": ["remove n1 through n2"]}, "list of lists"),
        ("rmove", "is not known.*remove"),
    ],
)
def test_what_cannot_be_read_is_refused_before_anything_is_deployed(value: Any, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        MembershipNemesis.check_value("change-members", value, ["n1", "n2"])
    MembershipNemesis.check_value("change-members", {"asked": [["remove n1 through n2"]]}, ["n1", "n2"])
