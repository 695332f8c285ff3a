"""Reads by lease (dissertation 6.4.1): what a lease needs in order to be safe, piece by piece."""

from __future__ import annotations

import pytest
from tests.targets.reference.chaos import Chaos
from tests.targets.reference.raft.harness import MS, QUICK, Broken, World
from tests.targets.reference.raft.schedules import knobs_of

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.bugs.raft import LeaseOutlivesSkewedClock
from foreshock.targets.reference.node.consensus import Receive, Tick
from foreshock.targets.reference.node.raft import Raft, RaftKnobs
from foreshock.targets.reference.node.raft.messages import PreVoteReply, TimeoutNow, Vote

LEASED = QUICK._replace(reads="lease", prevote=False)
LEASE_MS = 83
"""The shortest election time-out of 100 ms, over the 120 % of the fastest clock."""


def settled(count: int = 3, knobs: RaftKnobs = LEASED, **options) -> World:
    world = World(count, knobs=knobs, **options)
    world.elect("n1")
    world.pass_time(40)
    return world


def test_under_a_lease_a_read_is_answered_at_once_and_nobody_is_asked() -> None:
    world = settled()
    world.pass_heartbeat("n1")
    world.deliver_all()
    read = world.read("n1")
    assert world.reads_answered == [read]
    assert world.wire == []


def test_a_lease_counts_from_the_sending_of_the_round_not_from_its_answers() -> None:
    world = settled()
    world.pass_heartbeat("n1")
    sent_ns = world.now
    world.now += 60 * MS
    while world.wire:
        world.deliver()
    world.now = sent_ns + (LEASE_MS - 1) * MS
    assert world.read("n1") in world.reads_answered
    world.now = sent_ns + (LEASE_MS + 1) * MS
    assert world.read("n1") not in world.reads_answered, "60 ms of the answers' age were given away"


def test_without_a_lease_reads_are_confirmed_by_a_round_as_ever() -> None:
    world = settled()
    world.now += 150 * MS
    read = world.read("n1")
    assert world.reads_answered == []
    world.deliver_all()
    assert world.reads_answered == [read]


def test_a_minoritys_answers_are_no_lease() -> None:
    world = settled(5)
    world.isolate("n1", "n2")
    for _ in range(6):
        world.pass_heartbeat("n1")
        world.deliver_all()
    read = world.read("n1")
    assert read not in world.reads_answered


def test_no_lease_lets_a_leader_read_before_its_term_has_committed_anything() -> None:
    world = World(3, knobs=LEASED)
    world.now += 200 * MS
    world.elect_only("n1")
    world.sync_at_once = False
    for _ in range(2):  # the followers have heard it, but their disks are slow
        world.pass_heartbeat("n1")
        world.deliver_all()
    assert world.raft("n1")._lease_holds()
    read = world.read("n1")
    assert read not in world.reads_answered
    for name in world.nodes:
        world.sync(name)
    world.deliver_all()
    assert read in world.reads_answered


def test_a_single_node_always_has_a_lease() -> None:
    world = settled(1)
    assert world.read("n1") in world.reads_answered


def test_nobody_votes_for_another_while_a_leader_may_count_on_it_in_whatever_term() -> None:
    """A follower may have learned of a greater term, and so of nobody who leads in it, by any message."""
    world = settled()
    world.step("n2", Receive("n3", PreVoteReply(9, 9, False)))
    assert world.raft("n2").term == 9
    assert world.raft("n2").leader is None
    for term in (9, 10):
        world.step("n2", Receive("n3", Vote(term, 100, 8, False)))
        assert world.raft("n2").vote is None
    world.now += 100 * MS
    world.step("n2", Receive("n3", Vote(10, 100, 8, False)))
    assert world.raft("n2").vote == "n3"


def test_the_same_follower_votes_at_once_when_reads_do_not_depend_on_it() -> None:
    world = settled(knobs=QUICK)
    world.step("n2", Receive("n3", PreVoteReply(9, 9, False)))
    world.step("n2", Receive("n3", Vote(9, 100, 8, False)))
    assert world.raft("n2").vote == "n3"


def test_a_node_that_has_just_started_does_not_know_whom_it_heard_and_waits() -> None:
    """Else a leader would answer from its lease while those who granted it elect somebody else."""
    world = settled()
    world.pass_heartbeat("n1")
    world.deliver_all()
    world.isolate("n1")
    for name in ("n2", "n3"):
        world.crash(name)
        world.start(name)
    world.step("n3", Receive("n2", Vote(5, 100, 5, False)))
    assert (world.raft("n3").term, world.raft("n3").vote) == (1, "n1")
    assert world.read("n1") in world.reads_answered
    world.now += 100 * MS
    world.step("n3", Receive("n2", Vote(5, 100, 5, False)))
    assert world.raft("n3").vote == "n2"


