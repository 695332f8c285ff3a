"""The ``paxos`` target: the reference node with Multi-Paxos inside."""

from __future__ import annotations

from typing import ClassVar

from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.lock_exhibits import LOCK_PROMISES
from foreshock.targets.reference.node.paxos import PaxosKnobs
from foreshock.targets.reference.paxos_exhibits import EXHIBITS, PROMISES
from foreshock.targets.reference.paxos_options import PaxosOptions, draw_paxos_knobs
from foreshock.targets.reference.target import ReplicatedTarget

_TIMES = ("election_timeout_min_ms", "election_timeout_max_ms", "heartbeat_ms")


class Paxos(ReplicatedTarget[PaxosOptions]):
    """The reference node's Multi-Paxos cluster with its registers, locks and cache; every node serves all three."""

    Options = PaxosOptions
    program: ClassVar[str] = "paxos"
    promises: ClassVar[tuple[Promise, ...]] = (*PROMISES, *LOCK_PROMISES)
    exhibits: ClassVar[tuple[Exhibit, ...]] = EXHIBITS

    def draw_knobs(self, rng: RandomStream) -> PaxosKnobs:
        """Drawn, with the user's in place. The three times are drawn together or, if one is chosen, not at all."""
        drawn = draw_paxos_knobs(rng)
        if any(name in self.chosen for name in _TIMES):
            drawn = drawn._replace(**{name: PaxosKnobs._field_defaults[name] for name in _TIMES})
        return drawn._replace(**self.chosen)
