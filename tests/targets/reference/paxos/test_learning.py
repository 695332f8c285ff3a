"""Learners: what was missed is asked for, from whoever knows, by values or by a snapshot in pieces."""

from __future__ import annotations

import pytest
from tests.targets.reference.paxos.harness import MS, QUICK, World

from foreshock.targets.reference.node.consensus import Compact, Entry, Receive, Record
from foreshock.targets.reference.node.incoming import SNAPSHOT_TEXT_MAX
from foreshock.targets.reference.node.paxos import Paxos
from foreshock.targets.reference.node.paxos.messages import (
    Accept,
    Acceptance,
    Chosen,
    Learn,
    Promise,
    SnapshotPiece,
    Value,
)
from foreshock.targets.reference.node.paxos.state import SAVE_CHOSEN_SLOTS
from foreshock.targets.reference.node.paxos.synod import Ballot


def led(count: int = 3, **options) -> World:
    world = World(count, **options)
    world.elect("n1")
    world.pass_heartbeat("n1")
    world.deliver_all()
    return world


def behind(*, commands: int = 5, compact: bool = False, **knobs) -> World:
    """A cluster whose n3 has missed some commands."""
    world = led(knobs=QUICK._replace(snapshot_keep_entries=0, **knobs))
    world.isolate("n3")
    for _ in range(commands):
        world.propose("n1")
    world.deliver_all()
    world.pass_heartbeat("n1")
    world.deliver_all()
    if compact:
        for name in ("n1", "n2"):
            world.compact(name)
    world.heal()
    return world


def test_an_older_acceptance_is_not_taken_for_the_chosen_value() -> None:
    """A node that accepted another value under a lesser ballot asks, and learns what is chosen."""
    world = World()
    for name in ("n1", "n2"):
        world.give_state(name, Ballot(1, "n9"), {})
    world.give_state("n3", Ballot(1, "n9"), {1: (1, "never chosen")})
    world.isolate("n3")
    world.elect("n1")
    chosen = world.propose("n1", "chosen")
    world.deliver_all()
    world.heal()
    world.pass_time(200)
    assert chosen in world.proposals_done
    assert world.nodes["n3"].applied == 2
    assert world.replica("n3").entry(1).data is None
    assert world.replica("n3").entry(2).data == "chosen"


def test_a_new_leader_need_not_propose_again_what_its_electors_know_to_be_chosen() -> None:
    world = behind()
    world.crash("n1")
    before = dict(world.proposed)
    world.elect("n3")
    again = {slot for slot, _ in set(world.proposed) - set(before)}
    assert world.nodes["n3"].applied >= 6
    assert min(again) >= 6


def test_the_chosen_values_come_in_several_messages_if_need_be() -> None:
    world = behind(commands=9, batch_slots_max=2)
    world.pass_time(300)
    assert world.nodes["n3"].applied == 10


@pytest.mark.parametrize("piece_bytes", [5, 1000])
def test_who_is_too_far_behind_gets_the_snapshot(piece_bytes: int) -> None:
    world = behind(compact=True, snapshot_chunk_bytes=piece_bytes)
    assert world.replica("n1").entry(3) is None
    world.pass_time(300)
    assert world.nodes["n3"].applied == world.highest_commit
    assert world.paxos("n3").base == 6
    world.crash("n3")
    world.start("n3")
    assert world.nodes["n3"].applied == 6


def test_a_leader_without_the_snapshot_learns_it_before_it_proposes() -> None:
    """What its electors have no more in their logs is chosen: it must be learned, never proposed."""
    world = behind(compact=True, canvass=False)
    world.crash("n1")
    world.now += 200 * MS
    world.tick("n3")
    for _ in range(60):
        world.pass_time(20)
    leader = world.leader()
    assert leader is not None
    proposal = world.propose(leader)
    world.pass_time(100)
    assert proposal in world.proposals_done
    assert world.nodes["n3"].applied == world.highest_commit


def test_lost_pieces_of_a_snapshot_are_asked_for_again() -> None:
    world = behind(compact=True, snapshot_chunk_bytes=5)
    for _ in range(40):
        world.pass_heartbeat("n1")
        for _ in range(3):
            if world.wire:
                world.deliver()
        world.wire.clear()
    world.pass_time(300)
    assert world.nodes["n3"].applied == world.highest_commit


def test_a_snapshot_that_nobody_understands_is_dropped() -> None:
    world = led()
    paxos = world.paxos("n3")
    paxos.accepts_snapshot = lambda data: data != "nonsense"
    pieces = [
        SnapshotPiece(50, 1, ("n1",), 0, 0, "nonsense"),
        SnapshotPiece(50, 1, ("n1",), 0, 3, "[1,"),
        SnapshotPiece(50, 1, ("n1",), 0, SNAPSHOT_TEXT_MAX + 1, "long"),
    ]
    for number, piece in enumerate(pieces, start=1):
        assert paxos.step(Receive("n1", piece), world.now).restore is None
        assert paxos.dropped == number
    assert paxos.commit == 1