def test_a_leader_that_told_another_to_campaign_has_no_lease_in_this_term_any_more() -> None:
    """The order may arrive, and be obeyed, long after the transfer was given up; and the others do not wait then."""
    world = settled()
    world.pass_heartbeat("n1")
    world.deliver_all()
    world.transfer("n1", "n2")
    orders = [item for item in world.wire if isinstance(item[2], TimeoutNow)]
    assert orders
    world.wire = []
    for _ in range(15):
        world.pass_heartbeat("n1")
        orders += [item for item in world.wire if isinstance(item[2], TimeoutNow)]
        world.wire = [item for item in world.wire if not isinstance(item[2], TimeoutNow)]
        world.deliver_all()
    assert world.raft("n1").describe()["transfer"] is None, "it was given up"
    world.read("n1")
    assert world.reads_answered == [], "a majority is asked"
    world.deliver_all()
    assert len(world.reads_answered) == 1
    world.isolate("n1")
    world.wire = orders[:1]
    world.cut.clear()
    world.deliver()
    world.isolate("n1")
    world.deliver_all()
    assert world.raft("n2").leading
    world.propose("n2")
    world.deliver_all()
    world.read("n1")
    assert len(world.reads_answered) == 1


def test_a_new_leadership_begins_without_the_lease_of_the_last() -> None:
    world = settled()
    world.transfer("n1", "n2")
    world.deliver_all()
    world.pass_time(40)
    assert world.raft("n2")._lease_holds()
    world.transfer("n2", "n1")
    world.deliver_between("n2", "n1")
    while not world.raft("n1").leading:
        world.deliver()
    assert not world.raft("n1")._lease_holds()
    world.deliver_all()
    world.pass_time(40)
    assert world.raft("n1")._lease_holds(), "what it had forfeited was the last term's"


def test_an_answer_to_a_round_that_is_long_forgotten_extends_no_lease() -> None:
    world = settled()
    world.pass_heartbeat("n1")
    world.deliver()
    world.wire = late = [item for item in world.wire if item[1] == "n1"]
    world.wire = []
    world.now += 90 * MS
    raft = world.raft("n1")
    raft._rounds_sent.clear()
    world.wire = late
    world.deliver_all()
    read = world.read("n1")
    assert read not in world.reads_answered


def elect_around_a_leader_that_is_cut_off(seed: int, faster_percent: int, raft: type[Raft] = Raft) -> World:
    """Both followers' clocks run faster; a leader that was just heard is cut off, and asked once they have another."""
    knobs = LEASED._replace(election_timeout_max_ms=120)
    drift_percent = {"n2": faster_percent, "n3": faster_percent}
    world = World(3, seed=seed, knobs=knobs, drift_percent=drift_percent, raft=raft)
    world.elect("n1")
    world.pass_time(60)
    world.pass_heartbeat("n1")
    world.deliver_all()
    world.isolate("n1")
    for _ in range(60):
        world.now += 2 * MS
        for name in ("n2", "n3"):
            world.step(name, Tick())
        if world.rng.chance(1, 4):
            world.deliver_all()
        if world.leader() != "n1":
            break
    world.deliver_all()
    world.propose(world.leader() or "n1")
    world.deliver_all()
    world.read("n1")
    return world


def test_clocks_that_differ_by_no_more_than_the_bound_are_allowed_for() -> None:
    """The followers' clocks run a fifth faster than the leader's, which is what the default allows for."""
    elected = 0
    for seed in range(60):
        elected += elect_around_a_leader_that_is_cut_off(seed, 20).leader() != "n1"
    assert elected > 20


def test_clocks_that_differ_by_more_break_the_promise() -> None:
    with pytest.raises(Broken, match="answers a read at"):
        [elect_around_a_leader_that_is_cut_off(seed, 60) for seed in range(60)]


def test_the_bug_that_allows_for_no_drift_breaks_it_within_the_bound() -> None:
    with pytest.raises(Broken, match="answers a read at"):
        [elect_around_a_leader_that_is_cut_off(seed, 20, LeaseOutlivesSkewedClock) for seed in range(60)]


@pytest.mark.parametrize("block", range(4))
def test_every_read_by_lease_is_linearizable_under_random_schedules_and_drifting_clocks(block: int) -> None:
    answered = 0
    for seed in range(block * 25, block * 25 + 25):
        rng = RandomStream(seed, "drift")
        names = ["n1", "n2", "n3", "n4", "n5", "n6"]
        world = World(
            3 if seed % 2 else 5,
            seed=seed,
            knobs=knobs_of(seed)._replace(reads="lease"),
            joiners=1,
            drift_percent={name: rng.between(-8, 9) for name in names},
        )
        chaos = Chaos(world, seed)
        try:
            chaos.run(2000)
            answered += len(world.reads_answered)
            chaos.recover()
        except AssertionError as broken:
            raise AssertionError(f"seed {seed}: {broken}") from broken
    assert answered > 25 * 8
