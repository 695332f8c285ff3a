"""What replicas of Multi-Paxos say to each other, in full; see ``transcripts``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.targets.reference.paxos.harness import QUICK, World
from tests.targets.reference.transcripts import (
    approve,
    elects_n1,
    hands_over_to_n3,
    installs_a_snapshot,
    led_by_n1,
    replicates,
)

from foreshock.targets.reference.node.paxos.synod import Ballot

GOLDEN = Path(__file__).parent / "golden"


def settled(**options: Any) -> World:
    return led_by_n1(World(3, **options))


def election() -> World:
    """One node asks around, gets the promises, and has its no-op chosen."""
    return elects_n1(World(3), "the next heartbeat tells the others what is chosen")


def replication() -> World:
    """Two commands, the second before the first is answered; one fsync and one answer for both; a read."""
    return replicates(settled(), "n1")


def gap_filling() -> World:
    """Values are found in slots 1, 3 and 5, in 3 even two: that of the greater ballot counts, and gaps get no-ops."""
    world = World(3)
    world.trace = []
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
    return installs_a_snapshot(
        settled(knobs=QUICK._replace(snapshot_keep_entries=0, snapshot_chunk_bytes=20), seed=5)
    )


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
    return hands_over_to_n3(settled(), heartbeats=2)


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
    approve(scenario, GOLDEN, lambda line: re.sub(r"Ballot\(round=(\d+), node='?(\w*)'?\)", r"\1.\2", line))
