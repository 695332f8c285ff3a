"""Membership by logged commands, and the handing over of leadership."""

from __future__ import annotations

import pytest
from tests.targets.reference.chaos import Chaos
from tests.targets.reference.paxos.harness import MS, QUICK, World, knobs_of

from foreshock.targets.reference.node.consensus import Receive, Tick
from foreshock.targets.reference.node.paxos.messages import Acceptance, Chosen, TakeOver
from foreshock.targets.reference.node.paxos.synod import Ballot


def led(count: int = 3, **options) -> World:
    world = World(count, **options)
    world.elect("n1")
    world.pass_heartbeat("n1")
    world.deliver_all()
    return world


def reasons(world: World) -> list[str]:
    return [refusal.reason for refusal in world.refused.values()]


# --- changes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window_slots", [1, 2, 16])
def test_a_cluster_is_exchanged_node_by_node(window_slots: int) -> None:
    world = led(joiners=3, knobs=QUICK._replace(window_slots=window_slots))
    for add, remove in (("n4", "n2"), ("n5", "n3"), ("n6", "n1")):
        for change in ({"add": add}, {"remove": remove}):
            leader = str(world.leader())
            done = world.change(leader, **change)
            world.pass_time(300)
            assert done in world.proposals_done, reasons(world)
    world.pass_time(500)
    leader = str(world.leader())
    assert world.replica(leader).members == ("n4", "n5", "n6")
    for name in ("n1", "n2", "n3"):
        world.crash(name)
    proposal, read = world.propose(leader), world.read(leader)
    world.pass_time(100)
    assert proposal in world.proposals_done
    assert read in world.reads_answered


def test_a_change_counts_a_window_after_it_was_chosen() -> None:
    world = led(joiners=1, knobs=QUICK._replace(window_slots=4))
    world.change("n1", remove="n3")
    while world.paxos("n1").commit < 2:
        world.deliver()
    paxos = world.paxos("n1")
    assert paxos.members == ("n1", "n2"), "what the last configuration that is chosen says"
    assert paxos._acceptors_of(5) == ("n1", "n2", "n3")
    assert paxos._acceptors_of(6) == ("n1", "n2")
    world.deliver_all()
    world.pass_time(100)
    assert paxos.describe()["acceptors"] == ["n1", "n2"]


def test_a_change_is_reported_only_when_a_majority_of_the_new_acceptors_durably_know_it() -> None:
    """Until then the old ones may be needed: here n3 is to go, and n2 does not write."""
    world = led(knobs=QUICK._replace(window_slots=2))
    change = world.change("n1", remove="n3")
    world.deliver_all()
    world.sync_at_once = False
    for _ in range(3):
        world.pass_heartbeat("n1")
        world.deliver_all()
        world.sync("n1")
    assert world.paxos("n2").commit == 4
    assert change not in world.proposals_done
    world.sync("n2")
    world.sync_at_once = True
    world.pass_time(100)
    assert change in world.proposals_done


def test_after_the_change_the_new_members_do_without_the_old_ones_even_if_all_restart() -> None:
    world = led(joiners=2, knobs=QUICK._replace(window_slots=3))
    for change in ({"add": "n4"}, {"add": "n5"}, {"remove": "n1"}, {"remove": "n2"}):
        leader = str(world.leader())
        done = world.change(leader, **change)
        world.pass_time(400)
        assert done in world.proposals_done, reasons(world)
    for name in world.nodes:
        world.crash(name)
    for name in ("n4", "n5"):
        world.start(name)
    world.pass_time(1000)
    leader = str(world.leader())
    proposal = world.propose(leader)
    world.pass_time(200)
    assert proposal in world.proposals_done


def test_a_new_leader_finishes_the_change_that_it_finds() -> None:
    world = led(joiners=1, knobs=QUICK._replace(window_slots=8))
    change = world.change("n1", remove="n3")
    while world.paxos("n1").commit < 2:
        world.deliver()
    world.crash("n1")
    world.wire.clear()
    world.elect("n2")
    world.pass_time(300)
    assert change not in world.proposals_done
    assert world.paxos("n2").members == ("n1", "n2")
    world.start("n1")
    world.pass_time(300)
    again = world.change("n2", add="n4")
    world.pass_time(300)
    assert again in world.proposals_done, reasons(world)


