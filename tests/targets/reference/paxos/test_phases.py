"""Phases 1 and 2 as the paper has them, one rule at a time; the sections are those of "Paxos Made Simple"."""

from __future__ import annotations

from tests.targets.reference.paxos.harness import MS, QUICK, World

from foreshock.targets.reference.node.consensus import Receive
from foreshock.targets.reference.node.paxos.accepting import AHEAD_SLOTS_MAX
from foreshock.targets.reference.node.paxos.messages import (
    Accept,
    Accepted,
    Canvass,
    CanvassReply,
    Nack,
    Prepare,
    Promise,
    Value,
)
from foreshock.targets.reference.node.paxos.synod import NO_BALLOT, Ballot

COMMAND = (Value("command", "x"),)


def said(world: World, kind: type) -> list:
    return [message for _, _, message in world.wire if type(message) is kind]


def led(count: int = 3, **options) -> World:
    world = World(count, **options)
    world.elect("n1")
    world.pass_heartbeat("n1")
    world.deliver_all()
    return world


# --- section 2.2: the acceptor ------------------------------------------------------------------------------------


def test_an_acceptor_answers_no_prepare_request_below_its_promise() -> None:
    world = World()
    world.step("n1", Receive("n3", Prepare(Ballot(5, "n3"), 1, False)))
    world.wire.clear()
    world.step("n1", Receive("n2", Prepare(Ballot(5, "n2"), 1, False)))
    assert said(world, Nack) == [Nack(Ballot(5, "n3"), Ballot(5, "n2"))]
    assert not said(world, Promise)


def test_the_same_request_again_gets_the_same_answer_without_another_write() -> None:
    world = World()
    for _ in range(2):
        world.step("n1", Receive("n3", Prepare(Ballot(5, "n3"), 1, False)))
    assert said(world, Promise) == [Promise(Ballot(5, "n3"), 1, 0, 0, 0, ())] * 2
    assert len(world.nodes["n1"].disk) == 1


def test_an_acceptor_accepts_nothing_below_its_promise() -> None:
    world = World()
    world.step("n1", Receive("n3", Prepare(Ballot(5, "n3"), 1, False)))
    world.wire.clear()
    world.step("n1", Receive("n2", Accept(Ballot(4, "n2"), 1, COMMAND, 0, 0)))
    assert said(world, Nack) == [Nack(Ballot(5, "n3"), Ballot(4, "n2"))]
    assert world.paxos("n1").accepted == {}


def test_a_promise_and_an_acceptance_are_told_only_when_durable() -> None:
    world = World(sync_at_once=False)
    world.step("n1", Receive("n3", Prepare(Ballot(5, "n3"), 1, False)))
    assert world.wire == []
    world.sync("n1")
    assert len(said(world, Promise)) == 1
    world.step("n1", Receive("n3", Accept(Ballot(5, "n3"), 1, COMMAND, 0, 0)))
    world.step("n1", Receive("n3", Accept(Ballot(5, "n3"), 1, COMMAND, 0, 0)))
    assert said(world, Accepted) == [], "nor is a repetition, for what it repeats is not durable yet"
    world.sync("n1")
    assert said(world, Accepted) == [Accepted(Ballot(5, "n3"), 1, 1, 0, 0)] * 2


def test_what_was_promised_and_accepted_outlives_a_crash() -> None:
    world = World()
    world.step("n1", Receive("n3", Accept(Ballot(5, "n3"), 4, COMMAND, 0, 0)))
    world.crash("n1")
    world.start("n1")
    world.wire.clear()
    world.step("n1", Receive("n2", Accept(Ballot(4, "n2"), 4, (Value("noop", None),), 0, 0)))
    assert said(world, Nack) == [Nack(Ballot(5, "n3"), Ballot(4, "n2"))]
    world.step("n1", Receive("n2", Prepare(Ballot(6, "n2"), 1, False)))
    (promise,) = said(world, Promise)
    assert [(a.slot, a.ballot, a.data) for a in promise.accepted] == [(4, Ballot(5, "n3"), "x")]


def test_an_unsynced_promise_was_never_told_and_may_be_forgotten() -> None:
    world = World(sync_at_once=False)
    world.step("n1", Receive("n3", Prepare(Ballot(5, "n3"), 1, False)))
    world.crash("n1")
    world.start("n1")
    assert world.paxos("n1").promised == NO_BALLOT


def test_an_acceptor_takes_nothing_far_beyond_what_is_chosen() -> None:
    """A limit on its memory: a leader is never further ahead than its window."""
    world = World()
    world.step("n1", Receive("n3", Accept(Ballot(5, "n3"), AHEAD_SLOTS_MAX + 1, COMMAND, 0, 0)))
    assert world.paxos("n1").accepted == {}
    world.step("n1", Receive("n3", Accept(Ballot(5, "n3"), AHEAD_SLOTS_MAX, COMMAND, 0, 0)))
    assert list(world.paxos("n1").accepted) == [AHEAD_SLOTS_MAX]


