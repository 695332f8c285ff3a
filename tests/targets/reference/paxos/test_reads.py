"""Linearizable reads: a barrier, then a majority that has promised nobody else."""

from __future__ import annotations

from tests.targets.reference.paxos.harness import QUICK, World


def led(count: int = 3, **options) -> World:
    world = World(count, **options)
    world.elect("n1")
    world.pass_heartbeat("n1")
    world.deliver_all()
    return world


def test_a_read_waits_for_a_majority() -> None:
    world = led()
    read = world.read("n1")
    assert world.reads_answered == []
    world.deliver_all()
    assert world.reads_answered == [read]


def test_reads_that_arrive_during_a_round_share_the_next() -> None:
    world = led()
    reads = [world.read("n1") for _ in range(5)]
    assert len(world.wire) == 2, "one message to each of the others"
    world.deliver_all()
    assert world.reads_answered == reads
    assert world.paxos("n1")._round == 2


def test_a_new_leader_reads_only_when_its_own_no_op_is_chosen() -> None:
    """It may lack what the last leader had chosen and acknowledged; its electors do not."""
    world = led()
    write = world.propose("n1")
    world.deliver_between("n1", "n2")
    assert write in world.proposals_done
    world.crash("n1")
    world.isolate("n2")
    world.now += 300_000_000
    world.heal()
    world.tick("n3")
    while not world.paxos("n3").leading:
        world.deliver()
    read = world.read("n3")
    assert read not in world.reads_answered
    world.deliver_all()
    assert read in world.reads_answered
    assert world.nodes["n3"].applied >= 2


def test_a_leader_that_was_cut_off_answers_no_read() -> None:
    world = led()
    world.isolate("n1")
    read = world.read("n1")
    world.pass_time(400)
    assert read not in world.reads_answered
    assert world.refused[read].definite
    assert "leadership was lost" in world.refused[read].reason


def test_a_lost_round_is_repeated_by_the_heartbeat() -> None:
    world = led()
    read = world.read("n1")
    world.wire.clear()
    world.pass_heartbeat("n1")
    world.deliver_all()
    assert read in world.reads_answered


def test_reads_elsewhere_and_too_many_are_refused() -> None:
    world = led(knobs=QUICK._replace(pending_reads_max=2))
    elsewhere = world.read("n2")
    reads = [world.read("n1") for _ in range(3)]
    assert world.refused[elsewhere].leader == "n1"
    assert [read for read in reads if read in world.refused] == reads[2:]
    world.deliver_all()
    assert world.reads_answered == reads[:2]


def test_a_round_begins_anew_when_its_acceptors_are_replaced() -> None:
    world = led(knobs=QUICK._replace(window_slots=1))
    world.change("n1", remove="n3")
    read = world.read("n1")
    held = [item for item in world.wire if item[2].values]
    world.wire = held
    while world.wire:
        world.deliver()
    assert world.paxos("n1").commit >= 2
    world.pass_time(60)
    assert read in world.reads_answered
