"""Golden transcripts: interactions as one reads them, what the replicas say to each other, in full.

Each protocol's ``golden`` folder holds its own. When a transcript changes on purpose, run the tests with
``FORESHOCK_WRITE_GOLDEN=yes`` and read the difference. What is done to the replicas is the same for all protocols
where it can be: what they make of it is for the transcripts to show.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.targets.reference.worlds import World

WorldT = TypeVar("WorldT", bound=World)


def approve(scenario: Callable[[], World], golden: Path, say: Callable[[str], str] = str) -> None:
    """Hold what a scenario gives to the transcript that was read and approved; ``say`` rewords a line of it."""
    world = scenario()
    assert world.trace is not None
    transcript = f"# {scenario.__doc__}\n" + "".join(f"{say(line)}\n" for line in world.trace)
    path = golden / f"{scenario.__name__}.txt"
    if os.environ.get("FORESHOCK_WRITE_GOLDEN") == "yes":
        path.write_text(transcript)
    assert transcript == path.read_text()


def led_by_n1(world: WorldT) -> WorldT:
    """n1 is elected and everybody knows; the transcript begins after that."""
    world.elect("n1")
    world.pass_heartbeat("n1")
    world.deliver_all()
    world.trace = []
    return world


def elects_n1(world: WorldT, then: str) -> WorldT:
    """n1 is elected, and its next heartbeat goes out; ``then`` says what that tells the others."""
    world.trace = []
    world.elect("n1")
    world.say(f"-- {then}")
    world.pass_heartbeat("n1")
    world.deliver_all()
    return world


def replicates(world: WorldT, leader: str) -> WorldT:
    """Two commands, the second before the first is answered, with slow disks at the leader and n2; then a read."""
    world.sync_at_once = False
    world.propose(leader, "first")
    world.propose(leader, "second")
    world.deliver_all()
    for name in ("n2", leader):
        world.say(f"-- the disk of {name} is done")
        world.sync(name)
        world.deliver_all()
    world.say("-- a read")
    world.read(leader)
    world.deliver_all()
    return world


def installs_a_snapshot(world: WorldT) -> WorldT:
    """n3 misses two commands, which n1 compacts, and one after them; then it is heard again."""
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


def hands_over_to_n3(world: WorldT, heartbeats: int) -> WorldT:
    """n1 hands over to n3, which lacks a command at first."""
    world.isolate("n3")
    world.propose("n1", "unknown to n3")
    world.deliver_all()
    world.heal()
    world.transfer("n1", "n3")
    for _ in range(heartbeats):
        world.pass_heartbeat("n1")
        world.deliver_all()
    return world