def test_no_snapshot_is_taken_while_two_configurations_matter() -> None:
    world = led(knobs=QUICK._replace(window_slots=8, snapshot_keep_entries=0))
    world.change("n1", remove="n3")
    while world.paxos("n1").commit < 2:
        world.deliver()
    world.compact("n1")
    assert world.paxos("n1").snapshot is None
    world.pass_time(200)
    world.compact("n1")
    snapshot = world.paxos("n1").snapshot
    assert snapshot is not None
    assert snapshot.members == ("n1", "n2")


def test_a_change_that_was_given_up_does_not_undo_a_later_one() -> None:
    """A lost leader's proposal may still be chosen, after others that it knew nothing of."""
    world = led(joiners=1)
    ballot = Ballot(1, "n1")
    news = [["n1", "n2", "n3", "n4"], ["n1", "n3"], ["n1", "n2", "n4"]]
    values = tuple(
        Acceptance(slot, ballot, "configuration", members) for slot, members in enumerate(news, start=2)
    )
    paxos = world.paxos("n2")
    for value, members in zip(values, ((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 4)), strict=True):
        paxos.step(Receive("n1", Chosen(value.slot, (value,), 4)), world.now)
        assert paxos.members == tuple(f"n{i}" for i in members)


def test_changes_that_may_not_begin_say_why_and_have_no_effect() -> None:
    world = led(joiners=2)
    world.change("n2", add="n4")
    world.change("n1")
    world.change("n1", add="n4", remove="n1")
    world.change("n1", add="n1")
    world.change("n1", add="")
    world.change("n1", remove="n9")
    world.change("n1", add="n4")
    world.change("n1", remove="n2")
    world.transfer("n1", "n2")
    world.change("n1", remove="n3")
    assert reasons(world) == [
        "this node does not lead",
        "a change of membership either adds one member or removes one",
        "a change of membership either adds one member or removes one",
        "'n1' cannot be added: it is a member already, or no name",
        "'' cannot be added: it is a member already, or no name",
        "'n9' cannot be removed: it is not a member",
        "another change of membership is under way, or this leader has committed nothing yet",
        "leadership is being handed to n2",
    ]
    assert all(refusal.definite for refusal in world.refused.values())


def test_the_last_member_stays() -> None:
    world = World(1)
    world.elect("n1")
    world.change("n1", remove="n1")
    assert reasons(world) == ["'n1' cannot be removed: it is the last member"]


def test_a_new_member_that_does_not_catch_up_is_none() -> None:
    world = led(joiners=1, knobs=QUICK._replace(catch_up_timeout_ms=500))
    world.isolate("n4")
    world.change("n1", add="n4")
    world.pass_time(800)
    assert reasons(world) == ["n4 did not catch up with the log in time"]
    assert "n4" not in world.paxos("n1")._peers
    assert world.paxos("n1").members == ("n1", "n2", "n3")


def test_a_new_member_gets_another_round_when_one_took_long() -> None:
    world = led(joiners=1)
    change = world.change("n1", add="n4")
    world.wire.clear()
    for _ in range(8):
        world.now += 20 * MS
        world.step("n1", Tick())
        world.deliver_between("n1", "n2", "n3")
    world.pass_time(60)
    assert world.paxos("n1")._joining is None or world.paxos("n1")._joining.round == 2
    world.pass_time(300)
    assert change in world.proposals_done


def test_leadership_lost_leaves_the_change_in_doubt() -> None:
    world = led(joiners=1, knobs=QUICK._replace(window_slots=4))
    joining = world.change("n1", add="n4")
    world.isolate("n1")
    world.pass_time(500)
    assert world.refused[joining].definite, "it was never proposed"
    world.heal()
    world.pass_time(500)
    leader = str(world.leader())
    world.isolate(leader)
    removing = world.change(leader, remove=next(m for m in world.replica(leader).members if m != leader))
    world.pass_time(500)
    assert not world.refused[removing].definite


def test_a_leader_that_is_removed_leaves_the_lead_to_another() -> None:
    world = led()
    change = world.change("n1", remove="n1")
    world.pass_time(200)
    assert change in world.proposals_done
    assert world.leader() in ("n2", "n3")
    world.pass_time(1000)
    assert world.paxos("n1").role == "follower", "nor does it ever campaign again"
    assert world.paxos("n1").members == ("n2", "n3")


