"""Reads: with a quorum's word, after ZooKeeper's sync, and of a node's own state."""

from __future__ import annotations

import pytest
from tests.targets.reference.zab.harness import QUICK, Broken, World

from foreshock.targets.reference.node.consensus import Receive
from foreshock.targets.reference.node.zab import messages as m
from foreshock.targets.reference.node.zab.leading import READ_ROUND_BITS


def started(mode: str = "linearizable", **knobs) -> World:
    world = World(3, knobs=QUICK._replace(reads=mode, **knobs))
    assert world.settle() == "n3"
    world.pass_time(60)
    return world


def deposed(mode: str) -> World:
    """n3 leads on without noticing that n2 leads by now, and has committed something."""
    world = started(mode)
    world.isolate("n3")
    stands_still = world.zab("n3")
    world.settle_among("n1", "n2")
    world.propose("n2")
    world.deliver_between("n1", "n2")
    assert world.highest_commit == 1
    assert stands_still.leading
    return world


def test_reads_share_a_round_and_the_next_waits() -> None:
    world = started()
    first = [world.read("n3") for _ in range(3)]
    begun = world.zab("n3")._read_round
    world.deliver_all()
    assert world.reads_answered == first
    assert world.zab("n3")._read_round == begun + 1


def test_a_leader_that_was_deposed_answers_no_read() -> None:
    world = deposed("linearizable")
    read = world.read("n3")
    world.pass_time(100)
    assert world.refused[read].definite
    assert read not in world.reads_answered


def test_followers_and_busy_leaders_refuse_and_say_where_to_go() -> None:
    world = started(pending_reads_max=1)
    refused = world.read("n1")
    assert world.refused[refused].leader == "n3"
    reads = [world.read("n3") for _ in range(3)]
    assert world.refused[reads[2]].reason == "1 reads wait already"
    proposal = world.propose("n2")
    assert world.refused[proposal].reason == "this node does not lead"


def test_a_leader_takes_no_more_than_may_wait() -> None:
    world = started(uncommitted_entries_max=2)
    proposals = [world.propose("n3") for _ in range(3)]
    assert world.refused[proposals[2]].reason == "2 entries wait for commitment already"


def test_a_sync_read_at_a_follower_sees_what_its_leader_had_committed() -> None:
    world = started("sync", commit_delay_ms=50)
    world.propose("n3")
    world.deliver_all()
    assert world.nodes["n3"].applied == 1
    assert world.nodes["n1"].applied == 0
    read = world.read("n1")
    world.deliver_all()
    assert read in world.reads_answered
    assert world.nodes["n1"].applied == 1
    assert world.read("n3") in world.reads_answered


def test_a_sync_read_is_only_as_fresh_as_the_leader() -> None:
    """ZOOKEEPER-1675: the deposed leader answers without a quorum."""
    world = deposed("sync")
    with pytest.raises(Broken, match="though 1 was committed"):
        world.read("n3")


def test_sync_reads_end_when_the_leader_is_lost_and_are_bounded() -> None:
    world = started("sync", pending_reads_max=2)
    reads = [world.read("n1") for _ in range(3)]
    assert world.refused[reads[2]].reason == "2 reads wait already"
    world.crash("n3")
    world.wire.clear()
    world.pass_time(200)
    assert world.refused[reads[0]].reason == "the leader was lost before it answered the sync"
    world.crash("n2")
    world.pass_time(300)
    assert world.refused[world.read("n1")].reason == "this node does not lead"


def test_a_leader_answers_no_sync_of_one_that_it_has_not_brought_up_to_date() -> None:
    world = started("sync")
    zab = world.zab("n3")
    learner = zab._learners["n1"]
    learner.stage = type(learner.stage).OFFERED
    frame = m.Frame(
        learner.channel.session, learner.channel.arrived + 1, learner.channel.sent, m.Sync(zab.epoch, 4)
    )
    output = zab.step(Receive("n1", frame), world.now)
    assert ("n1", m.Close(learner.channel.session)) in output.send
    assert "n1" not in zab._learners


def test_a_local_read_is_answered_by_anybody_who_serves() -> None:
    world = started("local")
    for name in world.nodes:
        assert world.read(name) in world.reads_answered
    world = deposed("local")
    with pytest.raises(Broken, match="though 1 was committed"):
        world.read("n3")
    world.heal()
    world.crash("n1")
    world.crash("n2")
    world.pass_time(300)
    assert world.refused[world.read("n3")].reason == "this node does not lead"


def test_a_late_beat_of_an_earlier_leadership_confirms_no_read() -> None:
    """A leader that restarts may get a late copy of a CEPOCH, so that words of its past fit a channel of today."""
    world = started()
    rounds = set()
    for _ in range(2):
        rounds.add(world.zab("n3")._read_round >> READ_ROUND_BITS)
        world.read("n3")
        world.crash("n3")
        world.start("n3")
        world.isolate("n2")
        world.pass_time(600)
        assert world.zab("n3").leading
        world.heal()
    first, second = sorted(rounds)
    assert first < second < world.zab("n3")._read_round >> READ_ROUND_BITS
