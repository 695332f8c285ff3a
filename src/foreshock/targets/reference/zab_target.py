"""The ``zab`` target: the reference node with Zab inside."""

from __future__ import annotations

from typing import ClassVar

from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.lock_exhibits import LOCK_PROMISES
from foreshock.targets.reference.node.zab import ZabKnobs
from foreshock.targets.reference.target import ReplicatedTarget
from foreshock.targets.reference.zab_exhibits import EXHIBITS, PROMISES
from foreshock.targets.reference.zab_options import ZabOptions, draw_zab_knobs

_TIMES = ("heartbeat_ms", "sync_limit_ms")
_WAITS = ("notification_min_ms", "notification_max_ms")


class Zab(ReplicatedTarget[ZabOptions]):
    """The reference node's Zab cluster with its registers, locks and cache; every node serves all three."""

    Options = ZabOptions
    program: ClassVar[str] = "zab"
    promises: ClassVar[tuple[Promise, ...]] = (*PROMISES, *LOCK_PROMISES)
    exhibits: ClassVar[tuple[Exhibit, ...]] = EXHIBITS

    def draw_knobs(self, rng: RandomStream) -> ZabKnobs:
        """Drawn, with the user's in place. Times that bound each other are drawn together or, if chosen, not at all."""
        drawn = draw_zab_knobs(rng)
        for together in (_TIMES, _WAITS):
            if any(name in self.chosen for name in together):
                drawn = drawn._replace(**{name: ZabKnobs._field_defaults[name] for name in together})
        return drawn._replace(**self.chosen)
