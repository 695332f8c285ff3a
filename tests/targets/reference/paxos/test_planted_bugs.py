"""Each planted bug breaks an invariant, by a scenario and under the schedules that the correct core survives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.targets.reference.chaos import Chaos
from tests.targets.reference.paxos.harness import MS, QUICK, Broken, World, knobs_of

from foreshock.targets.reference.bugs.paxos import (
    AcceptsBelowPromise,
    BallotsNotUnique,
    ForgetsPromiseOnRestart,
    HalfIsMajority,
    IgnoresAcceptedValue,
    LearnsFromOneAcceptor,
    SkipsPhaseOneForGaps,
)
from foreshock.targets.reference.node.paxos import Paxos
from foreshock.targets.reference.node.paxos.synod import Ballot

Scenario = Callable[[type[Paxos]], World]


def led(paxos: type[Paxos], count: int = 3) -> World:
    world = World(count, paxos=paxos)
    world.elect("n1")
    world.pass_heartbeat("n1")
    world.deliver_all()
    return world


def everybody_restarts(paxos: type[Paxos]) -> World:
    """A leader that was cut off is heard again by nodes that restarted after they had promised another one."""
    world = led(paxos)
    world.isolate("n1")
    world.propose("n1", "never chosen")
    world.elect("n2")
    world.propose("n2", "chosen")
    world.deliver_all()
    for name in ("n2", "n3"):
        world.crash(name)
    for name in ("n2", "n3"):
        world.start(name)
    world.heal()
    for _ in range(4):
        world.pass_heartbeat("n1")
        world.deliver_all()
    return world


def a_leader_dies_with_the_news(paxos: type[Paxos]) -> World:
    """What only the dead leader knew to be chosen is in the others' reports."""
    world = led(paxos)
    world.propose("n1", "chosen")
    world.deliver_all()
    world.crash("n1")
    world.elect("n2")
    world.propose("n2", "next")
    world.deliver_all()
    world.pass_time(60)
    return world


def a_leader_comes_back(paxos: type[Paxos]) -> World:
    """A leader that was cut off speaks again before it hears that there is another."""
    world = led(paxos)
    world.isolate("n1")
    world.propose("n1", "never chosen")
    world.elect("n2")
    world.propose("n2", "chosen")
    world.deliver_all()
    world.heal()
    for _ in range(4):
        world.pass_heartbeat("n1")
        world.deliver_all()
    return world


def two_count_up_to_the_same_round(paxos: type[Paxos]) -> World:
    """Two nodes that do not hear each other begin a ballot each, and a third one hears both."""
    world = World(3, paxos=paxos, knobs=QUICK._replace(canvass=False))
    world.cut |= {("n1", "n2"), ("n2", "n1")}
    world.now += 200 * MS
    world.tick("n1")
    world.tick("n2")
    world.deliver_all()
    for name in ("n1", "n2"):
        if world.paxos(name).leading:
            world.propose(name)
    world.deliver_all()
    if not world.leader():
        world.pass_time(1000)
    return world


def a_cluster_of_four_is_halved(paxos: type[Paxos]) -> World:
    """Two and two."""
    world = led(paxos, 4)
    world.isolate("n1", "n2")
    world.propose("n1", "here")
    world.deliver_all()
    for _ in range(6):
        world.now += 200 * MS
        world.tick("n3")
        world.deliver_all()
    if world.paxos("n3").leading:
        world.propose("n3", "there")
        world.deliver_all()
    return world


def a_leader_is_alone(paxos: type[Paxos]) -> World:
    """Its own acceptor is the only one to accept."""
    world = led(paxos)
    world.isolate("n1")
    world.propose("n1", "never chosen")
    world.elect("n2")
    world.propose("n2", "chosen")
    world.deliver_all()
    return world


def a_node_that_missed_something_leads(paxos: type[Paxos]) -> World:
    """Its own acceptor knows nothing of what the others have accepted and the last leader had chosen."""
    world = led(paxos)
    world.isolate("n3")
    world.propose("n1", "chosen")
    world.deliver_all()
    world.heal()
    world.crash("n1")
    world.elect("n3")
    return world


SCENARIOS: list[tuple[type[Paxos], Scenario]] = [
    (ForgetsPromiseOnRestart, everybody_restarts),
    (IgnoresAcceptedValue, a_leader_dies_with_the_news),
    (AcceptsBelowPromise, a_leader_comes_back),
    (BallotsNotUnique, two_count_up_to_the_same_round),
    (HalfIsMajority, a_cluster_of_four_is_halved),
    (LearnsFromOneAcceptor, a_leader_is_alone),
    (SkipsPhaseOneForGaps, a_node_that_missed_something_leads),
]


@pytest.mark.parametrize(("bug", "scenario"), SCENARIOS)
def test_a_directed_scenario_breaks_the_bug_and_not_the_correct_core(
    bug: type[Paxos], scenario: Scenario
) -> None:
    assert scenario(Paxos).highest_commit > 0
    with pytest.raises(Broken):
        scenario(bug)


@pytest.mark.parametrize("bug", [bug for bug, _ in SCENARIOS])
def test_random_schedules_find_the_bug(bug: type[Paxos]) -> None:
    for seed in range(200):
        world = World(4 if bug is HalfIsMajority else 3, seed=seed, knobs=knobs_of(seed), paxos=bug)
        try:
            Chaos(world, seed, membership=False).run(2000)
        except Broken:
            return
    pytest.fail(f"{bug.__name__} survived every schedule")


def test_only_the_round_tells_the_buggy_ballots_apart() -> None:
    world = World(3, paxos=BallotsNotUnique)
    world.now += 200 * MS
    world.tick("n1")
    assert world.paxos("n1").ballot == Ballot(1, "")
