"""ReadIndex (dissertation 6.4)."""

from __future__ import annotations

from tests.targets.reference.raft.harness import QUICK, World

from foreshock.targets.reference.node.raft.messages import Append


def settled(count: int = 3, **options) -> World:
    world = World(count, **options)
    world.elect("n1")
    world.pass_time(40)
    return world


def test_a_read_is_answered_after_a_majority_confirmed_the_leader() -> None:
    world = settled()
    read = world.read("n1")
    assert world.reads_answered == []
    world.deliver_all()
    assert world.reads_answered == [read]


def test_a_read_is_not_confirmed_by_answers_to_earlier_messages() -> None:
    """Step 3: the round must begin after the read arrived."""
    world = settled()
    world.pass_heartbeat("n1")
    while any(type(message) is Append for _, _, message in world.wire):
        at = next(i for i, (_, _, message) in enumerate(world.wire) if type(message) is Append)
        world.deliver(at)
    earlier = list(world.wire)
    world.wire.clear()
    read = world.read("n1")
    world.wire = earlier
    world.deliver_all()
    assert world.reads_answered == []
    world.pass_heartbeat("n1")
    world.deliver_all()
    assert world.reads_answered == [read]


def test_reads_wait_for_the_first_commit_of_the_leaders_own_term() -> None:
    """Step 1."""
    world = World(3)
    world.elect_only("n1")
    read = world.read("n1")
    assert world.wire == []
    world.pass_time(40)
    assert world.reads_answered == [read]


def test_reads_that_arrive_together_share_a_round() -> None:
    world = settled()
    reads = [world.read("n1") for _ in range(100)]
    assert len([m for _, to, m in world.wire if to == "n2"]) == 1
    world.deliver_all()
    assert world.reads_answered == reads


def test_a_deposed_leader_answers_no_read() -> None:
    world = settled(5)
    world.isolate("n1", "n2")
    read = world.read("n1")
    world.pass_time(1000)
    assert read in world.refused
    assert world.refused[read].definite
    assert world.reads_answered == []
    assert world.leader() in {"n3", "n4", "n5"}


def test_a_follower_refuses_reads_and_says_who_leads() -> None:
    world = settled()
    read = world.read("n2")
    assert world.refused[read].leader == "n1"
    assert world.refused[read].definite


def test_a_lost_round_is_confirmed_by_the_next_heartbeat() -> None:
    world = settled()
    read = world.read("n1")
    world.wire.clear()
    world.pass_heartbeat("n1")
    world.deliver_all()
    assert world.reads_answered == [read]


def test_a_single_node_answers_at_once() -> None:
    world = settled(1)
    read = world.read("n1")
    assert world.reads_answered == [read]


def test_reads_do_not_wait_for_a_disk() -> None:
    world = settled()
    world.sync_at_once = False
    world.propose("n1")
    read = world.read("n1")
    world.deliver_all()
    assert world.reads_answered == [read]


def test_more_waiting_reads_than_the_limit_are_refused() -> None:
    world = settled(3, knobs=QUICK._replace(pending_reads_max=2))
    reads = [world.read("n1") for _ in range(5)]
    assert [read for read in reads if read in world.refused] == reads[3:]