def test_nobody_uses_our_ballot_but_we() -> None:
    world = led()
    paxos = world.paxos("n1")
    paxos.step(Receive("n2", Accept(paxos.ballot, 9, COMMAND, 0, 0)), world.now)
    assert paxos.dropped == 1
    assert paxos.leading


# --- section 2.2: the proposer ------------------------------------------------------------------------------------


def test_a_ballot_is_used_once_even_if_its_owner_crashes() -> None:
    """Section 2.4 asks a proposer to remember the highest-numbered proposal that it has tried to issue."""
    world = World(sync_at_once=False)
    world.now += 200 * MS
    world.tick("n1")
    world.deliver_all()
    assert world.paxos("n1").ballot == Ballot(1, "n1")
    assert not said(world, Prepare), "nobody hears of it before it is durable"
    world.sync("n1")
    assert said(world, Prepare) == [Prepare(Ballot(1, "n1"), 1, False)] * 2
    world.crash("n1")
    world.wire.clear()
    world.start("n1")
    world.sync_at_once = True
    world.elect("n1")
    assert world.paxos("n1").ballot == Ballot(2, "n1")


def test_a_value_that_may_be_chosen_is_proposed_again() -> None:
    """P2c: the proposal of the greatest ballot counts, wherever the report comes from; not our own if it is older."""
    world = World()
    world.give_state("n1", Ballot(4, "n9"), {1: (2, "older")})
    world.give_state("n2", Ballot(4, "n9"), {1: (4, "newer")})
    world.isolate("n3")
    world.elect("n1")
    assert world.committed[1].data == "newer"


def test_two_leaders_have_their_commands_in_different_slots_whoever_dies() -> None:
    world = led()
    first = world.propose("n1")
    world.deliver_between("n1", "n2")
    world.crash("n1")
    world.elect("n3")
    second = world.propose("n3")
    world.deliver_all()
    assert world.places[first] < world.places[second]


def test_a_long_report_is_told_in_pieces_and_however_slowly() -> None:
    """A candidate that hears one piece after the other is not to begin anew, nor are those who promised it."""
    world = World(knobs=QUICK._replace(promise_slots_max=2))
    accepted = {slot: (1, slot) for slot in range(1, 20)}
    for name in ("n2", "n3"):
        world.give_state(name, Ballot(1, "n9"), accepted)
    world.now += 200 * MS
    world.tick("n1")
    for _ in range(100):
        if world.paxos("n1").leading:
            break
        wire, world.wire = world.wire, []
        world.now += 30 * MS
        for source, destination, message in wire:
            world.step(destination, Receive(source, message))
    assert world.paxos("n1").leading
    assert world.paxos("n1").ballot == Ballot(2, "n1")
    world.deliver_all()
    assert [world.committed[slot].data for slot in range(1, 20)] == list(range(1, 20))


def test_a_lost_piece_of_a_report_is_asked_for_again() -> None:
    world = World(knobs=QUICK._replace(promise_slots_max=1, election_timeout_min_ms=199))
    world.give_state("n2", Ballot(1, "n9"), {1: (1, "a"), 3: (1, "c")})
    world.isolate("n3")
    world.now += 200 * MS
    world.tick("n1")
    while not said(world, Promise):
        world.deliver()
    world.deliver()
    assert said(world, Prepare) == [Prepare(Ballot(2, "n1"), 3, False)]
    world.wire.clear()
    world.pass_heartbeat("n1")
    assert Prepare(Ballot(2, "n1"), 3, False) in said(world, Prepare)
    world.deliver_all()
    assert [world.committed[slot].data for slot in (1, 2, 3)] == ["a", None, "c"]


def test_a_proposer_gives_up_when_it_hears_of_a_greater_ballot() -> None:
    world = led()
    proposal = world.propose("n1")
    world.wire.clear()
    world.step("n1", Receive("n2", Nack(Ballot(9, "n2"), Ballot(3, "n1"))))
    assert world.paxos("n1").leading, "that was about another ballot of ours"
    world.step("n1", Receive("n2", Nack(Ballot(9, "n2"), world.paxos("n1").ballot)))
    assert not world.paxos("n1").leading
    assert not world.refused[proposal].definite
    world.elect("n1")
    assert world.paxos("n1").ballot.round == 10


# --- section 2.4: progress ----------------------------------------------------------------------------------------


