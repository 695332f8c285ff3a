"""Compaction and InstallSnapshot (section 7, figure 13)."""

from __future__ import annotations

from tests.targets.reference.raft.harness import QUICK, World

from foreshock.targets.reference.node.consensus import Compact, Receive
from foreshock.targets.reference.node.raft.messages import AppendReply, InstallSnapshot, SnapshotReply

SHORT = QUICK._replace(snapshot_keep_entries=0)


def world_with_snapshot(knobs=SHORT, entries: int = 10) -> World:
    """n3 misses some entries, and n1, who leads, has compacted them away."""
    world = World(3, knobs=knobs)
    world.elect("n1")
    world.pass_time(40)
    world.isolate("n3")
    for _ in range(entries):
        world.propose("n1")
    world.pass_time(40)
    world.compact("n1")
    world.heal()
    return world


def test_a_follower_far_behind_gets_a_snapshot_and_goes_on_from_there() -> None:
    world = world_with_snapshot()
    world.propose("n1")
    world.pass_time(100)
    n3 = world.nodes["n3"]
    assert n3.applied == 12
    assert world.raft("n3").snapshot is not None
    assert world.raft("n3").log.base == 11


def test_a_long_snapshot_travels_in_pieces_also_when_some_are_lost() -> None:
    world = world_with_snapshot(SHORT._replace(snapshot_chunk_bytes=10))
    pieces = 0
    for _ in range(400):
        if not world.wire:
            world.pass_time(20, deliver=False)
            continue
        is_piece = type(world.wire[0][2]) is InstallSnapshot
        pieces += is_piece
        if is_piece and pieces % 3 == 0:
            world.wire.pop(0)
        else:
            world.deliver()
    assert pieces > 4
    assert world.nodes["n3"].applied == 11


def test_a_follower_that_restarts_amid_a_snapshot_begins_it_anew() -> None:
    world = world_with_snapshot(SHORT._replace(snapshot_chunk_bytes=10))
    while not any(type(m) is SnapshotReply and m.offset >= 20 for _, _, m in world.wire):
        if world.wire:
            world.deliver()
        else:
            world.pass_heartbeat("n1")
    world.crash("n3")
    world.start("n3")
    world.pass_time(600)
    assert world.nodes["n3"].applied == 11


def test_a_snapshot_is_acknowledged_only_when_durable() -> None:
    world = world_with_snapshot()
    world.sync_at_once = False
    world.pass_heartbeat("n1")
    world.deliver_all()
    if world.raft("n3").snapshot is None:
        world.pass_heartbeat("n1")
        world.deliver_all()
    assert world.nodes["n3"].applied == 11
    assert world.raft("n1")._peers["n3"].match < 11
    world.sync("n3")
    replies = [m for source, _, m in world.wire if source == "n3" and type(m) is AppendReply]
    assert [(reply.accepted, reply.position) for reply in replies] == [(True, 11)]


def test_a_snapshot_of_the_past_changes_nothing() -> None:
    world = world_with_snapshot()
    world.pass_time(100)
    before = world.raft("n3").describe()
    old = InstallSnapshot(1, 5, 1, ("n1", "n2", "n3"), 0, 0, {"position": 5, "digest": 0}, 0)
    output = world.step("n3", Receive("n1", old))
    assert output.restore is None
    assert world.raft("n3").describe() == before


def test_entries_after_a_snapshot_stay_only_if_the_log_held_its_last_entry() -> None:
    """Figure 13, receiver's steps 6 and 7."""
    for own_terms, left in (([1] * 8, 8), ([1] * 3 + [2] * 5, 6)):
        world = World(3)
        world.give_log("n1", own_terms, term=3)
        world.digests[6] = 99
        snapshot = InstallSnapshot(3, 6, 1, ("n1", "n2", "n3"), 0, 0, {"position": 6, "digest": 99}, 0)
        world.step("n1", Receive("n2", snapshot))
        assert (world.raft("n1").log.base, world.raft("n1").log.last) == (6, left)
        disk = world.nodes["n1"].disk
        again = type(world.raft("n1")).recover("n1", ("n1",), disk, QUICK, lambda _: 0, 0)
        assert (again.log.base, again.log.last, again.commit) == (6, left, 6)


def test_a_snapshot_survives_a_restart() -> None:
    world = World(3, knobs=SHORT)
    world.elect("n1")
    for _ in range(6):
        world.propose("n1")
    world.deliver_all()
    world.compact("n1")
    digest = world.nodes["n1"].digest
    world.crash("n1")
    world.start("n1")
    assert (world.nodes["n1"].applied, world.nodes["n1"].digest) == (7, digest)
    assert world.raft("n1").members == ("n1", "n2", "n3")


def test_a_compaction_beyond_what_is_applied_or_before_the_last_is_ignored() -> None:
    world = World(3, knobs=SHORT)
    world.elect("n1")
    world.propose("n1")
    world.deliver_all()
    world.step("n1", Compact(99, {}))
    assert world.raft("n1").snapshot is None
    world.compact("n1")
    output = world.step("n1", Compact(1, {}))
    assert output.persist == []


def test_a_tail_is_kept_so_that_a_follower_close_behind_needs_no_snapshot() -> None:
    world = world_with_snapshot(QUICK._replace(snapshot_keep_entries=20))
    for _ in range(10):
        world.pass_heartbeat("n1")
        assert not any(type(message) is InstallSnapshot for _, _, message in world.wire)
        world.deliver_all()
    assert world.nodes["n3"].applied == 11