def test_pieces_of_two_snapshots_are_not_mixed() -> None:
    world = led()
    paxos = world.paxos("n3")
    data = '{"digest":1,"position":50}'
    paxos.step(Receive("n1", SnapshotPiece(40, 1, ("n1",), 0, 30, "other")), world.now)
    asked = paxos.step(Receive("n1", SnapshotPiece(50, 1, ("n1",), 0, len(data), data[:9])), world.now)
    assert (("n1", Learn(2, 50, 9))) in asked.send
    assert not paxos.step(
        Receive("n1", SnapshotPiece(50, 1, ("n1",), 20, len(data), data[20:])), world.now
    ).send
    done = paxos.step(Receive("n1", SnapshotPiece(50, 1, ("n1",), 9, len(data), data[9:])), world.now)
    assert done.restore is not None
    assert done.restore.data == {"digest": 1, "position": 50}


def test_a_leader_takes_no_snapshot_that_it_does_not_need() -> None:
    world = led()
    output = world.paxos("n1").step(Receive("n2", SnapshotPiece(50, 1, ("n1",), 0, 0, {})), world.now)
    assert output.restore is None
    assert world.paxos("n1").commit == 1


def test_values_that_are_known_are_no_news() -> None:
    world = led()
    known = world.paxos("n2").accepted[1]
    written = len(world.nodes["n2"].disk)
    world.step("n2", Receive("n3", Chosen(1, (known,), 1)))
    assert len(world.nodes["n2"].disk) == written


def test_chosen_values_may_come_before_those_that_they_follow() -> None:
    world = led()
    world.isolate("n3")
    for _ in range(3):
        world.propose("n1")
    world.deliver_all()
    values = tuple(world.paxos("n1").accepted[slot] for slot in (3, 4))
    world.step("n3", Receive("n2", Chosen(3, values, 4)))
    assert world.nodes["n3"].applied == 1
    world.step("n3", Receive("n2", Chosen(2, (world.paxos("n1").accepted[2],), 4)))
    assert world.nodes["n3"].applied == 4


def test_a_snapshot_keeps_the_slots_after_it_and_some_before() -> None:
    world = led(knobs=QUICK._replace(snapshot_keep_entries=2))
    for _ in range(6):
        world.propose("n1")
        world.deliver_all()
    world.compact("n1")
    paxos = world.paxos("n1")
    assert (paxos.base, sorted(paxos.accepted)) == (5, [6, 7])
    world.step("n1", Compact(3, {}))
    assert paxos.snapshot is not None
    assert paxos.snapshot.position == 7, "an older one is no news"
    assert paxos.entry(7) == Entry(7, 1, "command", 6)
    assert paxos.entry(5) is None
    assert paxos.entry(8) is None


# --- what comes back from a disk ----------------------------------------------------------------------------------


def recovered(*records: Record) -> Paxos:
    return Paxos.recover("n1", ("n1", "n2", "n3"), records, QUICK, lambda _: 0, 0)


def state(**changes) -> Record:
    return Record(1, "state", {"promised": [3, "n2"], "chosen": 0, "window": QUICK.window_slots} | changes)


def test_now_and_then_it_is_written_down_how_far_all_is_chosen() -> None:
    world = led()
    for _ in range(2 * SAVE_CHOSEN_SLOTS):
        world.propose("n1")
        world.deliver_all()
    world.crash("n1")
    world.start("n1")
    assert SAVE_CHOSEN_SLOTS <= world.nodes["n1"].applied <= 2 * SAVE_CHOSEN_SLOTS


