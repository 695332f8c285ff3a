"""What replicas of Zab say to each other, in full; see ``transcripts``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.targets.reference.transcripts import approve, replicates
from tests.targets.reference.zab.harness import QUICK, World

GOLDEN = Path(__file__).parent / "golden"


def election() -> World:
    """Three nodes look for a leader: each votes for itself, then for the best it has heard of."""
    world = World(3)
    world.wire.clear()
    world.trace = []
    for name in world.nodes:
        world.tick(name)
    while not any(world.zab(name).describe()["phase"] == "discovery" for name in world.nodes):
        world.deliver()
    return world


def discovery() -> World:
    """n3 was elected: CEPOCH from a quorum, NEWEPOCH, ACK-E, NEWLEADER and its ACK; then the epoch is established."""
    world = World(3)
    world.trace = []
    world.deliver_between("n2", "n3")
    for name in ("n3", "n2"):
        world.tick(name)
    world.deliver_between("n2", "n3")
    world.say("-- n1 is heard only now, and is invited")
    world.pass_heartbeat("n3")
    world.deliver_all()
    return world


def broadcast() -> World:
    """Two commands, the second before the first is acknowledged; one fsync for both at the follower; a read."""
    return replicates(settled(), "n3")


def difference() -> World:
    """A follower that missed two entries comes back to a leader that still has them (DIFF)."""
    world = settled()
    away(world, "n1")
    world.propose("n3", 7)
    world.propose("n3", 8)
    world.deliver_all()
    return back(world, "n1")


def truncation() -> World:
    """A leader that was cut off has an entry that nobody else has; it comes back to another one (TRUNC, DIFF)."""
    world = settled()
    world.isolate("n3")
    world.propose("n3", "known to nobody else")
    world.deliver_all()
    world.settle_among("n1", "n2")
    world.propose("n2", "in its place")
    world.deliver_all()
    trace, world.trace = world.trace, None
    world.pass_time(200)
    world.trace = trace
    return back(world, "n3")


def snapshot() -> World:
    """A follower that lacks what the leader has compacted gets a snapshot in two pieces, then the rest (SNAP)."""
    world = settled(knobs=QUICK._replace(snapshot_keep_entries=0, snapshot_chunk_bytes=20), seed=5)
    away(world, "n1")
    for command in (7, 8):
        world.propose("n3", command)
    world.deliver_all()
    world.compact("n3")
    world.propose("n3", 9)
    world.deliver_all()
    return back(world, "n1")


def lost_messages() -> World:
    """A proposal is lost, and the one after it arrives: the follower waits, asks for it, and takes both in order."""
    world = settled()
    world.propose("n3", "lost")
    world.wire = [item for item in world.wire if item[1] != "n1"]
    world.deliver_all()
    world.propose("n3", "early")
    world.deliver_all()
    world.say("-- the heartbeat")
    world.pass_heartbeat("n3")
    world.deliver_all()
    return world


def recovery() -> World:
    """The leader dies with an entry on one follower: the one with the later zxid leads, and the entry is committed."""
    world = settled()
    world.propose("n3", "on n1 and n3")
    world.deliver_between("n1", "n3")
    world.crash("n3")
    trace, world.trace = world.trace, None
    world.wire.clear()
    world.now += world.knobs.sync_limit_ms * 1_000_000
    world.trace = trace
    for name in ("n1", "n2"):
        world.tick(name)
    world.deliver_all()
    return world


def membership_change() -> World:
    """A fourth node is synchronized without a vote and becomes a member; then the leader removes itself."""
    world = settled(joiners=1)
    world.change("n3", add="n4")
    world.deliver_all()
    world.say("-- and now n3 is to go")
    world.change("n3", remove="n3")
    world.deliver_all()
    return world


def leadership_transfer() -> World:
    """The leader hands over to the follower with the smallest id."""
    world = settled()
    world.transfer("n3", "n1")
    world.deliver_all()
    return world


def settled(**options: Any) -> World:
    """n3 leads, and everybody follows."""
    world = World(3, **options)
    assert world.settle() == "n3"
    world.pass_time(60)
    world.trace = []
    return world


def away(world: World, name: str) -> None:
    """A node is cut off until it looks for a leader; that is not what the transcript is about."""
    assert world.trace == []
    world.isolate(name)
    world.trace = None
    world.pass_time(130)
    world.trace = []


def back(world: World, name: str) -> World:
    world.heal()
    world.wire.clear()
    world.say(f"-- {name} is heard again")
    leader = world.leader()
    assert leader is not None
    world.pass_heartbeat(leader)
    world.deliver_all()
    return world


SCENARIOS = [
    election,
    discovery,
    broadcast,
    difference,
    truncation,
    snapshot,
    lost_messages,
    recovery,
    membership_change,
    leadership_transfer,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_transcript_is_as_it_was_read_and_approved(scenario: Callable[[], World]) -> None:
    approve(scenario, GOLDEN)
