"""Each planted bug of the core breaks an invariant, under the same schedules that the correct core survives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.targets.reference.chaos import Chaos
from tests.targets.reference.raft.harness import Broken, World
from tests.targets.reference.raft.schedules import knobs_of
from tests.targets.reference.raft.test_replication import figure_8

from foreshock.targets.reference.bugs.raft import (
    AppliesRetryTwice,
    CommitsOldTermByCounting,
    KeepsConflictingSuffix,
    RepliesBeforeFsync,
    SnapshotDropsDedupTable,
    StaleLeaderReads,
    TwoMembershipChangesAtOnce,
    VoteNotPersisted,
    VotesForShorterLog,
)
from foreshock.targets.reference.node.raft import Raft
from foreshock.targets.reference.node.services.register import Registers
from foreshock.targets.reference.node.sessions import Sessions


def everybody_restarts(raft: type[Raft]) -> World:
    """Terms that begin anew let a log that lacks committed entries pass for the more up-to-date one."""
    world = World(3, raft=raft)
    for leader in ("n1", "n2", "n1"):
        world.elect(leader)
        world.pass_time(60)
    for name in world.nodes:
        world.crash(name)
    for name in world.nodes:
        world.start(name)
    world.isolate("n3")
    world.elect("n1")
    world.propose("n1")
    world.pass_time(60)
    world.heal()
    world.isolate("n1")
    for _ in range(4):
        world.now += 200_000_000
        world.tick("n3")
        world.deliver_all()
    return world


def a_sleeper_wakes(raft: type[Raft]) -> World:
    """A node that missed everything campaigns among those that did not."""
    world = World(3, raft=raft)
    world.elect("n1")
    world.isolate("n3")
    world.propose("n1")
    world.pass_time(60)
    world.heal()
    world.isolate("n1")
    for _ in range(4):
        world.now += 200_000_000
        world.tick("n3")
        world.deliver_all()
    return world


def a_leader_reads_alone(raft: type[Raft]) -> World:
    """A leader on the small side of a partition is asked after the other side has moved on."""
    world = World(3, raft=raft)
    world.elect("n1")
    world.pass_time(60)
    world.isolate("n1")
    world.pass_time(500)
    leader = next(name for name in ("n2", "n3") if world.raft(name).leading)
    world.propose(leader)
    world.deliver_all()
    world.read("n1")
    return world


def the_power_goes(raft: type[Raft]) -> World:
    """All lose what was not synced, right after a commit."""
    world = World(3, raft=raft)
    world.elect("n1")
    world.pass_time(60)
    world.sync_at_once = False
    world.propose("n1")
    world.deliver_all()
    for name in ("n1", "n2", "n3"):
        world.crash(name)
    world.sync_at_once = True
    for name in ("n1", "n2", "n3"):
        world.start(name)
    world.elect("n2")
    world.pass_time(60)
    return world


def an_old_leader_comes_back(raft: type[Raft]) -> World:
    """A leader that was cut off with entries that it alone has hears of what was committed meanwhile."""
    world = World(3, raft=raft)
    world.elect("n1")
    world.pass_time(60)
    world.isolate("n1")
    for _ in range(3):
        world.propose("n1")
    world.elect("n2")
    for _ in range(3):
        world.propose("n2")
    world.deliver_all()
    world.heal()
    world.pass_time(200)
    return world


def members_go_while_a_minority_is_cut_off(raft: type[Raft]) -> World:
    """A leader with one follower left is asked to remove two of those that it does not hear."""
    world = World(5, raft=raft)
    world.elect("n1")
    world.pass_time(60)
    world.isolate("n1", "n2")
    for gone in ("n3", "n4"):
        world.change("n1", remove=gone)
        world.deliver_all()
    world.propose("n1")
    world.deliver_all()
    world.pass_time(500)
    leader = next(name for name in ("n3", "n4", "n5") if world.raft(name).leading)
    world.propose(leader)
    world.deliver_all()
    return world


SCENARIOS: list[tuple[type[Raft], Callable[[type[Raft]], World]]] = [
    (VoteNotPersisted, everybody_restarts),
    (VotesForShorterLog, a_sleeper_wakes),
    (CommitsOldTermByCounting, figure_8),
    (StaleLeaderReads, a_leader_reads_alone),
    (RepliesBeforeFsync, the_power_goes),
    (KeepsConflictingSuffix, an_old_leader_comes_back),
    (TwoMembershipChangesAtOnce, members_go_while_a_minority_is_cut_off),
]


@pytest.mark.parametrize(("bug", "scenario"), SCENARIOS)
def test_a_directed_scenario_breaks_the_bug_and_not_the_correct_core(
    bug: type[Raft], scenario: Callable[[type[Raft]], World]
) -> None:
    assert scenario(Raft).highest_commit > 0
    with pytest.raises(Broken):
        scenario(bug)


@pytest.mark.parametrize(
    "bug",
    [
        VoteNotPersisted,
        VotesForShorterLog,
        StaleLeaderReads,
        RepliesBeforeFsync,
        KeepsConflictingSuffix,
    ],
)
def test_random_schedules_find_the_bug(bug: type[Raft]) -> None:
    for seed in range(400):
        world = World(5 if seed % 2 else 3, seed=seed, knobs=knobs_of(seed), raft=bug)
        try:
            Chaos(world, seed, membership=False).run(2000)
        except Broken:
            return
    pytest.fail(f"{bug.__name__} survived every schedule")


def test_a_retry_takes_effect_once_but_for_the_bug() -> None:
    for sessions_class, left in ((Sessions, "other"), (AppliesRetryTwice, "first")):
        registers = Registers()
        sessions = sessions_class([registers])
        for position in (1, 2):
            sessions.apply(position, ["open", 60_000, 10])
        mine = ["do", 1, 1, ["write", 7, "first"]]
        for position, command in enumerate((mine, ["do", 2, 1, ["write", 7, "other"]], mine), start=3):
            assert sessions.apply(position, command)["type"] == "write_ok"
        assert registers.read(7)["value"] == left


def test_a_node_from_a_snapshot_answers_a_retry_as_all_others_do_but_for_the_bug() -> None:
    for sessions_class, agrees in ((Sessions, True), (SnapshotDropsDedupTable, False)):
        one, other = sessions_class([Registers()]), sessions_class([Registers()])
        for position in (1, 2):
            one.apply(position, ["open", 60_000, 10])
        mine = ["do", 1, 1, ["write", 7, "first"]]
        one.apply(3, mine)
        one.apply(4, ["do", 2, 1, ["write", 7, "other"]])
        other.restore(one.snapshot())
        assert one.apply(5, mine) == other.apply(5, mine) == {"type": "write_ok"}
        assert (one.services["register"].snapshot() == other.services["register"].snapshot()) is agrees
