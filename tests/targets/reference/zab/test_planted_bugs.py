"""Each planted bug breaks an invariant, under the same schedules that the correct core survives."""

from __future__ import annotations

import pytest
from tests.targets.reference.chaos import Chaos
from tests.targets.reference.zab.harness import Broken, World
from tests.targets.reference.zab.schedules import knobs_of

from foreshock.targets.reference.bugs.zab import (
    BroadcastsBeforeSynchronization,
    CommitsPastGap,
    DoesNotTruncate,
    ElectsByIdAlone,
    EpochNotPersisted,
    LocalReadsLinearizable,
)
from foreshock.targets.reference.node.zab import Zab
from foreshock.targets.reference.zab_target import Zab as ZabTarget

BUGS = [
    BroadcastsBeforeSynchronization,
    CommitsPastGap,
    DoesNotTruncate,
    ElectsByIdAlone,
    EpochNotPersisted,
    LocalReadsLinearizable,
]


class AsksAnybody(Chaos):
    """Reads are asked of anybody; who does not lead refuses, but for the bug."""

    def read(self) -> None:
        """A read anywhere."""
        self.world.read(self.some_running())


@pytest.mark.parametrize("bug", BUGS)
def test_random_schedules_find_the_bug(bug: type[Zab]) -> None:
    for seed in range(100):
        world = World(5 if seed % 2 else 3, seed=seed, knobs=knobs_of(seed), zab=bug)
        try:
            AsksAnybody(world, seed, membership=False).run(2000)
        except Broken:
            return
    pytest.fail(f"{bug.__name__} survived every schedule")


def test_the_same_schedules_find_nothing_wrong_with_the_correct_core() -> None:
    for seed in range(20):
        world = World(5 if seed % 2 else 3, seed=seed, knobs=knobs_of(seed))
        AsksAnybody(world, seed, membership=False).run(2000)
        assert world.established or seed


def test_every_bug_has_an_exhibit_that_uses_it() -> None:
    shown = {exhibit.name: exhibit.request.bug for exhibit in ZabTarget.exhibits}
    for bug in BUGS:
        name = "zab/" + "".join(f"-{c.lower()}" if c.isupper() else c for c in bug.__name__).lstrip("-")
        assert shown.get(name) == name
        assert ZabTarget.takes_bug(name, bug)
    assert shown["zab/local-reads"] is None
    assert shown["zab/sync-reads"] is None
