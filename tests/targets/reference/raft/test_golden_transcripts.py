"""What replicas of Raft say to each other, in full; see ``transcripts``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.targets.reference.raft.harness import MS, QUICK, World
from tests.targets.reference.transcripts import (
    approve,
    elects_n1,
    hands_over_to_n3,
    installs_a_snapshot,
    led_by_n1,
    replicates,
)

GOLDEN = Path(__file__).parent / "golden"


def election() -> World:
    """One node campaigns and is elected; its no-op is committed."""
    return elects_n1(World(3), "the next heartbeat tells the followers what is committed")


def replication() -> World:
    """Two commands, the second before the first is answered; a read; one fsync for both at the follower."""
    return replicates(settled(), "n1")


def recovery() -> World:
    """A leader dies before anybody learns that its last entry is on a majority; the next one has it committed."""
    world = settled()
    world.propose("n1", "survives")
    world.isolate("n3")
    while world.wire:
        world.deliver()
    world.say("-- n1 dies, before its next word; n3 is heard again")
    world.crash("n1")
    world.heal()
    world.elect("n2")
    world.say("-- n1 comes back with what is on its disk, and follows")
    world.start("n1")
    world.pass_heartbeat("n2")
    world.deliver_all()
    return world


def lease_reads() -> World:
    """A heartbeat earns the leader a lease, under which it reads alone; when the lease is over, a round is due."""
    world = settled(knobs=QUICK._replace(reads="lease"))
    world.pass_heartbeat("n1")
    world.deliver_all()
    world.say("-- a read under the lease")
    world.read("n1")
    world.now += 90 * MS
    world.say("-- and one after it, 90 ms after the last heartbeat")
    world.read("n1")
    world.deliver_all()
    return world


def log_repair() -> World:
    """A follower with entries of two dead terms is brought into line, a term at a time."""
    world = World(3)
    world.trace = []
    world.give_log("n1", [1, 1, 1, 4], term=4)
    world.give_log("n2", [1, 1, 1, 4], term=4)
    world.give_log("n3", [1, 2, 2, 3, 3], term=4)
    world.isolate("n3")
    world.elect("n1")
    world.heal()
    world.say("-- n3 is heard again")
    world.pass_heartbeat("n1")
    world.deliver_all()
    return world


def snapshot_install() -> World:
    """A follower that is too far behind gets the snapshot in two pieces, then the entries after it."""
    return installs_a_snapshot(
        settled(knobs=QUICK._replace(snapshot_keep_entries=0, snapshot_chunk_bytes=20), seed=5)
    )


def membership_change() -> World:
    """A fourth node catches up and becomes a member; then the leader removes itself."""
    world = settled(joiners=1)
    world.change("n1", add="n4")
    world.deliver_all()
    world.say("-- and now n1 is to go")
    world.change("n1", remove="n1")
    world.deliver_all()
    return world


def leadership_transfer() -> World:
    """The leader hands over to a follower that lacks an entry at first."""
    return hands_over_to_n3(settled(), heartbeats=1)


def settled(**options: Any) -> World:
    return led_by_n1(World(3, **options))


@pytest.mark.parametrize(
    "scenario",
    [
        election,
        replication,
        recovery,
        lease_reads,
        log_repair,
        snapshot_install,
        membership_change,
        leadership_transfer,
    ],
    ids=lambda scenario: scenario.__name__,
)
def test_the_transcript_is_as_it_was_read_and_approved(scenario: Callable[[], World]) -> None:
    approve(scenario, GOLDEN)
