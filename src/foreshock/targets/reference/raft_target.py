"""The ``raft`` target: the reference node with Raft inside."""

from __future__ import annotations

from typing import ClassVar

from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.lock_exhibits import LOCK_EXHIBITS, LOCK_PROMISES
from foreshock.targets.reference.node.raft import RaftKnobs
from foreshock.targets.reference.raft_exhibits import EXHIBITS, PROMISES
from foreshock.targets.reference.raft_options import RaftOptions, draw_raft_knobs
from foreshock.targets.reference.target import ReplicatedTarget

_TIMES = ("election_timeout_min_ms", "election_timeout_max_ms", "heartbeat_ms")


class Raft(ReplicatedTarget[RaftOptions]):
    """The reference node's Raft cluster with its registers, locks and cache; every node serves all three."""

    Options = RaftOptions
    program: ClassVar[str] = "raft"
    promises: ClassVar[tuple[Promise, ...]] = (*PROMISES, *LOCK_PROMISES)
    exhibits: ClassVar[tuple[Exhibit, ...]] = (*EXHIBITS, *LOCK_EXHIBITS)

    def draw_knobs(self, rng: RandomStream) -> RaftKnobs:
        """Drawn, with the user's in place. The three times are drawn together or, if one is chosen, not at all."""
        drawn = draw_raft_knobs(rng)
        if any(name in self.chosen for name in _TIMES):
            drawn = drawn._replace(**{name: RaftKnobs._field_defaults[name] for name in _TIMES})
        return drawn._replace(**self.chosen)
