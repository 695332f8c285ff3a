"""Replication, repair and commitment, with the scenarios that the paper draws."""

from __future__ import annotations

from tests.targets.reference.raft.harness import QUICK, World

from foreshock.targets.reference.node.consensus import Durable, Receive
from foreshock.targets.reference.node.raft import Raft
from foreshock.targets.reference.node.raft.messages import Append, AppendReply


def sent(world: World, kind: type, to: str) -> list:
    return [message for _, destination, message in world.wire if destination == to and type(message) is kind]


def test_a_command_is_committed_everywhere() -> None:
    """Section 5.3."""
    world = World(3)
    world.elect("n1")
    proposal = world.propose("n1", 77)
    world.deliver_all()
    assert world.proposals_done[proposal].data == 77
    world.pass_time(30)
    assert [node.applied for node in world.nodes.values()] == [2, 2, 2]


def test_every_log_of_figure_7_is_brought_into_line() -> None:
    """Figure 7: missing entries, extra entries, and both."""
    world = World(7)
    logs = {
        "n1": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6],
        "n2": [1, 1, 1, 4, 4, 5, 5, 6, 6],
        "n3": [1, 1, 1, 4],
        "n4": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        "n5": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        "n6": [1, 1, 1, 4, 4, 4, 4],
        "n7": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    }
    for name, terms in logs.items():
        world.give_log(name, terms, term=7)
    world.elect("n1")
    world.pass_time(60)
    assert all(world.terms(name) == [*logs["n1"], 8] for name in logs)
    assert all(node.applied == 11 for node in world.nodes.values())


def figure_8(raft_class: type[Raft]) -> World:
    """Figure 8 from (b) on: an entry of term 2 on a majority is not committed, and is overwritten in (d)."""
    world = World(5, raft=raft_class, knobs=QUICK._replace(batch_entries_max=1))
    for name, terms in {"n1": [1, 2], "n2": [1, 2], "n3": [1], "n4": [1], "n5": [1, 3]}.items():
        world.give_log(name, terms, term=3)
    world.isolate("n5")
    world.elect_only("n1")
    # (c): the entry of term 2 reaches n3, and nothing of term 4 reaches anybody.
    while world.raft("n3").log.last < 2:
        world.pass_heartbeat("n1")
        while world.wire:
            source, to, message = world.wire[0]
            own_term = type(message) is Append and any(entry.term == 4 for entry in message.entries)
            if {source, to} <= {"n1", "n2", "n3"} and not own_term:
                world.deliver()
            else:
                world.wire.pop(0)
    # (d): n1 crashes; n5 leads term 5 with the votes of n2, n3 and n4, and overwrites.
    world.crash("n1")
    world.heal()
    world.elect("n5")
    world.pass_time(100)
    return world


def test_an_old_entry_on_a_majority_is_not_committed_by_counting() -> None:
    """Figure 8 and section 5.4.2."""
    world = figure_8(Raft)
    assert world.terms("n3")[:2] == [1, 3]
    assert world.committed[2].term == 3


def test_an_old_entry_is_committed_with_the_noop_of_the_new_term() -> None:
    """Figure 8 (e), and section 8 on the no-op."""
    world = World(3)
    world.give_log("n1", [1, 1], term=1)
    world.give_log("n2", [1, 1], term=1)
    world.elect("n1")
    world.pass_time(30)
    assert world.highest_commit == 3
    assert world.committed[3].kind == "noop"


def test_repair_takes_a_round_trip_a_term_not_an_entry() -> None:
    """The end of section 5.3: fast back-up."""
    world = World(3)
    world.give_log("n1", [1] * 5 + [5] * 5, term=5)
    world.give_log("n2", [1] * 5 + [2] * 100 + [3] * 100, term=5)
    world.elect("n1")
    rejections = 0
    world.wire.clear()
    world.pass_heartbeat("n1")
    while world.wire:
        message = world.wire[0][2]
        rejections += type(message) is AppendReply and not message.accepted
        world.deliver()
    assert world.terms("n2") == [1] * 5 + [5] * 5 + [6]
    assert rejections <= 3


def test_a_follower_acknowledges_only_what_is_durable() -> None:
    """Figure 2: the log is persistent state; group commit: one fsync answers several appends."""
    world = World(3)
    world.elect("n1")
    world.pass_time(20)
    world.sync_at_once = False
    for _ in range(3):
        world.propose("n1")
    while world.wire:
        world.deliver()
    assert world.raft("n2").log.last == 4
    assert sent(world, AppendReply, "n1") == []
    world.sync("n2")
    replies = sent(world, AppendReply, "n1")
    assert [(reply.accepted, reply.position) for reply in replies] == [(True, 4)]


def test_an_entry_counts_for_the_leader_only_when_durable_there() -> None:
    """Dissertation 10.2.1: the leader's write goes on beside its followers'."""
    world = World(3)
    world.elect("n1")
    world.pass_time(20)
    world.sync_at_once = False
    world.isolate("n3")
    world.propose("n1")
    world.deliver_all()
    world.sync("n2")
    world.deliver_all()
    assert world.raft("n1").commit == 1, "one durable copy of three is no majority"
    world.sync("n1")
    assert world.raft("n1").commit == 2


