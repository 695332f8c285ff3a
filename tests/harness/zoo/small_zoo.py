"""A zoo of one small target, for tests: ``python -m tests.harness.zoo.small_zoo zoo ...`` is the command with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from foreshock.harness.cli.main import main
from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.registry import Kind
from foreshock.harness.request import Request
from foreshock.harness.zoo import plan
from foreshock.targets.reference.raft_target import Raft

FOUND = "raft/votes-for-shorter-log"
MISSED = "raft/patience"


class SmallRaft(Raft):
    promises = (
        Promise(workload="register", nemeses=("kill", "pause")),
        Promise(workload="lock", options={"locks": 1}),
    )
    exhibits = (
        Exhibit(
            name=FOUND,
            request=Request(target="raft", bug=FOUND, nemesis="partition,kill,pause", time_limit=20),
            budget=10,
            shows="A value that was written is gone.",
        ),
        Exhibit(name=MISSED, request=Request(target="raft", time_limit=1), budget=2),
    )


class Unsimulated(Raft):
    promises = (Promise(workload="lock"),)
    exhibits = ()

    @classmethod
    def can_simulate(cls) -> bool:
        return False


NAMES = {Kind.TARGETS: ["raft", "solid"], Kind.BUGS: [FOUND, "raft/unknown"]}


def use_small_zoo() -> None:
    """Have the zoo know nothing else; in the processes that run its tests everything is as ever."""
    classes: dict[str, Any] = {"raft": SmallRaft, "solid": Unsimulated}
    plan.names = NAMES.__getitem__  # type: ignore[assignment]
    plan.load = lambda _kind, name: classes[name]
    plan.SOURCES = Path(__file__).parent  # so that nobody else's work in the tree makes it another zoo


if __name__ == "__main__":
    use_small_zoo()
    sys.exit(main(sys.argv[1:]))
