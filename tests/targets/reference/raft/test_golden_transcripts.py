"""Interactions as one reads them: each transcript in ``golden`` is what the replicas say to each other, in full.

When a transcript changes on purpose, run the tests with ``FORESHOCK_WRITE_GOLDEN=yes`` and read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.targets.reference.raft.harness import MS, QUICK, World

GOLDEN = Path(__file__).parent / "golden"


def start(count: int, **options) -> World:
    world = World(count, **options)
    world.trace = []
    return world


def election() -> World:
    """One node campaigns and is elected; its no-op is committed."""
    world = start(3)
    world.elect("n1")
    world.say("-- the next heartbeat tells the followers what is committed")
    world.pass_heartbeat("n1")
    world.deliver_all()
    return world


def replication() -> World:
    """Two commands, the second before the first is answered; a read; one fsync for both at the follower."""
    world = settled()
    world.sync_at_once = False
    world.propose("n1", "first")
    world.propose("n1", "second")
    world.deliver_all()
    for name in ("n2", "n1"):
        world.say(f"-- the disk of {name} is done")
        world.sync(name)
        world.deliver_all()
    world.say("-- a read")
    world.read("n1")
    world.deliver_all()
    return world


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
    world = start(3)
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
    world = settled(knobs=QUICK._replace(snapshot_keep_entries=0, snapshot_chunk_bytes=20), seed=5)
    world.isolate("n3")
    for command in (7, 8):
        world.propose("n1", command)
    world.deliver_all()
    world.compact("n1")
    world.propose("n1", 9)
    world.deliver_all()
    world.heal()
    world.say("-- n3 is heard again")
    for _ in range(2):
        world.pass_heartbeat("n1")
        world.deliver_all()
    return world


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
    world = settled()
    world.isolate("n3")
    world.propose("n1", "unknown to n3")
    world.deliver_all()
    world.heal()
    world.transfer("n1", "n3")
    world.pass_heartbeat("n1")
    world.deliver_all()
    return world


def settled(**options) -> World:
    world = start(3, **options)
    world.elect("n1")
    world.pass_heartbeat("n1")
    world.deliver_all()
    world.trace = []
    return world


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
    world = scenario()
    assert world.trace is not None
    title = f"# {scenario.__doc__}\n"
    transcript = title + "".join(f"{line}\n" for line in world.trace)
    path = GOLDEN / f"{scenario.__name__}.txt"
    if os.environ.get("FORESHOCK_WRITE_GOLDEN") == "yes":
        path.write_text(transcript)
    assert transcript == path.read_text()
