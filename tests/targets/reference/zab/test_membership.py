"""Members come and go one at a time; leadership is handed over."""

from __future__ import annotations

from tests.targets.reference.zab.harness import QUICK, World

from foreshock.targets.reference.node.consensus import Receive, Record
from foreshock.targets.reference.node.zab import messages as m


def started(count: int = 3, **options) -> World:
    world = World(count, **options)
    world.settle()
    world.pass_time(60)
    return world


def reason(world: World, request: int) -> str:
    assert world.refused[request].definite
    return world.refused[request].reason


def test_a_new_member_is_synchronized_first_and_then_counts() -> None:
    world = started(joiners=1)
    for _ in range(3):
        world.propose("n3")
    change = world.change("n3", add="n4")
    assert world.zab("n3").members == ("n1", "n2", "n3")
    world.pass_time(100)
    assert change in world.proposals_done
    assert world.zab("n4").members == ("n1", "n2", "n3", "n4")
    assert world.nodes["n4"].applied == world.highest_commit
    world.crash("n1")
    world.crash("n2")
    world.pass_time(400)
    assert world.leader() is None


def test_a_new_member_that_never_comes_is_refused_in_time() -> None:
    world = started(knobs=QUICK._replace(catch_up_timeout_ms=200))
    change = world.change("n3", add="n9")
    again = world.change("n3", add="n8")
    world.pass_time(300)
    assert reason(world, again).startswith("another change of membership is under way")
    assert reason(world, change) == "n9 did not catch up with the log in time"


def test_a_new_member_that_is_too_slow_loses_its_channel() -> None:
    world = started(joiners=1, knobs=QUICK._replace(catch_up_timeout_ms=60))
    change = world.change("n3", add="n4")
    world.deliver()
    while any("n4" in item[:2] for item in world.wire):
        world.deliver()
        if "n4" in world.zab("n3")._learners:
            break
    world.wire = [item for item in world.wire if "n4" not in item[:2]]
    for _ in range(5):
        world.pass_heartbeat("n3")
        world.deliver_between("n1", "n2", "n3")
    assert reason(world, change) == "n4 did not catch up with the log in time"
    assert "n4" not in world.zab("n3")._learners


def test_changes_that_make_no_sense_are_refused() -> None:
    world = started()
    assert reason(world, world.change("n1", add="n4")) == "this node does not lead"
    assert "either adds one member or removes one" in reason(world, world.change("n3"))
    assert "cannot be added" in reason(world, world.change("n3", add="n1"))
    assert "cannot be removed: it is not a member" in reason(world, world.change("n3", remove="n7"))
    single = started(1)
    assert "it is the last member" in reason(single, single.change("n1", remove="n1"))


def test_a_removed_member_is_told_and_keeps_silent() -> None:
    world = started()
    change = world.change("n3", remove="n1")
    world.pass_time(100)
    assert change in world.proposals_done
    assert world.zab("n1").describe()["role"] == "looking"
    assert world.zab("n1").members == ("n2", "n3")
    world.trace = []
    world.pass_time(1000)
    assert not any(line.startswith("n1 ") for line in world.trace)


def test_a_removed_member_that_missed_it_disturbs_nobody() -> None:
    world = started()
    world.isolate("n1")
    world.pass_time(200)
    world.change("n3", remove="n1")
    world.pass_time(100)
    world.heal()
    epoch = world.zab("n3").epoch
    world.pass_time(1000)
    assert world.leader() == "n3"
    assert world.zab("n3").epoch == epoch
    assert world.zab("n1").leader is None


def test_a_leader_that_removes_itself_leaves_when_that_is_committed() -> None:
    world = started()
    change = world.change("n3", remove="n3")
    world.pass_time(300)
    assert change in world.proposals_done
    assert not world.zab("n3").leading
    assert world.leader() in ("n1", "n2")
    assert world.zab("n2").members == ("n1", "n2")


def test_a_lone_survivor_serves_alone() -> None:
    world = started()
    for name in ("n1", "n2"):
        world.change("n3", remove=name)
        world.pass_time(100)
    world.crash("n1")
    world.crash("n2")
    proposal = world.propose("n3")
    read = world.read("n3")
    world.pass_time(500)
    assert proposal in world.proposals_done
    assert read in world.reads_answered


def test_a_node_whose_removal_may_not_be_committed_may_still_lead() -> None:
    """n1 alone has the configuration without it; n2 cannot lead without n1, so n1 leads, commits it, and goes."""
    world = started(2)
    leader = world.leader()
    assert leader == "n2"
    world.isolate("n2")
    world.change("n2", remove="n2")
    world.pass_time(300)
    assert not world.zab("n2").leading
    assert world.zab("n2").members == ("n1",)
    world.heal()
    world.pass_time(1000)
    assert world.leader() == "n1"
    assert world.zab("n1").members == ("n1",)


def test_a_removed_member_may_come_back() -> None:
    world = started()
    world.change("n3", remove="n1")
    world.pass_time(100)
    world.propose("n3")
    change = world.change("n3", add="n1")
    world.pass_time(200)
    assert change in world.proposals_done
    assert world.zab("n1").leader == "n3"


