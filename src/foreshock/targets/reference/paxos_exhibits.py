"""What Paxos promises under which faults, and the tests that show each of its planted bugs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.request import Request

_EVERY_FAULT = ("partition", "kill", "pause", "clock", "power", "membership", "stall")
_LEASE_FAULTS = ("partition", "kill", "pause", "clock", "power", "membership")
_LEADERS = {"partition.kinds": "isolate-primary"}


def _exhibit(
    bug: str,
    nemesis: str,
    options: Mapping[str, Any],
    *,
    shows: str,
    nodes: int = 3,
    interval: float = 1.0,
) -> Exhibit:
    """A test of registers by many clients, while leaders come and go."""
    return Exhibit(
        name=f"paxos/{bug}",
        request=Request(
            target="paxos",
            workload="register",
            nemesis=nemesis,
            bug=f"paxos/{bug}",
            nodes=str(nodes),
            concurrency="15",
            rate=50.0,
            interval=interval,
            time_limit=30.0,
            options=options,
        ),
        shows=shows,
    )


PROMISES: Final[tuple[Promise, ...]] = (
    Promise(
        workload="register",
        nemeses=_EVERY_FAULT,
        because="consensus needs no clock, and no more than a majority, to be right; reads ask a majority",
    ),
    Promise(
        workload="cache",
        nemeses=_EVERY_FAULT,
        because="the cache's origin is one more replicated register",
    ),
    Promise(
        workload="lock",
        nemeses=_LEASE_FAULTS,
        because="a lock ends by its session's time to live, with a margin for clocks that drift; a client that "
        "stands still believes in a lock that it has lost, and only fencing helps against that",
    ),
    Promise(
        workload="lock",
        nemeses=_EVERY_FAULT,
        options={"fencing": True},
        because="a resource that checks fencing tokens turns away whoever has lost the lock",
    ),
)

EXHIBITS: Final[tuple[Exhibit, ...]] = (
    _exhibit(
        "forgets-promise-on-restart",
        "partition,kill",
        _LEADERS
        | {
            "kill.targets": "majority",
            "target.election_timeout_min_ms": 150,
            "target.election_timeout_max_ms": 250,
            "target.heartbeat_ms": 50,
        },
        shows="a leader that was cut off is accepted again by nodes that restarted, and overwrites what was written",
    ),
    _exhibit(
        "ignores-accepted-value",
        "partition",
        _LEADERS,
        shows="a new leader overwrites the last writes that the old one acknowledged",
    ),
    _exhibit(
        "accepts-below-promise",
        "partition",
        _LEADERS,
        shows="a leader that was cut off comes back and overwrites what another one acknowledged",
    ),
    _exhibit(
        "ballots-not-unique",
        "partition",
        _LEADERS,
        shows="two nodes lead under one ballot, and both acknowledge writes in the same slots",
    ),
    _exhibit(
        "half-is-majority",
        "partition",
        {"partition.kinds": "halves"},
        shows="both halves of a cluster of four acknowledge writes that the other one does not have",
        nodes=4,
    ),
    _exhibit(
        "learns-from-one-acceptor",
        "partition",
        _LEADERS,
        shows="a leader that was cut off acknowledges writes that nobody else has",
    ),
    _exhibit(
        "skips-phase-one-for-gaps",
        "partition,kill",
        {},
        shows="a new leader that lacks acknowledged writes puts no-ops in their place",
    ),
)