def test_nobody_promises_a_newcomer_while_the_leader_is_heard() -> None:
    world = led()
    world.wire.clear()
    world.step("n2", Receive("n3", Canvass(Ballot(1, "n1"), 1)))
    world.step("n2", Receive("n3", Prepare(Ballot(8, "n3"), 1, False)))
    world.step("n1", Receive("n3", Prepare(Ballot(8, "n3"), 1, False)))
    assert said(world, CanvassReply) == [CanvassReply(Ballot(1, "n1"), Ballot(1, "n1"), False, 1)]
    assert not said(world, Promise)
    assert world.paxos("n1").leading


def test_a_node_that_was_alone_does_not_disturb_the_others_when_it_comes_back() -> None:
    world = led()
    world.isolate("n3")
    world.pass_time(2000)
    world.heal()
    world.pass_time(500)
    assert world.paxos("n1").leading
    assert world.paxos("n3").promised == Ballot(1, "n1")


def test_a_leader_that_nobody_hears_leads_no_longer() -> None:
    world = led()
    world.isolate("n1")
    world.pass_time(400)
    assert not world.paxos("n1").leading


def test_duels_end() -> None:
    """All begin at once, without asking, again and again: the random waits part them."""
    for seed in range(20):
        world = World(5, seed=seed, knobs=QUICK._replace(canvass=False))
        world.pass_time(1500)
        assert world.leader() is not None


def test_a_lone_acceptor_is_a_majority_of_itself() -> None:
    world = World(1)
    world.elect("n1")
    proposal, read = world.propose("n1"), world.read("n1")
    assert proposal in world.proposals_done
    assert read in world.reads_answered


# --- section 3: many slots ----------------------------------------------------------------------------------------


def test_a_leader_runs_no_further_ahead_than_its_window() -> None:
    world = led(knobs=QUICK._replace(window_slots=4))
    world.isolate("n1")
    proposals = [world.propose("n1") for _ in range(10)]
    assert world.paxos("n1").last == 1 + 4
    world.heal()
    world.pass_time(200)
    assert all(proposal in world.proposals_done for proposal in proposals)


def test_commands_that_wait_too_many_are_refused_at_once() -> None:
    world = led(knobs=QUICK._replace(window_slots=2, pending_proposals_max=3))
    world.isolate("n1")
    proposals = [world.propose("n1") for _ in range(5)]
    assert [proposal for proposal in proposals if proposal in world.refused] == proposals[3:]
    assert all(world.refused[proposal].definite for proposal in proposals[3:])


def test_what_waits_behind_a_full_pipe_goes_in_one_message() -> None:
    world = led(knobs=QUICK._replace(inflight_accepts_max=1))
    world.wire.clear()
    for _ in range(5):
        world.propose("n1")
    to_n2 = [message for _, destination, message in world.wire if destination == "n2"]
    assert [len(message.values) for message in to_n2] == [1]
    world.deliver_between("n1", "n2")
    assert world.highest_commit == 6
    assert len(world.nodes["n2"].disk) == 2 + 2, "promise and no-op; then one record for each message"


def test_messages_are_cut_by_weight_and_by_count_but_hold_one_value_at_least() -> None:
    for knobs in (QUICK._replace(batch_bytes_max=1), QUICK._replace(batch_slots_max=1)):
        world = led(knobs=knobs._replace(inflight_accepts_max=1))
        for _ in range(4):
            world.propose("n1", "long " * 100)
        sizes = []
        while world.wire:
            sizes += [len(message.values) for message in said(world, Accept) if message.values]
            world.deliver()
        assert set(sizes) == {1}
        assert world.highest_commit == 5


def test_lost_accept_messages_are_sent_again() -> None:
    world = led()
    proposals = [world.propose("n1") for _ in range(3)]
    world.wire.clear()
    for _ in range(3):
        world.pass_heartbeat("n1")
        world.deliver_all()
    assert all(proposal in world.proposals_done for proposal in proposals)


def test_answers_may_overtake_each_other() -> None:
    world = led()
    proposals = [world.propose("n1") for _ in range(3)]
    world.isolate("n3")
    while said(world, Accept):
        world.deliver()
    world.wire.reverse()
    world.deliver()
    assert world.highest_commit == 1, "slot 4 is chosen, but not what is before it"
    world.deliver_all()
    assert all(proposal in world.proposals_done for proposal in proposals)
    peer = world.paxos("n1")._peers["n2"]
    assert peer.match == 4
    assert not peer.inflight


def test_acceptances_that_become_durable_together_are_told_in_one_message() -> None:
    world = led()
    world.sync_at_once = False
    for _ in range(3):
        world.propose("n1")
    while said(world, Accept):
        world.deliver()
    world.sync("n2")
    assert said(world, Accepted) == [Accepted(Ballot(1, "n1"), 2, 4, 1, 0)]