def test_leadership_goes_where_it_is_sent() -> None:
    world = started(5)
    assert world.leader() == "n5"
    proposal = world.propose("n5")
    transfer = world.transfer("n5", "n1")
    refused = world.propose("n5")
    again = world.transfer("n5", "n2")
    change = world.change("n5", remove="n2")
    world.pass_time(300)
    assert world.leader() == "n1"
    assert transfer in world.done
    assert proposal in world.proposals_done
    for request in (refused, change):
        assert reason(world, request) == "leadership is being handed to n1"
    assert "already" in reason(world, again)


def test_leadership_goes_to_the_most_advanced_when_nobody_is_named() -> None:
    world = started()
    world.isolate("n1")
    world.propose("n3")
    world.deliver_all()
    transfer = world.transfer("n3")
    world.pass_time(300)
    assert world.leader() == "n2"
    assert transfer in world.done


def test_transfers_that_make_no_sense_are_refused_and_one_to_oneself_is_done() -> None:
    world = started()
    assert reason(world, world.transfer("n1", "n2")) == "this node does not lead"
    assert "is not a member" in reason(world, world.transfer("n3", "n9"))
    assert world.transfer("n3", "n3") in world.done
    single = started(1)
    assert "is not a member" in reason(single, single.transfer("n1"))


def test_a_transfer_to_one_that_is_away_ends_in_time() -> None:
    world = started()
    world.isolate("n1")
    world.propose("n3")
    transfer = world.transfer("n3", "n1")
    world.pass_time(300)
    assert reason(world, transfer) == "n1 did not take over in time"
    assert world.propose("n3") not in world.refused


def test_a_transfer_whose_target_dies_on_the_way_is_nobodys_promise() -> None:
    world = started()
    transfer = world.transfer("n3", "n1")
    world.crash("n1")
    world.pass_time(600)
    assert not world.refused[transfer].definite
    assert world.leader() in ("n2", "n3")


def test_a_transfer_that_somebody_else_wins_is_said_to_have_failed() -> None:
    """The target goes off, and dies before it is elected."""
    world = started()
    transfer = world.transfer("n3", "n1")
    while world.zab("n1").describe()["role"] != "looking":
        world.deliver()
    while world.zab("n3").leading:
        world.deliver()
    world.crash("n1")
    world.pass_time(600)
    assert world.leader() in ("n2", "n3")
    assert world.refused[transfer].reason == "n1 did not win the election"


def test_leadership_lost_while_a_member_joins_ends_the_change() -> None:
    world = started(joiners=1, knobs=QUICK._replace(catch_up_timeout_ms=5000))
    world.isolate("n3")
    change = world.change("n3", add="n4")
    world.pass_time(300)
    assert reason(world, change) == "leadership was lost while the new member caught up"


def test_a_new_member_that_does_not_know_it_yet_helps_who_cannot_lead_without_it() -> None:
    """The leader alone has the configuration when all restart: by that it needs the new member's support."""
    world = started(1, joiners=1)
    world.propose("n1")
    world.change("n1", add="n2")
    for _ in range(1000):
        if world.zab("n1").members == ("n1", "n2"):
            break
        world.deliver() if world.wire else world.pass_heartbeat("n1")
    world.wire.clear()
    for name in ("n1", "n2"):
        world.crash(name)
        world.start(name)
    assert world.zab("n1").members == ("n1", "n2")
    assert world.zab("n2").members != ("n1", "n2")
    world.pass_time(1000)
    assert world.leader() == "n1"
    assert world.zab("n2").members == ("n1", "n2")


def test_who_has_no_vote_helps_nobody_that_knows_less() -> None:
    world = World(2, joiners=1)
    world.give_log("n3", [1, 1], accepted=1, current=1)
    world.wire.clear()
    for position, state in ((1, "looking"), (1, "leading"), (2, "looking")):
        world.step("n3", Receive("n1", m.Notification(1, state, 1, 1, position, 1, "n1", 0)))
        helped = [message.leader for _, to, message in world.wire if to == "n1"]
        assert helped == ([] if position == 1 else ["n1"])
    world.step("n3", Receive("n1", m.Notification(1, "leading", 1, 1, 2, 1, "n1", 0)))
    assert world.zab("n3").role == "following"


def test_a_member_that_counts_by_a_change_that_was_given_up_does_not_keep_the_others_from_an_election() -> (
    None
):
    """By its configuration two are all, so that it decides at once, is turned away, and begins another round."""
    world = World(3, knobs=QUICK._replace(finalize_ms=30))
    for name in ("n1", "n2"):
        world.give_log(name, [1, 2], accepted=2, current=2)
    world.crash("n3")
    entries = [(1, 1, "command", 101), (2, 1, "configuration", ["n1", "n3"]), (3, 1, "noop", None)]
    state = Record(2, "state", {"accepted": 2, "current": 1})
    world.nodes["n3"].disk = [Record(1, "entries", entries), state]
    world.start("n3")
    assert world.zab("n3").members == ("n1", "n3")
    world.wire.clear()
    world.zab("n3")._enter_round(5)
    world.tick("n3")
    world.deliver_all(limit=200)
    world.pass_time(600)
    assert world.leader() == "n2"
    assert world.zab("n3").leader == "n2"
    assert world.zab("n3").members == ("n1", "n2", "n3")
