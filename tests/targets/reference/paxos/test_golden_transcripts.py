"""Interactions as one reads them: each transcript in ``golden`` is what the replicas say to each other, in full.

When a transcript changes on purpose, run the tests with ``FORESHOCK_WRITE_GOLDEN=yes`` and read the difference.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.targets.reference.paxos.harness import QUICK, World

from foreshock.targets.reference.node.paxos.synod import Ballot

GOLDEN = Path(__file__).parent / "golden"


def start(count: int, **options: Any) -> World:
    world = World(count, **options)
    world.trace = []
    return world


def settled(**options: Any) -> World:
    world = start(3, **options)
    world.elect("n1")
    world.pass_heartbeat("n1")
    world.deliver_all()
    world.trace = []
    return world


def election() -> World:
    """One node asks around, gets the promises, and has its no-op chosen."""
    world = start(3)
    world.elect("n1")
    world.say("-- the next heartbeat tells the others what is chosen")
    world.pass_heartbeat("n1")
    world.deliver_all()
    return world


def replication() -> World:
    """Two commands, the second before the first is answered; one fsync and one answer for both; a read."""
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


def gap_filling() -> World:
    """Values are found in slots 1, 3 and 5, in 3 even two: that of the greater ballot counts, and gaps get no-ops."""
    world = start(3)
    world.give_state("n1", Ballot(2, "n9"), {1: (1, "one"), 3: (1, "old three")})
    world.give_state("n2", Ballot(2, "n9"), {3: (2, "three"), 5: (1, "five")})
    world.isolate("n3")
    world.elect("n1")
    return world


def recovery() -> World:
    """A leader dies before anybody learns that its last command is chosen; the next one finds and proposes it."""
    world = settled()
    world.propose("n1", "survives")
    while world.wire:
        world.deliver()
    world.say("-- n1 dies")
    world.crash("n1")
    world.elect("n2")
    world.say("-- n1 comes back, and learns from its disk and from n2")
    world.start("n1")
    world.pass_heartbeat("n2")
    world.deliver_all()
    return world


def snapshot_install() -> World:
    """A learner that is too far behind fetches the snapshot in two pieces, then what was chosen after it."""
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
    """A fourth node learns and becomes a member, two slots after that is chosen; then the leader removes itself."""
    world = settled(joiners=1, knobs=QUICK._replace(window_slots=2))
    world.change("n1", add="n4")
    world.deliver_all()
    for _ in range(2):
        world.pass_heartbeat("n1")
        world.deliver_all()
    world.say("-- and now n1 is to go")
    world.change("n1", remove="n1")
    world.deliver_all()
    world.pass_heartbeat("n1")
    world.deliver_all()
    return world


def leadership_transfer() -> World:
    """The leader hands over to a node that lacks a command at first."""
    world = settled()
    world.isolate("n3")
    world.propose("n1", "unknown to n3")
    world.deliver_all()
    world.heal()
    world.transfer("n1", "n3")
    for _ in range(2):
        world.pass_heartbeat("n1")
        world.deliver_all()
    return world


@pytest.mark.parametrize(
    "scenario",
    [
        election,
        replication,
        gap_filling,
        recovery,
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
    lines = [re.sub(r"Ballot\(round=(\d+), node='?(\w*)'?\)", r"\1.\2", line) for line in world.trace]
    transcript = title + "".join(f"{line}\n" for line in lines)
    path = GOLDEN / f"{scenario.__name__}.txt"
    if os.environ.get("FORESHOCK_WRITE_GOLDEN") == "yes":
        path.write_text(transcript)
    assert transcript == path.read_text()
