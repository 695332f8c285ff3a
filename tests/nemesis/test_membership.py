from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foreshock.harness.errors import FaultError, UsageError
from foreshock.harness.ledger import read_ledger
from foreshock.harness.operation import Operation
from foreshock.harness.plan import resolve
from foreshock.harness.request import Request
from foreshock.nemesis.membership import EVERY, MembershipNemesis, MembershipOptions


def make(world: Any, seed: int = 1) -> MembershipNemesis:
    return MembershipNemesis(MembershipOptions(), world.context(seed))


def perform(nemesis: MembershipNemesis, f: str, value: str | None = None) -> Any:
    return asyncio.run(nemesis.invoke(Operation(f=f, value=value)))


def test_a_removal_is_recorded_before_it_is_asked_for_verified_after_and_healed(world: Any) -> None:
    nemesis = make(world)
    result = perform(nemesis, "change-members", "remove")
    ((what, name, via),) = world.membership.calls
    assert (what, result["changes"]) == ("remove", [f"remove {name} through {via}: done"])
    (fault,) = read_ledger(world.ledger_path)
    assert (fault.kind, fault.nodes) == ("membership", (name,))
    assert fault.observation == {"members": sorted(world.membership.now)}
    assert fault.healed_ns is None
    perform(nemesis, "restore-members")
    assert read_ledger(world.ledger_path)[0].healed_ns is not None
    assert len(world.membership.now) == 5


def test_two_members_are_removed_through_different_nodes(world: Any) -> None:
    for seed in range(20):
        world.membership.__init__()
        nemesis = make(world, seed)
        perform(nemesis, "change-members", "remove-two")
        (one, two) = world.membership.calls
        assert one[1] != two[1]
        assert one[2] != two[2]
        perform(nemesis, "restore-members", EVERY)


def test_a_replaced_member_comes_back_while_another_one_goes(world: Any) -> None:
    perform(make(world), "change-members", "replace")
    first, second, third = world.membership.calls
    assert (first[0], second[0], third[0]) == ("remove", "add", "remove")
    assert first[1] == second[1] != third[1]
    assert second[2] != third[2]


def test_at_least_three_members_stay_whatever_is_in_doubt(world: Any) -> None:
    nemesis = make(world)
    world.membership.doubts = dict.fromkeys(["n1", "n2", "n3", "n4", "n5"], False)
    for _ in range(6):
        perform(nemesis, "change-members", "remove-two")
    asked = {name for what, name, _ in world.membership.calls if what == "remove"}
    assert len(asked) == 2, "what is in doubt may come about, so no more may be asked for"
    assert perform(nemesis, "change-members", "remove")["note"] == "no member can be spared: there are 3"


def test_a_refused_removal_is_no_fault_and_leaves_nothing_open(world: Any) -> None:
    world.membership.refuses = set(world.membership.now)
    result = perform(make(world), "change-members", "remove")
    assert result["changes"][0].endswith("refused: another change is under way")
    (fault,) = read_ledger(world.ledger_path)
    assert (fault.verified_ns, fault.failure, fault.is_open) == (None, None, False)


@pytest.mark.parametrize("comes_about", [True, False])
def test_a_change_in_doubt_is_settled_by_asking_who_the_members_are(comes_about: bool, world: Any) -> None:
    nemesis = make(world)
    world.membership.doubts = dict.fromkeys(world.membership.now, comes_about)
    result = perform(nemesis, "change-members", "remove")
    assert result["changes"][0].endswith("in doubt: the connection was lost")
    (fault,) = read_ledger(world.ledger_path)
    assert (fault.verified_ns is not None) is comes_about
    assert fault.is_open
    world.membership.doubts = {}
    perform(nemesis, "restore-members")
    assert not world.ledger.open_faults()
    assert len(world.membership.now) == 5


def test_a_cluster_that_does_not_answer_leaves_a_change_in_doubt(world: Any) -> None:
    nemesis = make(world)
    perform(nemesis, "change-members", "remove")
    world.runtime.expire = True
    assert perform(nemesis, "restore-members") == {"note": "nobody leads, so nobody could be asked"}
    assert world.ledger.open_faults("membership")


def test_without_a_leader_nothing_is_asked(world: Any) -> None:
    world.membership.now = None
    assert (
        perform(make(world), "change-members", "remove")["note"] == "nobody leads, so nobody could be asked"
    )
    assert not world.ledger.all()


def test_some_of_the_missing_members_are_restored_and_in_the_end_all(world: Any) -> None:
    counts = set()
    for seed in range(20):
        world.membership.__init__()
        nemesis = make(world, seed)
        perform(nemesis, "change-members", "remove-two")
        perform(nemesis, "restore-members", "some")
        counts.add(len(world.membership.now))
        final = nemesis.final_generator()
        assert isinstance(final, Operation)
        perform(nemesis, final.f, final.value)
        assert len(world.membership.now) == 5
        assert not world.ledger.open_faults()
    assert counts == {4, 5}


def test_a_member_that_cannot_be_restored_in_the_end_is_a_fault_error(world: Any) -> None:
    nemesis = make(world)
    perform(nemesis, "change-members", "remove")
    (gone,) = {"n1", "n2", "n3", "n4", "n5"} - world.membership.now
    world.membership.refuses = {gone}
    with pytest.raises(FaultError, match=f"restore-members did not take: still no members: {gone}"):
        perform(nemesis, "restore-members", EVERY)
    world.membership.now = None
    with pytest.raises(FaultError, match="restore-members did not take: nobody leads"):
        perform(nemesis, "restore-members", EVERY)


def test_a_target_that_cannot_change_its_members_is_a_usage_error_that_names_it() -> None:
    request = Request(target="naive-lock", workload="lock", backend="sim", nemesis="membership")
    with pytest.raises(UsageError, match="the nemesis 'membership' needs membership, which the target"):
        resolve(request)