def test_a_member_that_is_removed_and_added_again_promises_anew() -> None:
    world = led()
    for change in ({"remove": "n3"}, {"add": "n3"}):
        done = world.change("n1", **change)
        world.pass_time(300)
        assert done in world.proposals_done, reasons(world)
    assert world.paxos("n1")._promisers == {"n1", "n2", "n3"}
    assert world.paxos("n1").members == ("n1", "n2", "n3")


@pytest.mark.parametrize("seed", range(12))
def test_members_come_and_go_while_messages_are_lost(seed: int) -> None:
    """Gentler than the random schedules, so that many changes come to their end."""
    world = World(3, seed=seed, knobs=knobs_of(seed)._replace(catch_up_timeout_ms=500), joiners=2)
    chaos = Chaos(world, seed, crashes=False)
    finished = 0
    for disturbed in (False, True) * 6:
        chaos.calm(500)
        leader = str(world.leader())
        members = world.replica(leader).members
        name = chaos.rng.choice(list(world.nodes))
        change = {"remove": name} if name in members else {"add": name}
        done = world.change(leader, **change)
        if disturbed:
            world.sync_at_once = False
            chaos.run(60)
        chaos.calm(500)
        finished += done in world.proposals_done
    chaos.recover()
    assert finished >= 4


# --- leadership ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["n2", "n3", None])
def test_leadership_is_handed_over(target: str | None) -> None:
    world = led()
    number = world.transfer("n1", target)
    proposal = world.propose("n1")
    world.pass_time(60)
    assert world.done == [number]
    assert world.leader() == (target or "n2")
    assert world.refused[proposal].definite


def test_who_is_to_lead_gets_everything_first() -> None:
    world = led()
    world.isolate("n3")
    proposal = world.propose("n1")
    world.deliver_all()
    world.heal()
    world.transfer("n1", "n3")
    assert not any(type(message) is TakeOver for _, _, message in world.wire)
    world.pass_time(150)
    assert world.leader() == "n3"
    assert proposal in world.proposals_done
    assert world.nodes["n3"].applied >= 2


def test_a_transfer_that_may_not_begin_says_why() -> None:
    world = led()
    world.transfer("n2", "n1")
    world.transfer("n1", "n9")
    world.transfer("n1", "n1")
    world.isolate("n1")
    world.transfer("n1", "n2")
    world.transfer("n1", "n3")
    assert reasons(world) == [
        "this node does not lead",
        "'n9' cannot lead: it is not a member",
        "leadership is being handed to n2 already",
    ]
    assert world.done == [3]


def test_a_transfer_ends_when_the_target_is_gone() -> None:
    world = led()
    world.crash("n2")
    number = world.transfer("n1", "n2")
    world.pass_time(300)
    assert world.refused[number].reason == "n2 did not take over in time"
    assert not world.refused[number].definite, "it was told"
    world.isolate("n3")
    world.wire.clear()
    lagging = world.propose("n1")
    assert lagging not in world.refused


def test_a_lost_order_to_take_over_is_repeated() -> None:
    world = led()
    world.transfer("n1", "n3")
    world.wire.clear()
    world.pass_heartbeat("n1")
    world.deliver_all()
    assert world.leader() == "n3"


def test_a_transfer_that_another_node_wins_is_in_doubt() -> None:
    world = led()
    number = world.transfer("n1", "n3")
    world.wire.clear()
    world.crash("n3")
    world.isolate("n1")
    world.pass_time(150)
    world.step("n1", Receive("n2", TakeOver(Ballot(1, "n1"))))
    world.heal()
    world.pass_time(900)
    assert number in world.refused
    assert not world.refused[number].definite


def test_only_the_leader_that_one_follows_may_ask_one_to_take_over() -> None:
    world = led()
    for source, ballot in (("n3", Ballot(1, "n1")), ("n1", Ballot(7, "n1"))):
        world.step("n2", Receive(source, TakeOver(ballot)))
        assert world.paxos("n2").role == "follower"
    world.step("n2", Receive("n1", TakeOver(Ballot(1, "n1"))))
    assert world.paxos("n2").role == "candidate"
