"""Elections. Sections are of Ongaro & Ousterhout 2014 (extended) unless the dissertation (2014) is named."""

from __future__ import annotations

from tests.targets.reference.raft.harness import MS, World

from foreshock.targets.reference.node.consensus import Receive, Tick
from foreshock.targets.reference.node.raft.messages import Append, PreVote, Vote, VoteReply


def messages(world: World, kind: type) -> list[tuple[str, str]]:
    return [(source, to) for source, to, message in world.wire if type(message) is kind]


def test_a_majority_elects_a_leader_and_everybody_follows_it() -> None:
    """Section 5.2."""
    world = World(5)
    world.elect("n2")
    assert [world.raft(name).leader for name in world.nodes] == ["n2"] * 5
    assert {world.raft(name).term for name in world.nodes} == {1}


def test_a_single_node_elects_itself_once_its_vote_is_durable() -> None:
    world = World(1, sync_at_once=False)
    world.tick("n1")
    assert not world.raft("n1").leading
    world.sync("n1")
    assert world.raft("n1").leading


def test_a_vote_is_not_spoken_of_before_it_is_durable() -> None:
    """Figure 2: persistent state is updated on stable storage before responding."""
    world = World(3, sync_at_once=False)
    world.step("n2", Receive("n1", Vote(1, 0, 0, False)))
    assert messages(world, VoteReply) == []
    world.sync("n2")
    assert messages(world, VoteReply) == [("n2", "n1")]


def test_a_candidate_asks_nobody_before_its_own_vote_is_durable() -> None:
    world = World(3, sync_at_once=False)
    world.tick("n1")
    world.deliver_all()
    assert world.raft("n1").role == "candidate"
    assert messages(world, Vote) == []
    world.sync("n1")
    assert messages(world, Vote) == [("n1", "n2"), ("n1", "n3")]


def test_a_node_votes_once_a_term_also_across_a_restart() -> None:
    """Section 5.2, and the persistent state of figure 2."""
    world = World(3)
    world.step("n3", Receive("n1", Vote(1, 0, 0, False)))
    world.crash("n3")
    world.start("n3")
    world.wire.clear()
    world.step("n3", Receive("n2", Vote(1, 0, 0, False)))
    world.step("n3", Receive("n1", Vote(1, 0, 0, False)))
    assert [(to, message.granted) for _, to, message in world.wire] == [("n2", False), ("n1", True)]


def test_nobody_votes_for_a_log_that_is_less_up_to_date() -> None:
    """Section 5.4.1: by last term first, by length among equal last terms."""
    world = World(4)
    world.give_log("n1", [1, 1, 2], term=2)
    asked = {(3, 2): True, (2, 2): False, (9, 1): False, (1, 3): True, (4, 2): True}
    for term, (position, last_term) in enumerate(asked, start=3):
        world.step("n1", Receive("n2", Vote(term, position, last_term, False)))
    assert [message.granted for _, _, message in world.wire] == list(asked.values())


def test_a_node_that_is_cut_off_begins_no_terms() -> None:
    """Dissertation 9.6: PreVote."""
    world = World(3)
    world.elect("n1")
    world.isolate("n3")
    world.pass_time(5000)
    assert world.raft("n3").term == 1
    world.heal()
    world.pass_time(500)
    assert world.leader() == "n1"
    assert world.raft("n1").term == 1


def test_a_follower_sticks_to_a_leader_that_it_hears() -> None:
    """Dissertation 4.2.3: neither votes nor their terms disturb a leader that lives."""
    world = World(3)
    world.elect("n1")
    world.step("n2", Receive("n3", Vote(9, 9, 9, False)))
    world.step("n2", Receive("n3", PreVote(9, 9, 9)))
    assert world.raft("n2").term == 1
    assert [message.granted for _, _, message in world.wire] == [False]


def test_a_vote_that_the_leader_itself_asked_for_is_given_at_once() -> None:
    """Dissertation 4.2.3: the exception for leadership transfer."""
    world = World(3)
    world.elect("n1")
    world.step("n2", Receive("n3", Vote(9, 9, 9, True)))
    assert [message.granted for _, _, message in world.wire] == [True]


def test_a_leader_without_a_quorum_steps_down() -> None:
    """Dissertation 6.2: CheckQuorum."""
    world = World(5)
    world.elect("n1")
    world.isolate("n1", "n2")
    world.pass_time(150)
    assert world.raft("n1").leading
    world.pass_time(150)
    assert not world.raft("n1").leading
    assert world.leader() in {"n3", "n4", "n5"}


def test_a_leader_that_hears_from_a_later_term_steps_down() -> None:
    """Section 5.1: a node cut off in a later term is heard in the end."""
    world = World(3)
    world.elect("n1")
    world.give_log("n3", [], term=7)
    world.pass_time(1000)
    leader = world.leader()
    assert leader is not None
    assert world.raft(leader).term > 7
    assert leader != "n3", "the log of n3 lacks what is committed"


def test_split_votes_are_resolved_by_random_timeouts() -> None:
    """Section 5.2: all time out at once, and still somebody wins soon."""
    for seed in range(20):
        world = World(5, seed=seed)
        world.now += 200 * MS
        for name in world.nodes:
            world.step(name, Tick())
        world.pass_time(1500)
        assert world.leader() is not None


def test_an_append_of_this_term_ends_a_candidacy() -> None:
    """Section 5.2: a candidate that hears the term's leader follows it."""
    world = World(3, sync_at_once=False)
    world.tick("n1")
    world.deliver_all()
    world.step("n1", Receive("n2", Append(1, 0, 0, (), 0, 0)))
    assert world.raft("n1").role == "follower"
    assert world.raft("n1").leader == "n2"


def test_a_node_that_is_no_member_never_campaigns() -> None:
    world = World(3, joiners=1)
    world.isolate("n4")
    world.now += 10_000 * MS
    world.step("n4", Tick())
    assert world.wire == []
    assert world.raft("n4").role == "follower"


def test_voters_of_an_earlier_term_may_permit_a_campaign() -> None:
    """A node that is ahead by a term it could not win asks those behind: their permission counts, however old it is."""
    world = World(3)
    for name, term in (("n1", 5), ("n2", 4), ("n3", 4)):
        world.give_log(name, [1, 4], term=term)
    world.now += 200 * MS
    world.tick("n1")
    world.deliver_all()
    assert world.raft("n1").leading
    assert world.raft("n1").term == 6
