"""Random schedules over a :class:`World` of any protocol: each step is something that happens to real systems."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tests.targets.reference.worlds import MS, World, require

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.node.consensus import Tick

WEIGHTS = (
    (580, "deliver"),
    (200, "sync"),
    (70, "pass_time"),
    (90, "propose"),
    (30, "read"),
    (10, "compact"),
    (7, "crash_or_start"),
    (7, "cut_or_heal"),
    (4, "change_members"),
    (2, "transfer"),
)
"""How likely each kind of step is."""

WEIGHTS_TOTAL = sum(weight for weight, _ in WEIGHTS)


class Chaos:
    """Moves a world at random: each step is one of what may happen to a distributed system."""

    def __init__(self, world: World, seed: int, *, membership: bool = True, crashes: bool = True) -> None:
        self.world = world
        self.rng = RandomStream(seed, "chaos")
        self.membership = membership
        self.crashes = crashes
        world.sync_at_once = False

    def run(self, steps: int) -> None:
        """So many random steps."""
        for _ in range(steps):
            self.move()

    def move(self) -> None:
        """One random step."""
        draw = self.rng.below(WEIGHTS_TOTAL)
        for weight, name in WEIGHTS:
            if draw < weight:
                getattr(self, name)()
                return
            draw -= weight

    def propose(self) -> None:
        """A command at a leader."""
        self.ask(self.world.propose)

    def read(self) -> None:
        """A read at a leader."""
        self.ask(self.world.read)

    def compact(self) -> None:
        """A snapshot anywhere."""
        self.world.compact(self.some_running())

    def transfer(self) -> None:
        """A leader hands over, to whomever."""
        if self.membership:
            self.ask(self.world.transfer)

    def ask(self, request: Callable[[str], int]) -> None:
        """A client's request at a node that believes that it leads."""
        leader = self.some_leader()
        if leader is not None:
            request(leader)

    def deliver(self) -> None:
        """Mostly the oldest message; sometimes any, lost, or twice."""
        world, rng = self.world, self.rng
        if not world.wire:
            return
        at = 0 if rng.chance(3, 4) else rng.below(len(world.wire))
        draw = rng.below(40)
        if draw == 0 or len(world.wire) > 400:
            world.wire.pop(at)
        else:
            world.deliver(at, again=draw == 1)

    def sync(self) -> None:
        """A node's disk finishes some of its writes."""
        waiting = [node for node in self.world.nodes.values() if node.unsynced and node.replica is not None]
        if waiting:
            node = self.rng.choice(waiting)
            part = self.rng.chance(1, 4)
            self.world.sync(node.name, 1 + self.rng.below(len(node.unsynced)) if part else None)

    def pass_time(self) -> None:
        """Some milliseconds; whoever's deadline has come acts."""
        world = self.world
        world.now += self.rng.below(20 * MS) if self.rng.chance(19, 20) else self.rng.below(250 * MS)
        for node in world.nodes.values():
            if node.replica is not None:
                world.step(node.name, Tick())

    def some_running(self) -> str:
        """A running node; at least one always runs."""
        return self.rng.choice([n.name for n in self.world.nodes.values() if n.replica is not None])

    def some_leader(self) -> str | None:
        """A node that believes that it leads, if there is one."""
        leaders = [n.name for n in self.world.nodes.values() if n.replica is not None and n.replica.leading]
        return self.rng.choice(leaders) if leaders else None

    def crash_or_start(self) -> None:
        """A node crashes, with loss of some of what it had not synced, or comes back; sometimes all crash."""
        world, rng = self.world, self.rng
        if not self.crashes:
            return
        down = [n.name for n in world.nodes.values() if n.replica is None]
        if down and rng.chance(2, 3):
            world.start(rng.choice(down))
        elif rng.chance(1, 3):
            for node in world.nodes.values():
                if node.replica is not None:
                    world.crash(node.name, rng.below(len(node.unsynced) + 1))
            world.start(rng.choice(list(world.nodes)))
        elif len(down) + 1 < len(world.nodes):
            name = self.some_running()
            world.crash(name, rng.below(len(world.nodes[name].unsynced) + 1))

    def cut_or_heal(self) -> None:
        """A partition of a random shape, one-way links among them, or the end of one."""
        world, rng = self.world, self.rng
        if world.cut and rng.chance(1, 2):
            world.heal()
        elif rng.chance(1, 3):
            names = list(world.nodes)
            world.cut.add((rng.choice(names), rng.choice(names)))
        else:
            names = list(world.nodes)
            world.isolate(*rng.sample(names, 1 + rng.below(max(1, len(names) // 2))))

    def change_members(self) -> None:
        """Add a node that is none yet, or remove one."""
        world, rng = self.world, self.rng
        leader = self.some_leader()
        if leader is None or not self.membership:
            return
        members = world.replica(leader).members
        name = rng.choice(list(world.nodes))
        if name not in members:
            world.change(leader, add=name)
        elif len(members) > 2:
            world.change(leader, remove=name)

    def calm(self, milliseconds: int = 1500) -> None:
        """Heal everything, start everybody, and let the world go on undisturbed."""
        world = self.world
        world.heal()
        world.sync_at_once = True
        for node in world.nodes.values():
            if node.replica is None:
                world.start(node.name)
            world.sync(node.name)
        world.deliver_all()
        world.pass_time(milliseconds)

    def recover(self, milliseconds: int = 1500) -> None:
        """A healed system comes back to life: it elects, commits, reads, and has lost nothing that was committed."""
        world = self.world
        self.calm(milliseconds)
        leader = world.leader()
        require(leader is not None, "nobody leads after everything was healed")
        proposal, read = world.propose(str(leader)), world.read(str(leader))
        world.deliver_all()
        world.pass_time(200)
        require(proposal in world.proposals_done, "no progress after everything was healed")
        require(read in world.reads_answered, "no read after everything was healed")
        world.check_survival()


class Survived(NamedTuple):
    """What happened in schedules before they were healed: how many leaders there were, and how much they committed."""

    led: int
    committed: int


def survive(make: Callable[[int], Chaos], seeds: Iterable[int], *, steps: int) -> Survived:
    """Run a schedule of each seed, then heal.

    What breaks an invariant, or a cluster that does not come back to life, is told with its seed.
    """
    led = committed = 0
    for seed in seeds:
        chaos = make(seed)
        try:
            chaos.run(steps)
            led += chaos.world.led()
            committed += chaos.world.highest_commit
            chaos.recover()
        except AssertionError as broken:
            raise AssertionError(f"seed {seed}: {broken}") from broken
    return Survived(led, committed)
