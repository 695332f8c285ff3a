"""Membership changes (dissertation, chapter 4) and leadership transfer (3.10)."""

from __future__ import annotations

from tests.targets.reference.raft.harness import QUICK, World

from foreshock.targets.reference.node.raft.messages import TimeoutNow


def test_a_new_member_catches_up_and_then_counts() -> None:
    """Dissertation 4.2.1."""
    world = World(3, joiners=1)
    world.elect("n1")
    for _ in range(5):
        world.propose("n1")
    world.pass_time(40)
    change = world.change("n1", add="n4")
    assert world.raft("n1").members == ("n1", "n2", "n3"), "not before it has caught up"
    world.pass_time(100)
    assert world.proposals_done[change].kind == "configuration"
    assert all(world.raft(name).members == ("n1", "n2", "n3", "n4") for name in world.nodes)
    world.isolate("n1", "n4")
    proposal = world.propose("n1")
    world.deliver_all()
    assert proposal not in world.proposals_done, "two of four are no majority"


def test_a_new_member_that_does_not_catch_up_is_refused_in_the_end() -> None:
    world = World(3, joiners=1, knobs=QUICK._replace(catch_up_timeout_ms=500))
    world.elect("n1")
    world.pass_time(40)
    world.isolate("n4")
    change = world.change("n1", add="n4")
    world.pass_time(600)
    assert world.refused[change].definite
    assert world.raft("n1").members == ("n1", "n2", "n3")
    assert "n4" not in world.raft("n1")._peers


def test_a_configuration_acts_as_soon_as_it_is_in_the_log() -> None:
    """Dissertation 4.1."""
    world = World(3)
    world.elect("n1")
    world.isolate("n1", "n2")
    world.change("n1", remove="n3")
    assert world.raft("n1").members == ("n1", "n2")
    world.deliver_all()
    assert world.raft("n2").members == ("n1", "n2")


def test_a_configuration_that_is_overwritten_counts_no_more() -> None:
    world = World(3)
    world.elect("n1")
    world.pass_time(40)
    world.isolate("n1")
    world.change("n1", remove="n3")
    world.pass_time(500)
    world.heal()
    world.pass_time(300)
    assert world.leader() in {"n2", "n3"}
    assert world.raft("n1").members == ("n1", "n2", "n3")


def test_one_change_at_a_time() -> None:
    world = World(4)
    world.elect("n1")
    world.change("n1", remove="n4")
    second = world.change("n1", remove="n3")
    assert world.refused[second].definite
    world.deliver_all()
    third = world.change("n1", remove="n3")
    world.deliver_all()
    assert third in world.proposals_done


def test_no_change_before_the_leader_has_committed_an_entry_of_its_term() -> None:
    """Ongaro's correction of 2015: without this, two leaders may each have a majority."""
    world = World(4)
    world.elect_only("n1")
    change = world.change("n1", remove="n4")
    assert world.refused[change].definite
    world.pass_time(60)
    change = world.change("n1", remove="n4")
    world.deliver_all()
    assert change in world.proposals_done


def test_a_removed_leader_leads_until_its_removal_is_committed_and_then_steps_down() -> None:
    """Dissertation 4.2.2: it does not count itself meanwhile."""
    world = World(3)
    world.elect("n1")
    world.isolate("n1", "n2")
    change = world.change("n1", remove="n1")
    world.deliver_all()
    assert world.raft("n1").leading
    assert change not in world.proposals_done, "n2 alone is no majority of n2 and n3"
    world.heal()
    world.pass_heartbeat("n1")
    world.deliver_all()
    assert change in world.proposals_done
    assert not world.raft("n1").leading
    world.pass_time(300)
    assert world.leader() in {"n2", "n3"}
    assert world.raft("n1").role == "follower"


def test_a_member_whose_removal_is_not_committed_may_still_campaign() -> None:
    """Dissertation 4.2.2: with two members, the removed one may be the only one that can be elected."""
    world = World(2)
    world.elect("n1")
    world.pass_time(40)
    world.isolate("n1")
    world.change("n1", remove="n1")
    world.pass_time(500)
    assert world.leader() is None
    world.heal()
    world.pass_time(1000)
    assert world.leader() == "n2"
    assert world.raft("n2").members == ("n2",)


def test_a_removed_node_disturbs_nobody() -> None:
    """Dissertation 4.2.3."""
    world = World(4)
    world.elect("n1")
    world.isolate("n4")
    world.change("n1", remove="n4")
    world.deliver_all()
    world.heal()
    world.pass_time(3000)
    assert world.leader() == "n1"
    assert world.raft("n1").term == 1


def test_changes_that_make_no_sense_are_refused() -> None:
    world = World(2)
    world.elect("n1")
    world.deliver_all()
    refused = [
        world.change("n1", add="n2"),
        world.change("n1", add=""),
        world.change("n1", remove="n9"),
        world.change("n1", add="n3", remove="n2"),
        world.change("n1"),
        world.change("n2", add="n3"),
    ]
    assert all(world.refused[number].definite for number in refused)
    world.change("n1", remove="n2")
    world.deliver_all()
    last = world.change("n1", remove="n1")
    assert "last member" in world.refused[last].reason


def test_members_survive_snapshot_and_restart() -> None:
    world = World(3)
    world.elect("n1")
    world.change("n1", remove="n3")
    world.pass_time(40)
    world.compact("n1")
    for name in ("n1", "n2"):
        world.crash(name)
        world.start(name)
        assert world.raft(name).members == ("n1", "n2")


def test_leadership_is_handed_over_without_a_gap() -> None:
    """Dissertation 3.10."""
    world = World(3)
    world.elect("n1")
    world.isolate("n3")
    world.propose("n1")
    world.deliver_all()
    world.heal()
    number = world.transfer("n1", "n3")
    late = world.propose("n1")
    assert world.refused[late].definite, "no new proposals meanwhile"
    world.pass_heartbeat("n1")
    world.deliver_all()
    assert world.leader() == "n3", "once it had the whole log"
    assert world.done == [number]


def test_the_most_advanced_follower_leads_when_nobody_is_named() -> None:
    world = World(3)
    world.elect("n1")
    world.isolate("n2")
    world.propose("n1")
    world.deliver_all()
    world.heal()
    world.transfer("n1")
    world.deliver_all()
    assert world.leader() == "n3"


def test_a_handover_that_fails_ends_after_an_election_timeout() -> None:
    world = World(3)
    world.elect("n1")
    world.pass_time(40)
    world.isolate("n2")
    number = world.transfer("n1", "n2")
    world.pass_time(300)
    assert world.leader() == "n1"
    assert not world.refused[number].definite, "n2 was told, and may still win"
    assert world.propose("n1") not in world.refused


def test_an_order_to_campaign_that_was_lost_is_given_again() -> None:
    world = World(3)
    world.elect("n1")
    world.pass_time(40)
    number = world.transfer("n1", "n2")
    assert [type(message) for _, _, message in world.wire] == [TimeoutNow]
    world.wire.clear()
    world.pass_heartbeat("n1")
    world.deliver_all()
    assert world.leader() == "n2"
    assert world.done == [number]


def test_handing_over_to_oneself_is_done_at_once_and_to_strangers_refused() -> None:
    world = World(3)
    world.elect("n1")
    assert world.done == []
    number = world.transfer("n1", "n1")
    assert world.done == [number]
    assert world.transfer("n1", "n9") in world.refused
    assert world.transfer("n2", "n1") in world.refused