def test_what_is_durably_chosen_is_applied_at_once() -> None:
    accepted = Record(2, "accepted", [[1, [1, "n1"], "noop", None], [2, [1, "n1"], "command", 7]])
    paxos = recovered(state(), accepted, state(chosen=2))
    assert paxos.commit == 2
    assert paxos.promised == Ballot(3, "n2")


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([state(chosen=1)], "does not hold slot 1"),
        ([state(window=QUICK.window_slots + 1)], "the two must be the same for ever"),
        ([state(chosen="far")], "chosen is 'far'"),
        ([state(promised=[1])], "is no ballot"),
        ([Record(1, "entries", [])], "its kind is 'entries'"),
        ([Record(1, "accepted", [[1, [1, "n1"], "joke", 1]])], "is no value"),
        ([Record(1, "snapshot", [1, 2])], "none of Paxos's"),
    ],
)
def test_records_of_something_else_are_refused(records: list[Record], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        recovered(*records)


def test_acceptances_that_a_snapshot_covers_are_forgotten() -> None:
    accepted = Record(1, "accepted", [[slot, [1, "n1"], "noop", None] for slot in (1, 2, 5, 9)])
    snapshot = Record(2, "snapshot", [5, 1, ["n1", "n2"], {}])
    late = Record(3, "accepted", [[5, [1, "n1"], "noop", None]])
    paxos = recovered(accepted, snapshot, late)
    assert sorted(paxos.accepted) == [9]
    assert paxos.members == ("n1", "n2")
    assert (paxos.commit, paxos.base, paxos.last) == (5, 5, 9)


def test_a_value_learned_is_kept_under_its_own_ballot_whatever_was_promised() -> None:
    paxos = recovered(state())
    value = Acceptance(1, Ballot(1, "n3"), "command", 5)
    paxos.step(Receive("n3", Chosen(1, (value,), 1)), 0)
    assert paxos.accepted[1] == value
    assert paxos.promised == Ballot(3, "n2")
    paxos.step(Receive("n2", Accept(Ballot(4, "n2"), 1, (Value("command", 5),), 0, 0)), 0)
    assert paxos.accepted[1] == value, "it is chosen: no proposal there can bring news"


def test_a_leader_that_learns_of_a_greater_ballot_tells_nobody_that_its_own_proposal_is_chosen() -> None:
    """It was asked for long ago and comes late: what is chosen is another value than the one proposed here."""
    world = led(5)
    slot = world.paxos("n1").commit + 1
    world.wire.append(("n1", "n3", Learn(slot, 0, 0)))
    asked = world.wire.pop()
    world.isolate("n1", "n2")
    lost = world.propose("n1", "lost")
    world.deliver_all()
    elected = world.now + 2 * QUICK.election_timeout_max_ms * MS
    leading_since = world.now
    world.now = elected
    for name in ("n3", "n4", "n5"):
        world.tick(name)
        world.deliver_all()
    world.now = leading_since
    newer = next(name for name in ("n3", "n4", "n5") if world.replica(name).leading)
    world.propose(newer, "chosen")
    world.deliver_all()
    world.heal()
    world.step("n3", Receive("n1", asked[2]))
    world.deliver_between("n1", "n3")
    world.isolate("n1", "n2")
    assert world.paxos("n1").commit >= slot
    world.pass_heartbeat("n1")
    world.deliver_all()
    assert not world.replica("n1").leading
    assert world.nodes["n2"].applied < slot
    assert not world.refused[lost].definite
    world.heal()
    world.pass_time(1000)
    assert world.nodes["n2"].applied >= slot


def test_what_is_known_to_be_chosen_is_not_accepted_anew_from_an_old_leader() -> None:
    """Though the slots before it are not known yet: then an older ballot's value would count in its place."""
    world = World()
    ballot, older = Ballot(5, "n2"), Ballot(4, "n3")
    world.give_state("n1", Ballot(3, "n9"), {})
    chosen = Acceptance(2, ballot, "command", "chosen")
    replica = world.paxos("n1")
    replica.step(Receive("n2", Chosen(2, (chosen,), 2)), world.now)
    replica.step(Receive("n3", Accept(older, 2, (Value("command", "lost"),), 0, 0)), world.now)
    first = Acceptance(1, ballot, "noop", None)
    output = replica.step(Receive("n2", Chosen(1, (first,), 2)), world.now)
    assert [entry.data for entry, _ in output.committed] == [None, "chosen"]


def leads_with_an_open_slot() -> tuple[Paxos, int]:
    """n1 leads by the promises of n2 and n3, and has proposed in slot 2, which nobody has heard of yet."""
    world = World(5)
    world.isolate("n4", "n5")
    world.elect("n1")
    world.isolate("n1")
    lost = world.propose("n1", "lost")
    replica = world.paxos("n1")
    assert replica.leading
    assert replica.commit == 1
    return replica, lost


def test_a_late_promise_that_tells_of_a_greater_ballot_ends_a_leadership() -> None:
    replica, lost = leads_with_an_open_slot()
    chosen = Acceptance(2, Ballot(9, "n9"), "command", "chosen")
    promise = Promise(replica.ballot, 1, 0, 0, 2, (chosen._replace(slot=1), chosen))
    output = replica.step(Receive("n4", promise), 10**9)
    assert not replica.leading
    assert [(refusal.request, refusal.definite) for refusal in output.refused] == [(lost, False)]
    assert [entry.data for entry, proposal in output.committed if proposal is None] == ["chosen"]


def test_a_snapshot_over_a_slot_that_is_open_here_ends_a_leadership() -> None:
    """A late promise says that much is known elsewhere; nobody can say any more what became of the proposal."""
    replica, lost = leads_with_an_open_slot()
    replica.step(Receive("n4", Promise(replica.ballot, 1, 0, 5, 5, ())), 10**9)
    assert replica.leading
    piece = SnapshotPiece(5, 3, replica.members, 0, 0, {"position": 5})
    output = replica.step(Receive("n4", piece), 10**9)
    assert output.restore is not None
    assert not replica.leading
    assert [(refusal.request, refusal.definite) for refusal in output.refused] == [(lost, False)]