def test_two_durable_followers_commit_before_the_leaders_own_disk_is_done() -> None:
    """Dissertation 10.2.1: the leader may even commit before it is durable itself."""
    world = World(3)
    world.elect("n1")
    world.pass_time(20)
    world.sync_at_once = False
    world.propose("n1")
    world.deliver_all()
    world.sync("n2")
    world.sync("n3")
    world.deliver_all()
    assert world.raft("n1").commit == 2
    assert world.raft("n1").durable_position == 1


def test_a_slow_follower_gets_no_more_than_its_window() -> None:
    knobs = QUICK._replace(inflight_appends_max=4)
    world = World(3, knobs=knobs)
    world.elect("n1")
    world.pass_time(40)
    for _ in range(50):
        world.propose("n1")
    appends = sent(world, Append, "n2")
    assert [len(message.entries) for message in appends] == [1, 1, 1, 1]
    world.deliver_all()
    assert world.raft("n2").log.last == 51, "what waited went in batches when the answers came"


def test_batches_keep_their_limits_of_entries_and_bytes() -> None:
    knobs = QUICK._replace(batch_entries_max=5, batch_bytes_max=500)
    world = World(2, knobs=knobs)
    world.elect("n1")
    world.isolate("n2")
    for size in (1, 1, 1, 1, 1, 1, 300, 300, 9000, 1):
        world.propose("n1", "x" * size)
    world.heal()
    world.wire.clear()
    batches = []
    world.pass_heartbeat("n1")
    while world.wire:
        message = world.wire[0][2]
        if type(message) is Append and message.entries:
            batches.append([len(entry.data) for entry in message.entries if entry.data is not None])
        world.deliver()
    assert batches == [[1, 1, 1, 1, 1], [1, 300], [300], [9000], [1]]


def test_a_lost_append_is_repaired_by_the_next_heartbeat() -> None:
    world = World(3)
    world.elect("n1")
    world.pass_time(40)
    world.propose("n1")
    world.wire.clear()
    world.propose("n1")
    world.wire.clear()
    world.pass_heartbeat("n1")
    world.deliver_all()
    assert world.raft("n1").commit == 3
    assert world.raft("n2").log.last == 3


def test_late_and_repeated_appends_take_nothing_away() -> None:
    """Section 5.3: AppendEntries is idempotent; a late one must not truncate what came after it."""
    world = World(3)
    world.elect("n1")
    world.pass_time(40)
    world.propose("n1")
    early = sent(world, Append, "n2")
    world.deliver_all()
    for _ in range(3):
        world.propose("n1")
    world.deliver_all()
    before = world.raft("n2").describe()
    for message in early * 3:
        world.step("n2", Receive("n1", message))
    assert world.raft("n2").describe() == before
    assert all(reply.accepted and reply.position == 5 for reply in sent(world, AppendReply, "n1"))


def test_late_answers_move_nothing_backward() -> None:
    world = World(3)
    world.elect("n1")
    for _ in range(5):
        world.propose("n1")
    world.deliver_all()
    before = world.raft("n1").describe()
    term = world.raft("n1").term
    for reply in (
        AppendReply(term, True, 1, 0, 0, 0),
        AppendReply(term, False, 1, 0, 2, 0),
        AppendReply(term, False, 1, 1, 5, 0),
    ):
        world.step("n1", Receive("n2", reply))
    assert world.raft("n1").describe() == before
    world.propose("n1")
    assert [len(message.entries) for message in sent(world, Append, "n2")] == [1]


def test_a_leader_refuses_more_than_its_limit_of_waiting_entries() -> None:
    world = World(3, knobs=QUICK._replace(uncommitted_entries_max=3))
    world.elect("n1")
    world.isolate("n1")
    asked = [world.propose("n1") for _ in range(5)]
    assert [number for number in asked if number in world.refused] == asked[3:]
    assert all(world.refused[number].definite for number in asked[3:])


def test_who_loses_leadership_says_that_nobody_knows() -> None:
    world = World(3)
    world.elect("n1")
    world.isolate("n1")
    proposal = world.propose("n1")
    world.pass_time(400)
    assert not world.refused[proposal].definite
    assert world.propose("n1") in world.refused
    assert world.refused[world.requests].definite


def test_a_durable_of_the_future_or_the_past_is_harmless() -> None:
    world = World(3, sync_at_once=False)
    world.tick("n1")
    world.deliver_all()
    world.step("n1", Durable(0))
    assert not world.raft("n1").leading
    world.step("n1", Durable(10**9))
    world.deliver_all()
    for name in ("n2", "n3"):
        world.sync(name)
    world.deliver_all()
    assert world.raft("n1").leading
    assert world.raft("n1").durable_position == 0, "records written since are not durable yet"
